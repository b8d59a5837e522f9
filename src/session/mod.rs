//! One client's session: from the open WebSocket to its close frame.
//!
//! A session is one task (`task`): a loop that reads frames in order, drives the
//! session's calls, and is the only writer of its socket. Its events are handled
//! by a state machine without I/O and clock (`state`), which acts through
//! `effects`; there every failure becomes a reply or a close code.
//!
//! Not here: the layout of frames (`websocket`), their contents (`protocol`), calls
//! (`call`), connections to services (`upstream`), and the listener (`edge`).

mod closing;
mod confirmations;
mod effects;
mod ended;
pub mod keys;
mod login;
mod news;
mod socket;
mod state;
mod stream;
pub mod sweeper;
mod task;
#[cfg(test)]
mod tests;
pub mod traffic;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::auth::Authenticator;
use crate::broker::cluster::Cluster;
use crate::call;
use crate::hooks::{Dispatcher, Hooks};
use crate::outbox::Doorbell;
use crate::protocol;
use crate::registry::Registry;
use crate::upstream::Upstream;

pub use closing::{acknowledge, refuse};
pub use ended::Ended;
pub use login::MAX_REVIEWS;
pub use socket::{Outgoing, ReadError, Socket, Source};
pub use task::run;

/// Configuration of all sessions. See the `session` section of routes.yaml.
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

/// The services of sessions; a reload replaces all of them at once.
pub struct Services {
    /// The methods that may be called.
    pub calls: call::Targets,
    /// Decides about logins.
    pub auth: Authenticator,
    /// How long a login holds.
    pub holding: sweeper::Holding,
    /// Hooks called when sessions begin and end.
    pub hooks: Hooks,
    /// Every upstream, whether or not a route leads to it.
    pub upstreams: Vec<Arc<Upstream>>,
}

/// State shared by the sessions of one worker.
pub struct Worker {
    /// The surroundings of calls.
    pub calls: call::Context,
    /// Configuration of all sessions.
    pub config: Config,
    /// Replaced by a reload.
    pub services: Arc<ArcSwap<Services>>,
    /// Judges the worker's sessions by the clock.
    pub sweeper: Arc<sweeper::Sweeper>,
    /// Wakes the worker's sessions for pushes from other threads.
    pub doorbell: Arc<Doorbell>,
    /// Bytes and messages that the worker's sessions have read and written.
    pub traffic: Arc<traffic::Traffic>,
    /// Delivers the worker's session events to the hooks.
    pub hooks: Dispatcher,
    /// A permit for each login that may be verified again at once:
    /// [`MAX_REVIEWS`].
    pub reviews: Arc<Semaphore>,
    /// Where sessions that have logged in are found.
    pub registry: Arc<Registry>,
    /// The other gateways, which can reach these sessions too; `None`: there are
    /// none.
    pub cluster: Option<Arc<Cluster>>,
    /// State that the worker's sessions share by protocol.
    pub protocols: protocol::Shared,
    /// The RSA key of the handshake; `None`: encryption is refused.
    pub keys: Option<Arc<keys::KeyService>>,
}
