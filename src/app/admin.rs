//! The admin listener as part of the gateway: from its section of routes.yaml
//! to a running server, and the checks of readiness. Metrics that are sampled
//! at each scrape are in `samples`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::start_error::StartError;
use super::workers::Watched;
use crate::admin::{Check, Server, Sources};
use crate::broker::Broker;
use crate::config::Config;
use crate::edge;
use crate::metrics::Metrics;
use crate::session::Services;
use crate::session::keys::KeyService;
use crate::tls::Tls;
use crate::upstream::Upstream;

/// How many endpoints readiness names.
const MAX_COMPLAINTS: usize = 20;

/// The parts of the gateway that health checks and metrics read.
#[derive(Clone)]
pub(super) struct State {
    pub(super) metrics: Arc<Metrics>,
    pub(super) services: Arc<ArcSwap<Services>>,
    pub(super) broker: Arc<Broker>,
    pub(super) workers: Watched,
    pub(super) keys: Option<Arc<KeyService>>,
    /// By the section of routes.yaml that names the certificate.
    pub(super) tls: Vec<(&'static str, Arc<Tls>)>,
    pub(super) news: Arc<News>,
}

/// State that changes while the gateway runs.
#[derive(Default)]
pub(super) struct News {
    /// The gateway drains before it stops.
    draining: AtomicBool,
    /// Upstreams whose descriptors are not known yet, and why.
    pending: ArcSwap<Vec<(String, String)>>,
    /// When the configuration was last read without a mistake, in seconds
    /// since 1970.
    good_since: AtomicI64,
}

impl News {
    /// The gateway starts to drain.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_pending(&self, pending: &[(String, String)]) {
        self.pending.store(Arc::new(pending.to_vec()));
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// When the running configuration was read, in seconds since 1970.
    pub(super) fn good_since(&self) -> i64 {
        self.good_since.load(Ordering::Relaxed)
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

/// Starts the server on its bound listener, and returns its address.
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

/// The problems of upstreams' endpoints, limited to a readable number.
fn complaints(services: &Services) -> Vec<String> {
    let of = |upstream: &Arc<Upstream>| {
        let name = upstream.name().to_owned();
        let complaints = upstream.status().into_iter().filter_map(|status| status.complaint());
        complaints.map(move |complaint| format!("{name}: {complaint}")).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = services.upstreams.iter().flat_map(of).collect();
    let more = all.len().saturating_sub(MAX_COMPLAINTS);
    if more > 0 {
        all.truncate(MAX_COMPLAINTS);
        all.push(format!("and {more} more endpoints"));
    }
    all
}

impl State {
    fn readiness(&self) -> Vec<Check> {
        let draining = self.news.is_draining().then(|| "the gateway is stopping".to_owned());
        let pending = self.news.pending.load();
        let reason = |(upstream, reason): &(String, String)| format!("{upstream}: {reason}");
        let mut checks = vec![
            // They were bound before this server was.
            Check::needed("listeners", Vec::new()),
            Check::needed("routes", pending.iter().map(reason).collect()),
            Check::needed("draining", draining.into_iter().collect()),
        ];
        if let Some(keys) = self.services.load().auth.fetched_keys() {
            // A gateway that has never had keys, as with a wrong URL, refuses
            // every login. One that has had some continues with them.
            checks.push(match (keys.keys, keys.failure) {
                (0, reason) => {
                    let reason = reason.unwrap_or_else(|| "they have not been fetched yet".into());
                    Check::needed("keys", vec![reason])
                }
                (_, reason) => Check::wanted("keys", reason.into_iter().collect()),
            });
        }
        // A service that is down is down for all gateways: see below.
        checks.push(Check::wanted("upstreams", complaints(&self.services.load())));
        if let Some(cluster) = self.broker.cluster() {
            // Sessions of other gateways cannot be reached meanwhile.
            let reasons = cluster.problem().map(|why| format!("no connection to NATS: {why}"));
            // Without NATS all gateways would be taken out at once.
            checks.push(Check::wanted("cluster", reasons.into_iter().collect()));
        }
        checks
    }
}
