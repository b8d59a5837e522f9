//! The gateway among others: from its section of routes.yaml to a broker.

use std::sync::Arc;

use super::problem::Problem;
use super::start_error::StartError;
use crate::broker::Broker;
use crate::broker::cluster::{self, Cluster, LinkError};
use crate::broker::local::Local;
use crate::config::{ClusterConfig, Config, Secret};
use crate::metrics::Metrics;
use crate::registry::Registry;

/// A broker of the sessions in `registry`: in a cluster if there is to be one.
/// NATS need not be there yet.
pub(super) async fn broker(
    config: &Config,
    node: String,
    registry: Arc<Registry>,
    metrics: &Metrics,
) -> Result<Broker, StartError> {
    let Some(config) = &config.cluster else { return Ok(Broker::alone(node, registry)) };
    let local = Arc::new(Local::new(node, registry));
    let cluster =
        Cluster::start(&link(config), Arc::clone(&local), metrics.cluster.clone()).await?;
    Ok(Broker::clustered(local, cluster))
}

/// Checks that the settings of the section can be used.
pub(super) fn check(config: &Config) -> Result<(), Problem> {
    let Some(config) = &config.cluster else { return Ok(()) };
    cluster::check(&link(config)).map_err(|error| {
        let key = match &error {
            LinkError::Unreadable(..) | LinkError::Credentials(..) => "credentials",
            LinkError::Tls(_) => "tls",
            LinkError::Address(..) | LinkError::Connect(_) => "nats",
        };
        Problem::at(["cluster", key], error.to_string())
    })
}

fn link(config: &ClusterConfig) -> cluster::Config {
    let secret = |secret: &Secret| secret.expose().to_owned();
    let tls = config.tls.clone();
    cluster::Config {
        servers: config.nats.clone(),
        name: config.name.clone(),
        credentials: config.credentials.clone(),
        user: config.user.clone().zip(config.password.as_ref().map(secret)),
        token: config.token.as_ref().map(secret),
        tls: tls.map(|tls| cluster::Tls { ca: tls.ca, client: tls.cert.zip(tls.key) }),
    }
}

/// The gateway's name in the cluster, for people: gateways identify each other by
/// numbers, so two of the same name do no harm. By default the name of its
/// machine, which in Kubernetes is that of its pod.
pub(super) fn node(config: &Config) -> String {
    if let Some(name) = config.cluster.as_ref().and_then(|cluster| cluster.node.clone()) {
        return name;
    }
    let from_kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = std::env::var("HOSTNAME").ok().or_else(from_kernel).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { format!("{:08x}", rand::random::<u32>()) } else { name.to_owned() }
}
