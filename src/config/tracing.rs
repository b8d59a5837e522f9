//! The `tracing` section: whose traces are continued, and spans of requests and
//! pushes, for a collector.

use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{self, NonEmpty, OtlpUrl};
use super::secret::Secret;
use super::units::Interval;
use super::upstreams::ClientTls;

/// Distributed tracing: spans of requests and pushes, exported by OTLP.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("dependentRequired" = {
    "sample": ["otlp"],
    "service_name": ["otlp"],
    "headers": ["otlp"],
    "timeout": ["otlp"],
    "tls": ["otlp"],
}))]
pub struct TracingConfig {
    /// The collector, which takes OTLP over gRPC: `http://host:4317`, or
    /// `https://host:4317` for TLS. Absent: nothing is recorded.
    #[schemars(with = "Option<OtlpUrl>")]
    pub otlp: Option<String>,
    /// The share of traces that is recorded, from 0 to 1, where the gateway
    /// begins them. A caller that names a trace decides for that one.
    #[schemars(range(min = 0, max = 1))]
    pub sample: f64,
    /// The gateway's name in traces.
    #[schemars(with = "NonEmpty")]
    pub service_name: String,
    /// Whether the calls of a client continue the trace that its WebSocket request names
    /// (`traceparent`), and are recorded where that says so; also without `otlp`, for the
    /// services behind. Otherwise each begins one of its own. Set this only where clients
    /// are trusted.
    pub continue_client_traces: bool,
    /// gRPC metadata of every export, such as an API key.
    #[schemars(extend("propertyNames" = forms::schema_of::<forms::MetadataName>()))]
    pub headers: IndexMap<String, Secret>,
    /// How long one export may take.
    #[serde(with = "Interval")]
    #[schemars(with = "Interval")]
    pub timeout: Duration,
    /// TLS settings for an `https` collector. Absent: public roots, no client
    /// certificate.
    pub tls: Option<ClientTls>,
}

impl Default for TracingConfig {
    fn default() -> Self {
        TracingConfig {
            otlp: None,
            sample: 0.01,
            service_name: "bridgehead".to_owned(),
            continue_client_traces: false,
            headers: IndexMap::new(),
            timeout: Duration::from_secs(5),
            tls: None,
        }
    }
}
