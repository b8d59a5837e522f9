//! The `cluster` section: several gateways acting as one, over NATS.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{FilePath, NatsUrl, NodeName, NonEmpty, SubjectPrefix};
use super::masking::masked;
use super::secret::Secret;
use super::upstreams::OneOrMany;

/// Several gateways acting as one, over NATS.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend(
    "required" = ["nats"],
    "dependentRequired" = {"user": ["password"], "password": ["user"]}
))]
pub struct ClusterConfig {
    /// The NATS server, as `nats://host:port` or `tls://host:port`; or a list
    /// of servers of one NATS cluster.
    // Empty only in a model that was read from a file with errors.
    #[serde(deserialize_with = "NatsUrl::one_or_many")]
    #[schemars(with = "OneOrMany<NatsUrl>", extend("x-stand-in" = []))]
    pub nats: Vec<String>,
    /// The cluster's name: gateways with the same name on the same NATS act as one. All
    /// NATS subjects begin with it.
    #[schemars(with = "SubjectPrefix")]
    pub name: String,
    /// This gateway's name in lists of sessions and gateways. Absent: the name of its
    /// machine, which in Kubernetes is that of its pod.
    #[schemars(with = "Option<NodeName>")]
    pub node: Option<String>,
    /// A `.creds` file: a NATS user's JWT and its key. Read again when it changes.
    #[schemars(with = "Option<FilePath>")]
    pub credentials: Option<PathBuf>,
    /// A NATS user, with its `password`.
    #[schemars(with = "Option<NonEmpty>")]
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<Secret>,
    /// A token that NATS asks for.
    pub token: Option<Secret>,
    /// TLS to NATS. Absent: only where the URL is a `tls://` one, with the
    /// system's authorities.
    pub tls: Option<ClusterTls>,
}

/// The URLs may have logins in them, which are not shown.
impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nats: Vec<_> = self.nats.iter().map(|url| masked(url)).collect();
        f.debug_struct("ClusterConfig")
            .field("nats", &nats)
            .field("name", &self.name)
            .field("node", &self.node)
            .field("credentials", &self.credentials)
            .field("user", &self.user)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        ClusterConfig {
            nats: Vec::new(),
            name: "bridgehead".to_owned(),
            node: None,
            credentials: None,
            user: None,
            password: None,
            token: None,
            tls: None,
        }
    }
}

/// The gateway's certificate for NATS, and the authorities that it trusts. The files
/// are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("dependentRequired" = {"cert": ["key"], "key": ["cert"]}))]
pub struct ClusterTls {
    /// PEM file: authorities that the server's certificate may come from. Absent:
    /// the system's.
    #[schemars(with = "Option<FilePath>")]
    pub ca: Option<PathBuf>,
    /// PEM file: the gateway's own certificate, for mutual TLS.
    #[schemars(with = "Option<FilePath>")]
    pub cert: Option<PathBuf>,
    /// PEM file: the private key of `cert`.
    #[schemars(with = "Option<FilePath>")]
    pub key: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use crate::config::testing::config;

    #[test]
    fn no_secret_of_a_configuration_is_shown() {
        let config = config(
            "push: { tokens: [literal-token, { token: other-token }] }\n\
             cluster: { nats: 'nats://me:hunter2-hunter2@n:1', token: nats-token }\n\
             tracing: { otlp: http://c:1, headers: { x-api-key: otlp-key } }\n\
             upstreams: { a: { address: http://a:1, metadata: { set: { x-key: api-key-1 } } } }\n",
        );
        let shown = format!("{config:?}");
        let secrets =
            ["literal-token", "other-token", "hunter2", "nats-token", "otlp-key", "api-key-1"];
        for secret in secrets {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        assert!(shown.contains("@n:1"), "{shown}");
    }
}
