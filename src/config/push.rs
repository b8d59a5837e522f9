//! The `push` section: the gRPC API through which services reach clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{FilePath, ListenAddress};
use super::secret::PushToken;

/// The gRPC Push API. Off the loopback interface it needs `tokens`, or `tls`
/// with a `client_ca`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PushConfig {
    /// IP address and port to listen on.
    #[schemars(with = "ListenAddress")]
    pub listen: SocketAddr,
    /// Bearer tokens; a caller needs one of them. Each is a text, or `{ token_file: … }`.
    /// Empty: callers need none.
    pub tokens: Vec<PushToken>,
    /// Serve TLS. Absent: plain HTTP/2.
    pub tls: Option<PushTls>,
}

impl Default for PushConfig {
    fn default() -> Self {
        PushConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            tokens: Vec::new(),
            tls: None,
        }
    }
}

/// The Push API's certificate, and the authorities of its callers' certificates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushTls {
    /// PEM file: the certificate, then the chain up to the root.
    #[schemars(with = "FilePath")]
    pub cert: PathBuf,
    /// PEM file: the certificate's private key.
    #[schemars(with = "FilePath")]
    pub key: PathBuf,
    /// PEM file: callers need a certificate signed by one of these. Absent:
    /// callers need none.
    #[schemars(with = "Option<FilePath>")]
    pub client_ca: Option<PathBuf>,
}
