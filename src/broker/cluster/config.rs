//! The addresses of NATS, and the gateway's credentials there.

use std::fmt;
use std::path::PathBuf;

/// The addresses of NATS, and the gateway's credentials there.
#[derive(Clone, Default)]
pub struct Config {
    /// `nats://host:port` or `tls://host:port`, each.
    pub servers: Vec<String>,
    /// The cluster's name, with which all subjects begin.
    pub name: String,
    /// A `.creds` file: a user's JWT and its key.
    pub credentials: Option<PathBuf>,
    /// A user and its password.
    pub user: Option<(String, String)>,
    /// A token.
    pub token: Option<String>,
    /// TLS for all servers; `None`: as their addresses say.
    pub tls: Option<Tls>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(|server| without_login(server)).collect();
        f.debug_struct("Config")
            .field("servers", &servers)
            .field("name", &self.name)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// The TLS files for connections to NATS.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// PEM file: CAs for the server's certificate. Absent: the system's.
    pub ca: Option<PathBuf>,
    /// PEM files: the certificate that the gateway shows, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// An address without the user, password or token in it.
pub(super) fn without_login(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        (None, Some((_, host))) => format!("…@{host}"),
        (_, None) => address.to_owned(),
    }
}
