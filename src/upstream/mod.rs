//! Connections to gRPC services and the calls over them: unary ones, and streams.
//!
//! An [`Upstream`] is one service by its configured addresses. It keeps
//! HTTP/2 connections to every endpoint behind them, separately for each
//! worker thread, and sends each call over the less loaded of two.
//!
//! The contents of calls are not its business: messages are bytes, methods are
//! paths. Descriptors, routes and the meaning of a status live elsewhere; only
//! [`reflection`] asks a server for its descriptors.
//!
//! # Layout
//!
//! A call goes down this list, and its answer up:
//!
//! - `open`: a stream's beginning; `response` and `requests`: the rest of it
//! - `call`: the attempts a call has, and its deadline; `metadata`: their headers,
//!   and `rules`, how those of an upstream differ; `trail`: the attempts' outcomes
//! - `pool`: one worker's connections; `balance` and `health` choose, `waiters`
//!   queue, `retry` rations
//! - `exchange`: one attempt; `framing`, `status` and `failure` speak gRPC,
//!   `stream` HTTP/2
//! - `linger`: the end of a call that has no receiver any more, and `pace`: how fast
//!   it is reset
//! - `connection`: one HTTP/2 connection; `occupancy`: the calls on it, and `permit`:
//!   the room for one; `liveness` judges by the observations of `monitor` and `tap`
//!   whether it is alive
//!
//! Connections come from here:
//!
//! - `address`, `tls`, `source`: the configuration's values
//! - `resolver`, `resolve`: names to endpoints, again and again
//! - `keepers` start, for each worker, the tasks that keep its connections
//! - `reconnect`, `backoff`: one connection kept open; `endpoint`, `journal`
//!   know and report its condition
//! - `dial`: TCP, TLS, Unix sockets; `greeting` identifies a peer that does not
//!   speak HTTP/2

mod address;
mod backoff;
mod balance;
mod call;
mod closed;
mod connection;
mod destination;
mod dial;
mod endpoint;
mod exchange;
mod failure;
mod framing;
mod greeting;
mod header_size;
mod health;
mod journal;
mod keepers;
mod linger;
mod liveness;
mod metadata;
mod monitor;
mod occupancy;
mod open;
mod pace;
mod permit;
mod pool;
mod probe;
mod reconnect;
pub mod reflection;
mod requests;
mod resolve;
mod resolver;
mod response;
mod retry;
mod rules;
mod source;
mod status;
mod stream;
mod tap;
mod tls;
mod trail;
mod waiters;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use tonic::Status;

use call::Unary;
use journal::Journal;
use pool::Pool;
use source::Source;

pub use address::{Address, AddressError};
pub use backoff::Backoff;
pub use call::{Call, CallError};
pub use destination::Destination;
pub use failure::Origin;
pub use header_size::header_size;
pub use journal::Counts;
pub use metadata::{Metadata, OWN, Own, call_size};
pub use probe::{Unfit, UnfitKind, probe};
pub use requests::{Requests, Unsent};
pub use resolver::{Lookup, Resolver, SystemResolver};
pub use response::Response;
pub use rules::Rules;
pub use tls::{Pem, TlsConfig, TlsError};
pub use trail::{Attempt, Trail};

/// The most connections per endpoint and worker.
const MAX_CONNECTIONS: usize = 64;

/// The configuration of an upstream. Two equal configurations make equal
/// upstreams, so a reload keeps the connections of one that did not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The name in the configuration, for logs and metrics.
    pub name: String,
    /// Where the service is; at least one. Kinds may be mixed.
    pub address: Vec<Address>,
    /// HTTP/2 connections per endpoint and worker, 1 to 64. Two to four break
    /// the lockstep in which a single one answers.
    pub connections: usize,
    /// How `https://` and `dns:///` addresses are secured. Absent: `https://`
    /// trusts the public web's roots, and `dns:///` is plain.
    pub tls: Option<TlsConfig>,
}

/// A configuration that no upstream can be made from.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The list of addresses is empty.
    #[error("upstream `{0}` has no address: name at least one, such as http://host:port")]
    NoAddress(String),
    /// `connections` is out of range.
    #[error("upstream `{name}`: connections is {given}, which must be 1 to 64")]
    Connections {
        /// The upstream's name.
        name: String,
        /// The value given.
        given: usize,
    },
    /// The TLS material cannot be used.
    #[error("upstream `{name}`: {reason}")]
    Tls {
        /// The upstream's name.
        name: String,
        /// The error, and its remedy.
        reason: TlsError,
    },
}

/// One gRPC service, shared by all workers.
///
/// Dropping the last reference closes its connections once the calls in flight
/// on them are finished.
pub struct Upstream {
    config: Config,
    sources: Vec<Source>,
    journal: Arc<Journal>,
    /// One for each worker, made by its first call or by [`Self::warm`].
    pools: Box<[OnceLock<Arc<Pool>>]>,
}

/// One endpoint of an upstream, over all workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// The address, with the resolved one in parentheses for `dns:///`.
    pub address: Arc<str>,
    /// Connections that calls are sent on.
    pub connections: usize,
    /// Connections that are open and out of use, since they do not answer.
    pub withdrawn: usize,
    /// Calls on them, including abandoned ones.
    pub in_flight: usize,
    /// How many workers have ejected it for now.
    pub ejected: usize,
    /// How many workers get no answers from it: calls run out of time one after
    /// the other, a connection has fallen silent, or none can be made and no worker
    /// has had a sign of life since.
    pub unresponsive: usize,
    /// The last problem, unless it was mended since.
    pub problem: Option<String>,
}

/// How an endpoint is, for the gateway as a whole: as its worst worker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// Connected, and nothing speaks against it.
    Up,
    /// Connected, but a worker gets no answers. Where no connection answers, none
    /// is in use. Idle connections of other workers prove nothing against that.
    Unresponsive,
    /// A worker sends it nothing for a while.
    Ejected,
    /// Not connected.
    Down,
}

impl EndpointStatus {
    /// The endpoint in a word.
    pub fn state(&self) -> EndpointState {
        match self {
            Self { ejected: 1.., .. } => EndpointState::Ejected,
            Self { connections: 0, withdrawn: 0, .. } => EndpointState::Down,
            Self { withdrawn: 1.., .. } | Self { unresponsive: 1.., .. } => {
                EndpointState::Unresponsive
            }
            _ => EndpointState::Up,
        }
    }

    /// Why it is not as it should be; `None`: it is, or nothing is known yet.
    pub fn complaint(&self) -> Option<String> {
        let Self { address, problem, .. } = self;
        let said = match self.state() {
            EndpointState::Up => return None,
            EndpointState::Unresponsive => "does not answer",
            EndpointState::Ejected => "is left alone for a while after failures",
            // It is being connected for the first time.
            EndpointState::Down if problem.is_none() => return None,
            EndpointState::Down => "is not connected",
        };
        let problem = problem.as_ref().map(|problem| format!(": {problem}"));
        Some(format!("{address} {said}{}", problem.unwrap_or_default()))
    }
}

impl Upstream {
    /// Checks the configuration. Nothing is connected yet.
    ///
    /// `workers` is the number of threads that will call; each gets its own
    /// connections.
    pub fn new(config: Config, workers: usize) -> Result<Self, UpstreamError> {
        Self::with_resolver(config, workers, &(Arc::new(SystemResolver) as Arc<dyn Resolver>))
    }

    /// The same with a resolver other than the operating system's.
    pub fn with_resolver(
        config: Config,
        workers: usize,
        resolver: &Arc<dyn Resolver>,
    ) -> Result<Self, UpstreamError> {
        let name = || config.name.clone();
        if config.address.is_empty() {
            return Err(UpstreamError::NoAddress(name()));
        }
        if !(1..=MAX_CONNECTIONS).contains(&config.connections) {
            return Err(UpstreamError::Connections { name: name(), given: config.connections });
        }
        let sources = source::sources(&config.address, config.tls.as_ref(), resolver)
            .map_err(|reason| UpstreamError::Tls { name: name(), reason })?;
        Ok(Self {
            sources,
            journal: Arc::new(Journal::new(name())),
            pools: (0..workers).map(|_| OnceLock::new()).collect(),
            config,
        })
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Starts connecting for one worker, so that its first call need not wait.
    ///
    /// Must be called inside that worker's runtime. Calling it again, or for a
    /// worker that has already called, does nothing.
    pub fn warm(&self, worker: usize) {
        self.pool(worker);
    }

    /// Makes one unary call over the connections of `worker`.
    ///
    /// The future must be polled inside that worker's runtime. It resolves
    /// within `call.timeout`, exactly once, and holds all it needs, so the
    /// upstream may be dropped meanwhile.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time, also together with any number of
    /// others: the answer is lost, the connection is not harmed. The service
    /// goes on working for it until the call's deadline.
    pub fn call(
        self: &Arc<Self>,
        worker: usize,
        mut call: Call,
    ) -> impl Future<Output = Result<Bytes, CallError>> + Send + use<> {
        let upstream = Arc::clone(self);
        async move {
            let pool = upstream.pool_for(worker)?;
            drop(upstream);
            call::make(&pool, &mut call, &Unary).await
        }
    }

    /// The counters since the upstream was made.
    pub fn counts(&self) -> Counts {
        self.journal.counts()
    }

    /// The endpoints as they are now, over all workers, sorted by address. A
    /// name that has no endpoints yet stands for itself, without connections.
    pub fn status(&self) -> Vec<EndpointStatus> {
        let now = Instant::now();
        let mut all: BTreeMap<Arc<str>, EndpointStatus> = BTreeMap::new();
        let mut resolved = vec![false; self.sources.len()];
        for pool in self.pools.iter().filter_map(OnceLock::get) {
            for (endpoint, connections, in_flight) in pool.endpoints() {
                let status = self.entry(&mut all, endpoint.label());
                status.connections += connections;
                status.withdrawn += endpoint.withdrawn();
                status.in_flight += in_flight;
                status.ejected += usize::from(endpoint.is_ejected(now));
                status.unresponsive += usize::from(endpoint.is_unresponsive(now));
                if let Some(resolved) = resolved.get_mut(endpoint.source) {
                    *resolved = true;
                }
            }
        }
        for (source, resolved) in self.sources.iter().zip(resolved) {
            if !resolved {
                self.entry(&mut all, source.label());
            }
        }
        all.into_values().collect()
    }

    fn entry<'a>(
        &self,
        all: &'a mut BTreeMap<Arc<str>, EndpointStatus>,
        address: &Arc<str>,
    ) -> &'a mut EndpointStatus {
        all.entry(Arc::clone(address)).or_insert_with(|| EndpointStatus {
            address: Arc::clone(address),
            connections: 0,
            withdrawn: 0,
            in_flight: 0,
            ejected: 0,
            unresponsive: 0,
            problem: self.journal.problem(address),
        })
    }

    fn pool_for(&self, worker: usize) -> Result<Arc<Pool>, CallError> {
        self.pool(worker).cloned().ok_or_else(|| CallError {
            status: Status::internal(format!("there is no worker {worker}")),
            origin: Origin::Gateway,
            endpoint: None,
        })
    }

    /// `None` for a worker that the upstream was not made for.
    fn pool(&self, worker: usize) -> Option<&Arc<Pool>> {
        let start =
            || keepers::start(&self.sources, self.config.connections, Arc::clone(&self.journal));
        self.pools.get(worker).map(|pool| pool.get_or_init(start))
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(addresses: &[&str]) -> Config {
        Config {
            name: "msg".into(),
            address: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            connections: 2,
            tls: None,
        }
    }

    fn error(config: Config) -> String {
        Upstream::new(config, 1).unwrap_err().to_string()
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused_with_what_would_be_right() {
        assert_eq!(
            error(config(&[])),
            "upstream `msg` has no address: name at least one, such as http://host:port"
        );
        for connections in [0, 65] {
            let said = error(Config { connections, ..config(&["http://msg:8080"]) });
            assert!(said.ends_with("which must be 1 to 64"), "{said}");
        }
        let tls = Some(TlsConfig::default());
        let said = error(Config { tls: tls.clone(), ..config(&["http://msg:8080"]) });
        assert!(said.contains("write https:// instead of http://"), "{said}");
        assert!(Upstream::new(Config { tls, ..config(&["dns:///msg:8080"]) }, 1).is_ok());
    }

    #[test]
    fn an_endpoint_is_as_its_worst_worker_sees_it() {
        let sound = EndpointStatus {
            address: "http://msg:1".into(),
            connections: 2,
            withdrawn: 0,
            in_flight: 0,
            ejected: 0,
            unresponsive: 0,
            problem: None,
        };
        let problem = || Some("no answer".to_owned());
        assert_eq!((sound.state(), sound.complaint()), (EndpointState::Up, None));
        let new = EndpointStatus { connections: 0, ..sound.clone() };
        assert_eq!((new.state(), new.complaint()), (EndpointState::Down, None));
        for (status, state, complaint) in [
            (
                EndpointStatus { unresponsive: 1, problem: problem(), ..sound.clone() },
                EndpointState::Unresponsive,
                "http://msg:1 does not answer: no answer",
            ),
            (
                EndpointStatus { ejected: 1, unresponsive: 1, ..sound.clone() },
                EndpointState::Ejected,
                "http://msg:1 is left alone for a while after failures",
            ),
            (
                EndpointStatus {
                    connections: 0,
                    withdrawn: 2,
                    unresponsive: 1,
                    problem: problem(),
                    ..sound.clone()
                },
                EndpointState::Unresponsive,
                "http://msg:1 does not answer: no answer",
            ),
            (
                EndpointStatus { connections: 0, unresponsive: 1, problem: problem(), ..sound },
                EndpointState::Down,
                "http://msg:1 is not connected: no answer",
            ),
        ] {
            assert_eq!(status.state(), state);
            assert_eq!(status.complaint().as_deref(), Some(complaint));
        }
    }

    #[test]
    fn nothing_is_connected_before_somebody_asks() {
        // Outside of any runtime, where connecting would panic.
        let upstream = Upstream::new(config(&["http://msg:8080"]), 4).unwrap();
        let expected = EndpointStatus {
            address: "http://msg:8080".into(),
            connections: 0,
            withdrawn: 0,
            in_flight: 0,
            ejected: 0,
            unresponsive: 0,
            problem: None,
        };
        assert_eq!(upstream.status(), [expected]);
    }

    #[tokio::test]
    async fn a_worker_that_does_not_exist_is_an_error_and_no_panic() {
        let upstream = Arc::new(Upstream::new(config(&["http://msg:8080"]), 1).unwrap());
        upstream.warm(7);
        let call = Call {
            path: "/a/B".parse().unwrap(),
            metadata: Arc::new(Metadata::new(http::HeaderMap::new())),
            own: Own::default(),
            message: Bytes::new(),
            timeout: std::time::Duration::from_secs(1),
            hurried: false,
            retry: false,
            trail: None,
        };
        let error = upstream.call(7, call).await.unwrap_err();
        assert_eq!((error.status.code(), error.origin), (tonic::Code::Internal, Origin::Gateway));
    }
}
