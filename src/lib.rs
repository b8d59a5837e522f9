//! Bridgehead: a WebSocket edge for gRPC services.

// composition
pub mod app;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;

// edges
pub mod edge;

// activity
pub mod auth;
pub mod session;

// state and upstream I/O
pub mod outbox;
pub mod upstream;

// pure core
pub mod envelope;
pub mod routing;

// leaves
pub mod proto;
pub mod wire;
