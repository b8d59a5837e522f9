//! The worker threads: one runtime a core, each with its own listener, its own
//! upstream connections and its own share of the sessions. A session never moves.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::broker::cluster::Cluster;
use crate::call::{self, Refusals};
use crate::edge::admission::Admission;
use crate::edge::{self, Edge, Warnings};
use crate::hooks::{Dispatcher, Event, Outcome};
use crate::metrics::Metrics;
use crate::protocol::Shared;
use crate::registry::Registry;
use crate::session::keys::KeyService;
use crate::session::sweeper::{Census, Sweeper};
use crate::session::traffic::{Traffic, Volume};
use crate::session::{self, MAX_REVIEWS, Services, Worker};
use crate::tls::Tls;
use crate::trace::Tracing;

/// The components of every worker.
pub(super) struct Parts {
    pub(super) edge: edge::Config,
    pub(super) session: session::Config,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) keys: Option<Arc<KeyService>>,
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tracing: Option<Arc<Tracing>>,
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) services: Arc<ArcSwap<Services>>,
    /// Sees a change whenever `services` was replaced.
    pub(super) replaced: watch::Receiver<()>,
}

/// The running workers.
pub(super) struct Workers {
    sweepers: Vec<Arc<Sweeper>>,
    hooks: Vec<Dispatcher>,
    traffic: Vec<Arc<Traffic>>,
    threads: Vec<JoinHandle<()>>,
    /// Stops accepting connections.
    stop: watch::Sender<bool>,
    /// Ends the workers at once.
    halt: watch::Sender<bool>,
}

/// The sessions of all workers, for metrics.
#[derive(Clone)]
pub(super) struct Watched {
    sweepers: Vec<Arc<Sweeper>>,
    hooks: Vec<Dispatcher>,
    traffic: Vec<Arc<Traffic>>,
}

impl Watched {
    /// Sessions open now.
    pub(super) fn sessions(&self) -> Census {
        let mut all = Census::default();
        self.sweepers.iter().for_each(|sweeper| sweeper.count(&mut all));
        all
    }

    /// The traffic received from clients, and the traffic sent to them.
    pub(super) fn traffic(&self) -> (Volume, Volume) {
        let (mut received, mut sent) = (Volume::default(), Volume::default());
        for traffic in &self.traffic {
            let volumes = traffic.volumes();
            received += volumes.0;
            sent += volumes.1;
        }
        (received, sent)
    }

    /// Events that are still to be delivered to hooks.
    pub(super) fn untold(&self) -> usize {
        self.hooks.iter().map(Dispatcher::undelivered).sum()
    }

    /// Events of a hook with this outcome.
    pub(super) fn told(&self, event: Event, outcome: Outcome) -> u64 {
        self.hooks.iter().map(|hooks| hooks.count(event, outcome)).sum()
    }
}

impl Workers {
    /// Starts a worker for each listener.
    pub(super) fn start(listeners: Vec<TcpListener>, parts: Parts) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (halt, halted) = watch::channel(false);
        let edge = Arc::new(parts.edge);
        let admission = Arc::new(Admission::new(edge.max_connections, edge.max_connections_per_ip));
        let warnings = Arc::<Warnings>::default();
        let refusals = Arc::new(Refusals::new(&parts.metrics));
        let mut workers = Self {
            sweepers: Vec::new(),
            hooks: Vec::new(),
            traffic: Vec::new(),
            threads: Vec::new(),
            stop,
            halt,
        };
        for (index, listener) in listeners.into_iter().enumerate() {
            let sweeper = Arc::new(Sweeper::new(parts.session.timeouts.clone()));
            let hooks = Dispatcher::default();
            let traffic = Arc::<Traffic>::default();
            let worker = Arc::new(Worker {
                calls: call::Context {
                    worker: index,
                    require_encryption: parts.session.require_encryption,
                    metrics: Arc::clone(&parts.metrics),
                    refusals: Arc::clone(&refusals),
                    tracing: parts.tracing.clone(),
                },
                config: parts.session.clone(),
                services: Arc::clone(&parts.services),
                sweeper: Arc::clone(&sweeper),
                doorbell: Arc::default(),
                hooks: hooks.clone(),
                traffic: Arc::clone(&traffic),
                reviews: Arc::new(Semaphore::new(MAX_REVIEWS)),
                registry: Arc::clone(&parts.registry),
                cluster: parts.cluster.clone(),
                protocols: Shared::default(),
                keys: parts.keys.clone(),
            });
            let edge = Edge::new(
                Arc::clone(&edge),
                Arc::clone(&admission),
                Arc::clone(&warnings),
                parts.tls.clone(),
                Arc::clone(&worker),
            );
            let (stopped, halted) = (stopped.clone(), halted.clone());
            let replaced = parts.replaced.clone();
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let work = async move {
                let listener = tokio::net::TcpListener::from_std(listener);
                tokio::spawn(Arc::clone(&worker.sweeper).run());
                let doorbell = Arc::clone(&worker.doorbell);
                tokio::spawn(async move { doorbell.answer().await });
                tokio::spawn(follow(worker, replaced));
                match listener {
                    Ok(listener) => Arc::new(edge).run(listener, stopped).await,
                    Err(error) => tracing::error!(%error, "a worker cannot accept connections"),
                }
                let mut halted = halted;
                // An error means that the workers are gone: this ends the worker as well.
                let _end = halted.wait_for(|halt| *halt).await;
            };
            let thread =
                std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                    runtime.block_on(work);
                    // A pending DNS lookup must not delay the end.
                    runtime.shutdown_background();
                })?;
            workers.sweepers.push(sweeper);
            workers.hooks.push(hooks);
            workers.traffic.push(traffic);
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// A view of the running workers.
    pub(super) fn watched(&self) -> Watched {
        Watched {
            sweepers: self.sweepers.clone(),
            hooks: self.hooks.clone(),
            traffic: self.traffic.clone(),
        }
    }

    /// Sessions open now.
    pub(super) fn sessions(&self) -> usize {
        self.sweepers.iter().map(|sweeper| sweeper.len()).sum()
    }

    /// Events that are still to be delivered to hooks.
    pub(super) fn untold(&self) -> usize {
        self.hooks.iter().map(Dispatcher::undelivered).sum()
    }

    /// Retries failed hooks at once.
    pub(super) fn hurry(&self) {
        self.hooks.iter().for_each(Dispatcher::hurry);
    }

    /// Accepts no more connections and closes every session within `period`.
    pub(super) fn drain(&self, period: Duration) {
        self.stop.send_replace(true);
        for sweeper in &self.sweepers {
            sweeper.drain(Instant::now(), period);
        }
    }

    /// Closes every session that is still open now.
    pub(super) fn stop(&self) {
        for sweeper in &self.sweepers {
            sweeper.stop();
        }
    }

    /// Ends the workers, with everything that is still under way.
    pub(super) fn halt(self) {
        self.stop.send_replace(true);
        self.halt.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

/// Follows the replacement of a worker's services: opens its connections to every
/// upstream, before the first call needs them, and applies the new rules of logins.
async fn follow(worker: Arc<Worker>, mut replaced: watch::Receiver<()>) {
    loop {
        replaced.mark_unchanged();
        {
            let services = worker.services.load();
            worker.sweeper.set_holding(services.holding.clone());
            for upstream in &services.upstreams {
                upstream.warm(worker.calls.worker);
            }
        }
        if replaced.changed().await.is_err() {
            return;
        }
    }
}
