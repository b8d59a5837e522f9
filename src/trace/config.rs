//! The configuration of tracing, and its errors.

use std::path::PathBuf;
use std::time::Duration;

/// The sample and the collector. See the `tracing` section of routes.yaml.
#[derive(Clone)]
pub struct Config {
    /// The collector, `http://host:port` or `https://host:port`.
    pub collector: String,
    /// The share of traces begun here that is recorded, 0 to 1.
    pub sample: f64,
    /// The gateway's service name in traces.
    pub service_name: String,
    /// The name of this gateway among several.
    pub instance: String,
    /// gRPC metadata of every export, by lowercase name.
    pub headers: Vec<(String, String)>,
    /// How long one export may take.
    pub timeout: Duration,
    /// TLS for an `https://` collector.
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
    /// PEM file: the trusted authorities. Absent: the public ones.
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
    /// The collector's URL, or a setting that belongs to it, cannot be used.
    #[error("{0}")]
    Collector(String),
}
