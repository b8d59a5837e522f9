//! The client listener: TCP, TLS and the HTTP request that opens a WebSocket.
//!
//! Everything up to the point where a client has a WebSocket lives here: who
//! may connect (`admission`), from where (`proxy_protocol`, `forwarded`), over what
//! (`tls`), and whether the request is a valid upgrade (`upgrade`). What is
//! said on the WebSocket is the session's business.

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

/// What the listener lets in. See the `edge` section of routes.yaml.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients open their WebSockets.
    pub paths: Vec<ClientPath>,
    /// Values of the `Origin` header that are let in; empty: any. A request
    /// without the header does not come from a browser and is let in.
    pub allowed_origins: Vec<String>,
    /// Proxies that are believed to say who the client is.
    pub trusted_proxies: Vec<IpNet>,
    /// Where in their requests they say it.
    pub client_address: ClientAddress,
    /// Whether they have to say it in front of each connection.
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

/// Where clients of one kind open their WebSockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPath {
    /// The path of their request, such as `/ws`.
    pub path: String,
    /// The protocol of their sessions.
    pub protocol: Protocol,
}
