//! What is recorded, where it goes, and why it cannot.

use std::path::PathBuf;
use std::time::Duration;

/// What is recorded, and where it goes. See the `tracing` section of routes.yaml.
#[derive(Clone)]
pub struct Config {
    /// The collector, `http://host:port` or `https://host:port`.
    pub collector: String,
    /// The share of traces begun here that is recorded, 0 to 1.
    pub sample: f64,
    /// What the gateway is called in traces.
    pub service_name: String,
    /// Which of several gateways this is.
    pub instance: String,
    /// gRPC metadata of every export, by lowercase name.
    pub headers: Vec<(String, String)>,
    /// How long one export may take.
    pub timeout: Duration,
    /// Whom an `https://` collector has to convince, and how.
    pub tls: Tls,
}

/// The headers may be secrets: their names are shown alone.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Config")
            .field("collector", &self.collector)
            .field("headers", &headers)
            .finish_non_exhaustive()
    }
}

/// TLS to the collector.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// PEM file: whom to trust. Absent: the public authorities.
    pub ca: Option<PathBuf>,
    /// PEM files: the gateway's certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name in the collector's certificate. Absent: the host of its URL.
    pub domain: Option<String>,
}

/// Why spans cannot be exported as configured.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A header's name or value is not one.
    #[error("the header `{0}` cannot be sent: write visible ASCII")]
    Header(String),
    /// The TLS material cannot be used.
    #[error("{0}")]
    Tls(String),
    /// The collector's URL, with what belongs to it, cannot be used.
    #[error("{0}")]
    Collector(String),
}
