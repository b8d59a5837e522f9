//! Calls of clients: from a request to its outcome.
//!
//! A call needs a caller and a request. It knows no session, no socket and no
//! protocol, so every protocol makes the same calls.
//!
//! - [`caller`]: the caller's identity and login; `metadata`: its headers.
//! - `admit`: may the caller make this call? Or a [`refusal`], which `refused` answers.
//! - `start`: runs the call; `spans` records it for a collector.
//! - `outcome`: the result of the call for the client.

mod admit;
pub mod caller;
mod metadata;
mod outcome;
pub mod refusal;
mod refusals;
mod refused;
mod spans;
mod start;

use std::sync::Arc;

use crate::auth::EachRequest;
use crate::metrics::Metrics;
use crate::routing::RouteTable;
use crate::trace::{Place, Tracing};
use crate::upstream::Destination;

pub use caller::{Caller, Client, KnownUser, LoginState};
pub use metadata::{MAX_DEVICE_ID, MAX_TOKEN, MAX_USER_ID, fits, most as most_metadata};
pub use refusal::Refusal;
pub use refusals::Refusals;
pub use refused::Refused;
pub use start::{InFlight, begin};

/// The surroundings of all calls of one worker.
#[derive(Clone)]
pub struct Context {
    /// The worker's number, from 0: its place among every upstream's pools.
    pub worker: usize,
    /// Whether calls need a connection that is encrypted by the protocol.
    pub require_encryption: bool,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Counts and logs refused requests: one for all workers.
    pub refusals: Arc<Refusals>,
    /// Records requests; `None`: none is recorded.
    pub tracing: Option<Arc<Tracing>>,
}

/// The methods that may be called. A reload replaces them.
pub struct Targets {
    /// The destination of each method.
    pub routes: RouteTable<Destination>,
    /// Verifies each request that needs a login; `None`: the login is enough.
    pub each_request: Option<EachRequest>,
}

/// The arrival of a request.
#[derive(Clone, Copy)]
pub struct Arrival {
    /// The request's place in a trace.
    pub place: Place,
    /// Whether the protocol encrypts the connection.
    pub encrypted: bool,
}
