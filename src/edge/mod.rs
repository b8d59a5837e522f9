//! The client listener: TCP, TLS and the HTTP request that opens a WebSocket.
//!
//! Everything up to the point where a client has a WebSocket lives here: limits
//! (`admission`), the client's address (`proxy_protocol`, `forwarded`), `tls`, and
//! the check of the upgrade request (`upgrade`). The messages on the WebSocket
//! are the session's business.

pub mod admission;
pub mod bind;
pub mod forwarded;
pub mod host;
mod listener;
pub mod proxy_protocol;
pub mod upgrade;
mod warnings;

use std::time::Duration;

use ipnet::IpNet;

use crate::protocol::Protocol;

pub use forwarded::ClientAddress;
pub use listener::Edge;
pub use warnings::Warnings;

/// The listener's configuration. See the `edge` section of routes.yaml.
#[derive(Debug, Clone)]
pub struct Config {
    /// Paths at which clients open their WebSockets.
    pub paths: Vec<ClientPath>,
    /// Allowed values of the `Origin` header; empty: any. A request without the
    /// header does not come from a browser and is allowed.
    pub allowed_origins: Vec<String>,
    /// Proxies that are trusted to name the client's address.
    pub trusted_proxies: Vec<IpNet>,
    /// The part of their requests that names it.
    pub client_address: ClientAddress,
    /// Whether they have to send a PROXY header in front of each connection.
    pub proxy_protocol: bool,
    /// How long a client may take for TLS and for its HTTP request, together.
    pub handshake_timeout: Duration,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one client address; 0: no limit.
    pub max_connections_per_ip: usize,
    /// Whether a client's calls continue the trace that its request names.
    pub continue_traces: bool,
}

/// A path at which clients open WebSockets of one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPath {
    /// The path of their request, such as `/ws`.
    pub path: String,
    /// The protocol of their sessions.
    pub protocol: Protocol,
}
