//! Bridgehead: a WebSocket edge for gRPC services.
//!
//! Clients hold one WebSocket each; every request frame becomes a unary call of
//! a gRPC method that is found through protobuf descriptors at run time.
//!
//! # Layout
//!
//! Imports go downwards only; ARCHITECTURE.md says more.
//!
//! - Composition: [`cli`], the commands; [`app`], the gateway as a whole;
//!   [`config`], routes.yaml; [`client`], the other end of the protocol;
//!   [`demo`], services to try things with.
//! - Edges: [`edge`], the listener for clients; [`push`], the gRPC API for
//!   backends; [`tls`], the certificates of both.
//! - Activity: [`session`], one task for each client; [`call`], from a request to
//!   its outcome; [`broker`], from a push to its receipts; [`auth`], the
//!   verification of logins; [`hooks`], RPCs that are notified of sessions.
//! - State and upstream I/O: [`registry`], the logged-in sessions; [`outbox`],
//!   replies and pushes that wait to be written to a client; [`upstream`],
//!   connections to services; [`trace`], spans for a collector; `seldom`, the
//!   rate limit of warnings that clients cause.
//! - Pure core: [`websocket`], the frames of a connection; [`protocol`], the
//!   messages of clients and the replies and pushes to them; [`routing`], from
//!   methods to RPCs; [`callout`], RPCs that the configuration makes up.
//! - Leaves: [`close`], the close codes; [`metrics`], counters and samples;
//!   [`pem`], the reader of keys and certificates; [`proto`], generated messages;
//!   [`wire`], the protobuf wire format.
//!
//! The library is there for the binary and its tests; its interface is not
//! stable.

// composition
pub mod app;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;

// edges
pub mod admin;
pub mod edge;
pub mod push;
pub mod tls;

// activity
pub mod auth;
pub mod broker;
pub mod call;
pub mod hooks;
pub mod session;

// state and upstream I/O
pub mod outbox;
pub mod registry;
mod seldom;
pub mod trace;
pub mod upstream;

// pure core
pub mod callout;
pub mod protocol;
pub mod routing;
pub mod websocket;

// leaves
pub mod close;
pub mod metrics;
pub mod pem;
pub mod proto;
pub mod wire;
