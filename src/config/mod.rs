//! `routes.yaml`: the one file that configures everything.
//!
//! A file goes through four steps, and every mistake on the way is kept with
//! its place instead of ending the journey:
//!
//! 1. `reading`: text becomes a tree whose nodes have their places (`located`),
//!    with `${VAR}` already replaced (`environment`).
//! 2. `structure`: the tree is checked against the JSON Schema; values that do
//!    not fit are reported and then treated as absent.
//! 3. The rest is deserialized into [`Config`], plain data.
//! 4. `checks`: rules beyond a schema, such as names that must exist.
//!
//! The schema is derived from the same structs that are deserialized, so the
//! keys that are documented, completed by editors, checked
//! and read are one list.
//!
//! Nothing here touches the network. Whether a route's method exists is
//! decided where descriptors are known; [`Loaded::at`] gives such later checks
//! the place to point at.

mod auth;
mod characters;
mod checks;
mod cluster;
mod diagnostics;
mod doubts;
mod edge;
mod effective;
mod environment;
mod error_codes;
mod forms;
mod identity;
mod loading;
mod located;
mod masking;
mod operations;
mod own_metadata;
mod push;
mod reading;
mod schema;
mod secret;
mod session;
mod source;
mod structure;
mod suggestions;
mod syntax;
#[cfg(test)]
mod testing;
mod tracing;
mod units;
mod upstream_metadata;
mod upstreams;
mod words;

pub use auth::{Auth, EachRequest, HooksConfig, Judge, JwtConfig, JwtKeys, NoneConfig, RpcCall};
pub use checks::OWN_METHODS;
pub use cluster::{ClusterConfig, ClusterTls};
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use edge::{EdgeConfig, PathConfig, TlsConfig};
pub use environment::Environment;
pub use error_codes::{ClientCode, ErrorCodes, GrpcStatus};
pub use identity::{IdentityConfig, IdentityDepth};
pub use loading::{
    Loaded, accept, load, load_tolerant, parse, parse_text, parse_tolerant, process_environment,
};
pub use operations::{AdminConfig, DrainConfig, LogConfig, LogFormat, LogLevel};
pub use own_metadata::OwnMetadata;
pub use push::{PushConfig, PushTls};
pub use schema::schema;
pub use secret::{PushToken, Secret, SecretSource};
pub use session::{DeviceIdFrom, OneSessionPer, Rivals, SessionConfig};
pub use source::{Source, Span};
pub use tracing::TracingConfig;
pub use units::parse_size;
pub use upstream_metadata::{Authorization, UpstreamMetadata};
pub use upstreams::{ClientTls, Descriptors, RouteConfig, UpstreamConfig};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

/// Everything that `routes.yaml` says, with defaults filled in and relative
/// paths made relative to the file's folder.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "Bridgehead configuration (routes.yaml)",
    description = "The configuration of a Bridgehead gateway."
)]
pub struct Config {
    /// The listener that clients connect to.
    #[serde(default)]
    pub edge: EdgeConfig,
    /// Limits and rules of a client session.
    #[serde(default)]
    pub session: SessionConfig,
    /// Client methods that may be called before login, as globs over the whole
    /// method: `*` stays within one segment, `**` crosses segments.
    #[serde(default = "default_public_methods")]
    #[schemars(with = "Vec<forms::Glob>")]
    pub public_methods: Vec<String>,
    /// How logins are verified: exactly one of `jwt`, `rpc` and `none`; and how long a
    /// login is valid.
    // The stand-in accepts no token, as it has no key.
    #[schemars(extend("x-stand-in" = {"jwt": {"keys": ""}}))]
    pub auth: Auth,
    /// RPCs that are called when sessions begin and end.
    #[serde(default)]
    pub hooks: HooksConfig,
    /// Where the caller's identity travels in messages.
    #[serde(default)]
    pub identity: IdentityConfig,
    /// The gRPC services behind the gateway, by a name of your choice.
    #[serde(default)]
    #[schemars(extend("propertyNames" = forms::schema_of::<forms::UpstreamName>()))]
    pub upstreams: IndexMap<String, UpstreamConfig>,
    /// The gRPC Push API, through which services reach clients. Absent: no Push API.
    pub push: Option<PushConfig>,
    /// The listener for health, readiness and metrics. Absent: no such listener.
    pub admin: Option<AdminConfig>,
    /// Several gateways acting as one. Absent: a single node.
    pub cluster: Option<ClusterConfig>,
    /// Spans of requests and pushes, for a collector. Absent: none are recorded.
    pub tracing: Option<TracingConfig>,
    /// How the gateway stops.
    #[serde(default)]
    pub drain: DrainConfig,
    /// Level and format of the log.
    #[serde(default)]
    pub log: LogConfig,
}

fn default_public_methods() -> Vec<String> {
    vec!["**/white/**".to_owned()]
}
