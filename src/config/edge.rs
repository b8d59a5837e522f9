//! The `edge` section: the listener that clients connect to.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use indexmap::IndexMap;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{AddressHeader, FilePath, HttpPath, ListenAddress, Network, Origin, schema_of};
use super::units::Size;

/// The listener that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeConfig {
    /// IP address and port to listen on.
    #[schemars(with = "ListenAddress")]
    pub listen: SocketAddr,
    /// The HTTP path that is upgraded to a WebSocket, where there is only one; by default
    /// `/ws`.
    #[schemars(with = "Option<HttpPath>")]
    pub path: Option<String>,
    /// The HTTP paths that are upgraded to WebSockets, where clients of several
    /// kinds connect. Instead of `path`.
    #[schemars(extend("propertyNames" = schema_of::<HttpPath>(), "maxProperties" = MAX_PATHS))]
    pub paths: IndexMap<String, PathConfig>,
    /// Serve `wss` with this certificate. Absent: plain `ws`.
    pub tls: Option<TlsConfig>,
    /// Values of the `Origin` header that are let in, such as
    /// `https://app.example.com`. Empty: any.
    #[schemars(with = "Vec<Origin>")]
    pub allowed_origins: Vec<String>,
    /// Networks of proxies whose headers name the client's address. A bare IP address
    /// stands for itself alone.
    #[serde(deserialize_with = "Network::list")]
    #[schemars(with = "Vec<Network>")]
    pub trusted_proxies: Vec<IpNet>,
    /// The header of a trusted proxy's request in which the client's address is:
    /// `x-forwarded-for`, `forwarded` (RFC 7239), or the name of one that has the
    /// address alone, such as `cf-connecting-ip`; `none`: in no header.
    #[schemars(with = "AddressHeader")]
    pub client_address: String,
    /// Whether each connection of a trusted proxy begins with a PROXY header (version 1
    /// or 2), which names the client's address. A connection without one is closed.
    pub proxy_protocol: bool,
    /// The largest message a client may send.
    #[serde(with = "Size")]
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_message: u64,
    /// Open connections beyond which new ones are turned away.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_connections: u32,
    /// Open connections from one client address; 0: no limit.
    #[schemars(range(min = 0, max = 100_000_000))]
    pub max_connections_per_ip: u32,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        EdgeConfig {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            path: None,
            paths: IndexMap::new(),
            tls: None,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            client_address: "x-forwarded-for".to_owned(),
            proxy_protocol: false,
            max_message: 1 << 20,
            max_connections: 100_000,
            max_connections_per_ip: 0,
        }
    }
}

impl EdgeConfig {
    /// Where clients open their WebSockets, and how they are served there.
    pub fn paths(&self) -> Vec<(&str, PathConfig)> {
        if self.paths.is_empty() {
            return vec![(self.path.as_deref().unwrap_or(DEFAULT_PATH), PathConfig::default())];
        }
        self.paths.iter().map(|(path, config)| (path.as_str(), *config)).collect()
    }
}

/// The path where neither `path` nor `paths` is given.
pub(super) const DEFAULT_PATH: &str = "/ws";
/// Paths of one listener.
pub(super) const MAX_PATHS: usize = 16;

/// How the clients of one path are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PathConfig {
    /// Whether the gateway chooses the IV of a session's encryption: behind its
    /// greeting it sends a random string, and the client's `aesIv` is ignored.
    /// A later generation of clients expects this, and earlier ones do not
    /// understand it.
    pub server_iv: bool,
}

/// A server's certificate and its key. The files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file: the certificate, then the chain up to the root.
    #[schemars(with = "FilePath")]
    pub cert: PathBuf,
    /// PEM file: the certificate's private key.
    #[schemars(with = "FilePath")]
    pub key: PathBuf,
}
