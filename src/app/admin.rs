//! The admin listener as part of the gateway: what readiness is made of, and
//! what is looked at when somebody asks for metrics.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::StartError;
use super::workers::Watched;
use crate::admin::{Check, Server, Sources};
use crate::broker::Broker;
use crate::config::Config;
use crate::edge;
use crate::metrics::{Family, Kind, Metrics, Sample};
use crate::session::Services;
use crate::session::sweeper::Stage;

/// What the parts of the gateway show to whoever asks how it is.
#[derive(Clone)]
pub(super) struct State {
    pub(super) metrics: Arc<Metrics>,
    pub(super) services: Arc<ArcSwap<Services>>,
    pub(super) broker: Arc<Broker>,
    pub(super) workers: Watched,
    pub(super) news: Arc<News>,
}

/// What changes while the gateway runs.
#[derive(Default)]
pub(super) struct News {
    /// The gateway is going away.
    draining: AtomicBool,
    /// Upstreams whose descriptors are not known yet, and why.
    pending: ArcSwap<Vec<(String, String)>>,
    /// When the configuration was last read without a mistake, in seconds
    /// since 1970.
    good_since: AtomicI64,
}

impl News {
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_pending(&self, pending: &[(String, String)]) {
        self.pending.store(Arc::new(pending.to_vec()));
    }

    /// The running configuration was read just now.
    pub(super) fn is_good(&self) {
        let since_epoch =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or_default();
        self.good_since.store(seconds, Ordering::Relaxed);
    }
}

/// Binds the listener, if there is to be one.
pub(super) fn bind(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(admin) = &config.admin else { return Ok(None) };
    let address = admin.listen;
    let bound = edge::bind::bind(address, 1);
    let bound = bound.map_err(|source| StartError::AdminListen { address, source })?;
    Ok(bound.into_iter().next())
}

/// Starts the server on its bound listener, and says where that is.
pub(super) fn serve(
    listener: TcpListener,
    state: State,
) -> Result<(Server, SocketAddr), StartError> {
    let address = listener.local_addr()?;
    let asked = state.clone();
    let sources = Sources {
        readiness: Box::new(move || asked.readiness()),
        metrics: Box::new(move || state.metrics.render(state.sampled())),
    };
    let server = Server::start(listener, sources)?;
    tracing::info!(%address, "admin listening");
    Ok((server, address))
}

impl State {
    fn readiness(&self) -> Vec<Check> {
        let is_draining = self.news.draining.load(Ordering::Relaxed);
        let draining = is_draining.then(|| "the gateway is going away".to_owned());
        let pending = self.news.pending.load();
        let reason = |(upstream, reason): &(String, String)| format!("{upstream}: {reason}");
        let mut checks = vec![
            // They were bound before anything could be asked.
            Check::needed("listeners", Vec::new()),
            Check::needed("routes", pending.iter().map(reason).collect()),
            Check::needed("draining", draining.into_iter().collect()),
        ];
        if let Some(cluster) = self.broker.cluster() {
            let alone = "NATS cannot be reached: other gateways' sessions are not";
            let reasons = (!cluster.is_connected()).then(|| alone.to_owned());
            // Without NATS all gateways would be taken out at once.
            checks.push(Check::wanted("cluster", reasons.into_iter().collect()));
        }
        checks
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody counts so far")]
    fn sampled(&self) -> Vec<Family> {
        let gauge = |name, help, samples| Family { name, help, kind: Kind::Gauge, samples };
        let one = |value: f64| vec![Sample::of(value)];
        let sessions = self.workers.sessions();
        let stage = |label: &str, stage: Stage| {
            let count = sessions.by_stage[stage as usize];
            Sample::new([("state", label.to_owned())], count as f64)
        };
        let services = self.services.load();
        let mut families = vec![
            gauge(
                "sessions",
                "Open sessions, by how far they have come: connected, described (setCxnParams), \
                 authenticated (setUserParams).",
                vec![
                    stage("connected", Stage::Connected),
                    stage("described", Stage::Described),
                    stage("authenticated", Stage::Authenticated),
                ],
            ),
            gauge(
                "outbox_bytes",
                "Bytes that wait for clients to take them.",
                one(sessions.outbox_bytes as f64),
            ),
            gauge(
                "routes",
                "Client methods, resolved or not because an upstream's descriptors are not known yet.",
                vec![
                    Sample::new([("state", "resolved".to_owned())], services.routes.len() as f64),
                    Sample::new(
                        [("state", "pending".to_owned())],
                        services.routes.pending().len() as f64,
                    ),
                ],
            ),
            gauge(
                "hook_events_waiting",
                "Events that hooks are still to be told of.",
                one(self.workers.untold() as f64),
            ),
            gauge(
                "config_good_timestamp_seconds",
                "When the configuration was last read without a mistake.",
                one(self.news.good_since.load(Ordering::Relaxed) as f64),
            ),
            gauge(
                "draining",
                "1 while the gateway is going away.",
                one(f64::from(self.news.draining.load(Ordering::Relaxed))),
            ),
            gauge(
                "build_info",
                "What is running.",
                vec![Sample::new([("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
            ),
        ];
        families.extend(upstreams(&services));
        families.extend(self.cluster());
        families
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody counts so far")]
    fn cluster(&self) -> Vec<Family> {
        let Some(cluster) = self.broker.cluster() else { return Vec::new() };
        let gauge = |name, help, value: f64| Family {
            name,
            help,
            kind: Kind::Gauge,
            samples: vec![Sample::of(value)],
        };
        vec![
            gauge(
                "cluster_connected",
                "1 while NATS can be reached.",
                f64::from(cluster.is_connected()),
            ),
            gauge(
                "cluster_gateways",
                "Other gateways that are there.",
                cluster.others().len() as f64,
            ),
            gauge(
                "cluster_users",
                "Users that this gateway listens for at NATS.",
                cluster.users() as f64,
            ),
        ]
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts so far")]
fn upstreams(services: &Services) -> Vec<Family> {
    let (mut endpoints, mut connections) = (Vec::new(), Vec::new());
    let (mut in_flight, mut retries) = (Vec::new(), Vec::new());
    for upstream in &services.upstreams {
        let status = upstream.status();
        let label = || ("upstream", upstream.name().to_owned());
        let count = |state: &str, is_it: fn(&crate::upstream::EndpointStatus) -> bool| {
            let count = status.iter().filter(|endpoint| is_it(endpoint)).count();
            Sample::new([label(), ("state", state.to_owned())], count as f64)
        };
        endpoints.extend([
            count("up", |it| it.connections > 0 && it.ejected == 0),
            count("ejected", |it| it.ejected > 0),
            count("down", |it| it.connections == 0 && it.ejected == 0),
        ]);
        let sum = |of: fn(&crate::upstream::EndpointStatus) -> usize| {
            status.iter().map(of).sum::<usize>() as f64
        };
        connections.push(Sample::new([label()], sum(|it| it.connections)));
        in_flight.push(Sample::new([label()], sum(|it| it.in_flight)));
        retries.push(Sample::new([label()], upstream.retries() as f64));
    }
    let gauge = |name, help, samples| Family { name, help, kind: Kind::Gauge, samples };
    vec![
        gauge(
            "upstream_endpoints",
            "Endpoints by state: up, ejected for a while by a worker after failures, or down.",
            endpoints,
        ),
        gauge("upstream_connections", "Established HTTP/2 connections.", connections),
        gauge("upstream_calls_in_flight", "Calls that services are working on.", in_flight),
        Family {
            name: "upstream_retries_total",
            help: "Calls that were sent once more.",
            kind: Kind::Counter,
            samples: retries,
        },
    ]
}
