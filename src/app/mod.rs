//! The gateway as a whole: built from a configuration, served until it is asked
//! to stop.
//!
//! Binds early, serves late: errors at start occur before the first connection is
//! accepted.

mod admin;
mod authentication;
mod callouts;
mod cluster;
mod components;
mod files;
mod key_files;
mod log;
mod problem;
mod push;
mod reflection;
mod reload;
mod resolve;
mod samples;
mod secrets;
mod sizes;
mod start_error;
mod stop;
mod trace;
mod warnings;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::admin as admin_api;
use crate::broker::Broker;
use crate::edge;
use crate::metrics::Metrics;
use crate::push::Server;
use crate::registry::Registry;
use crate::session::Services;
use crate::session::keys::KeyService;
use crate::trace::Tracing;

pub use key_files::problems as file_problems;
pub use log::start as start_log;
pub use problem::Problem;
pub use reflection::Reflection;
pub use reload::Read;
pub use resolve::{Resolved, Resolver};
pub use start_error::StartError;
pub use stop::{Drain, Signals, Stop};

use admin::{News, State};
use files::Files;
use reload::Reloader;
use workers::{Parts, Workers};

/// A gateway that accepts connections.
pub struct App {
    address: SocketAddr,
    push: Option<(Server, SocketAddr)>,
    admin: Option<(admin_api::Server, SocketAddr)>,
    news: Arc<News>,
    broker: Arc<Broker>,
    workers: Workers,
    tracing: Option<Arc<Tracing>>,
    drain: Drain,
    /// Boxed, as it holds two configurations.
    reloader: Box<Reloader>,
    /// The current services of sessions.
    services: Arc<ArcSwap<Services>>,
}

impl App {
    /// Starts a gateway with `workers` worker threads. `read` gives the
    /// configuration; `watch` is its file, if it has one.
    pub async fn start(
        read: Read,
        watch: Option<PathBuf>,
        workers: usize,
    ) -> Result<Self, StartError> {
        let hangup = reload::listen_for_hangup();
        // Watched before it is read, so that no change between the two is missed.
        let mut files = Files::watch(watch);
        let loaded = read().map_err(StartError::Config)?;
        files.also(loaded.files());
        let config = &loaded.config;
        let mut diagnostics = loaded.diagnostics();

        let mut resolver = Resolver::new(workers);
        let made = resolver.resolve(config, Reflection::Ask).await;
        made.problems.iter().for_each(|problem| problem.report(&loaded, &mut diagnostics));
        let node = cluster::node(config);
        let mut report = |problem: Problem| problem.report(&loaded, &mut diagnostics);
        let tls = secrets::client_tls(config).map_err(&mut report).unwrap_or_default();
        let key = secrets::session_key(config).map_err(&mut report).unwrap_or_default();
        let door = push::Door::new(config).map_err(&mut report).unwrap_or_default();
        cluster::check(config).map_err(&mut report).unwrap_or_default();
        let tracing = trace::start(config, node.clone()).map_err(&mut report).unwrap_or_default();
        if diagnostics.has_errors() {
            return Err(StartError::Config(diagnostics));
        }
        warnings::log(&loaded, &made);

        let listen = config.edge.listen;
        let unavailable = |source| StartError::Listen { address: listen, source };
        let listeners = edge::bind::bind(listen, workers).map_err(unavailable)?;
        let address = listeners
            .first()
            .map_or(Ok(listen), std::net::TcpListener::local_addr)
            .map_err(unavailable)?;
        let push_listener = push::bind(config)?;
        let admin_listener = admin::bind(config)?;

        let keys = key.map(|key| KeyService::start(key, workers)).transpose()?.map(Arc::new);
        let services = Arc::new(ArcSwap::from_pointee(made.services));
        let (replaced, on_replaced) = watch::channel(());
        let registry = Registry::new(components::one_session_per(config));
        let metrics = Metrics::new();
        let broker = cluster::broker(config, node, Arc::clone(&registry), &metrics).await;
        let broker = broker.map(Arc::new)?;
        let push = match push_listener {
            Some(listener) => {
                Some(push::serve(listener, &door, &broker, &metrics, tracing.clone()).await?)
            }
            None => None,
        };
        let parts = Parts {
            edge: components::edge(config),
            session: components::session(config),
            tls: tls.clone(),
            keys: keys.clone(),
            registry,
            metrics: Arc::clone(&metrics),
            tracing: tracing.clone(),
            cluster: broker.cluster().cloned(),
            services: Arc::clone(&services),
            replaced: on_replaced,
        };
        let drain = components::drain(config);
        let workers = Workers::start(listeners, parts)?;
        let news = Arc::<News>::default();
        news.is_good();
        news.set_pending(&made.pending);
        let state = State {
            metrics: Arc::clone(&metrics),
            services: Arc::clone(&services),
            broker: Arc::clone(&broker),
            workers: workers.watched(),
            keys,
            tls: tls.iter().cloned().map(|tls| ("edge", tls)).chain(door.certificate()).collect(),
            news: Arc::clone(&news),
        };
        let admin = admin_listener.map(|listener| admin::serve(listener, state)).transpose()?;
        let paths: Vec<_> = config.edge.paths().into_iter().map(|(path, _)| path).collect();
        tracing::info!(
            %address,
            path = %paths.join(" or "),
            tls = tls.is_some(),
            routes = services.load().calls.routes.len(),
            "listening"
        );
        let reloader = Box::new(Reloader {
            read,
            files,
            resolver,
            services: Arc::clone(&services),
            replaced,
            tls,
            door,
            cluster: broker.cluster().cloned(),
            key: reload::private_key(&loaded.config),
            started: loaded.config.clone(),
            running: loaded.config,
            pending: made.pending,
            hangup,
            warned: made.warnings,
            metrics,
            news: Arc::clone(&news),
        });
        Ok(Self { address, push, admin, news, broker, workers, tracing, drain, reloader, services })
    }

    /// The address for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the Push API, if it is configured.
    pub fn push_address(&self) -> Option<SocketAddr> {
        self.push.as_ref().map(|(_, address)| *address)
    }

    /// The address of the admin listener, if it is configured.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
    }

    /// The client methods that have a route, sorted.
    pub fn methods(&self) -> Vec<String> {
        self.services.load().calls.routes.routes().map(|route| route.name.to_string()).collect()
    }

    /// Overrides the configuration's `drain` section.
    #[must_use]
    pub fn with_drain(mut self, drain: Drain) -> Self {
        self.drain = drain;
        self
    }

    /// Serves, and reloads, until `stop`; then drains.
    pub async fn run(self, stop: impl Future<Output = Stop>) {
        let mut reloader = self.reloader;
        let stop = tokio::select! {
            stop = stop => stop,
            never = Box::pin(reloader.run()) => match never {},
        };
        self.news.drain();
        let push = self.push.map(|(server, _)| server);
        stop::drain(self.workers, push, &self.broker, self.drain, stop).await;
        // The spans of the last calls are still to be exported.
        if let Some(tracing) = self.tracing {
            tracing.stop().await;
        }
    }
}
