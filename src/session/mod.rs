//! One client's session: from the open WebSocket to its close frame.
//!
//! A session is one task (`task`). It reads frames in order, answers the
//! handshake itself (`handshake`, `login`), turns every other request into a call
//! (`request`) that it drives along, and is the only writer of its socket.
//! Whatever goes wrong becomes an answer or a close code in one place.
//!
//! Not here: how a frame is laid out (`websocket`), and what is in it, encrypted
//! or not (`envelope`), which method goes where (`routing`), connections to services (`upstream`), and how the
//! socket came to be (`edge`).

mod closing;
mod confirmations;
mod ended;
mod handshake;
mod identity;
pub mod keys;
mod login;
mod metadata;
mod news;
mod refusals;
mod request;
pub mod server_iv;
mod socket;
mod spans;
mod stream;
pub mod sweeper;
mod task;
pub mod traffic;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::auth::{Authenticator, EachRequest};
use crate::broker::cluster::Cluster;
use crate::hooks::{Dispatcher, Hooks};
use crate::metrics::Metrics;
use crate::outbox::Doorbell;
use crate::registry::Registry;
use crate::routing::RouteTable;
use crate::trace::{Parent, Tracing};
use crate::upstream::{Destination, Upstream};

pub use closing::{acknowledge, refuse};
pub use ended::Ended;
pub use login::MAX_REVIEWS;
pub use metadata::most as most_metadata;
pub use refusals::Refusals;
pub use socket::{Outgoing, ReadError, Socket, Source};
pub use task::run;

/// What holds for every session. See the `session` section of routes.yaml.
#[derive(Debug, Clone)]
pub struct Config {
    /// The platforms that a client may name.
    pub platforms: Vec<String>,
    /// Whether a client's `packageId` stands for its device, and not its `deviceId`.
    pub device_is_package: bool,
    /// Whether a client must turn encryption on.
    pub require_encryption: bool,
    /// Requests of one session that may be under way at once; at least 1.
    /// While there are as many, it takes no further one.
    pub max_in_flight: usize,
    /// Bytes that may wait to be written before the session counts as too slow.
    pub outbox: usize,
    /// The largest message that is read, in bytes.
    pub max_message: usize,
    /// How long a session may stay in each state.
    pub timeouts: sweeper::Timeouts,
}

/// What sessions work with and a reload replaces, all at once.
pub struct Services {
    /// Which method goes where.
    pub routes: RouteTable<Destination>,
    /// Who may log in.
    pub auth: Authenticator,
    /// How long a login holds.
    pub holding: sweeper::Holding,
    /// Judges each request that needs a login; `None`: the login is enough.
    pub each_request: Option<EachRequest>,
    /// What is told of sessions that come and go.
    pub hooks: Hooks,
    /// Every upstream, whether or not a route leads to it.
    pub upstreams: Vec<Arc<Upstream>>,
}

/// What the sessions of one worker share.
pub struct Worker {
    /// The worker's number, from 0: its place among every upstream's pools.
    pub index: usize,
    /// What holds for every session.
    pub config: Config,
    /// What a reload replaces.
    pub services: Arc<ArcSwap<Services>>,
    /// Judges the worker's sessions by the clock.
    pub sweeper: Arc<sweeper::Sweeper>,
    /// Wakes the worker's sessions for what other threads push.
    pub doorbell: Arc<Doorbell>,
    /// What the worker's sessions have read and written.
    pub traffic: Arc<traffic::Traffic>,
    /// Tells the hooks of the worker's sessions.
    pub hooks: Dispatcher,
    /// A permit for each login that may be judged again at once: [`MAX_REVIEWS`].
    pub reviews: Arc<Semaphore>,
    /// Where sessions that have logged in are found.
    pub registry: Arc<Registry>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// When refused requests were logged last: one record for all workers.
    pub refusals: Arc<Refusals>,
    /// Records requests; `None`: none is.
    pub tracing: Option<Arc<Tracing>>,
    /// Other gateways, which are to reach sessions as well; `None`: there are none.
    pub cluster: Option<Arc<Cluster>>,
    /// What the IVs are made from that the gateway chooses.
    pub server_ivs: server_iv::ServerIvs,
    /// The RSA key of the handshake; `None`: encryption is refused.
    pub keys: Option<Arc<keys::KeyService>>,
}

/// What the edge knows of a client.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where the client is, proxies seen through.
    pub remote_ip: IpAddr,
    /// What the client calls itself; may be empty.
    pub user_agent: String,
    /// The trace that its calls continue, if it named one.
    pub trace_parent: Option<Box<Parent>>,
    /// Whether the gateway chooses the IV of the session's encryption.
    pub server_iv: bool,
}
