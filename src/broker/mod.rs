//! From a push to its receipts.
//!
//! The broker takes a backend's [`Push`], has the registry select the sessions,
//! puts one shared frame into their outboxes, and gathers the outcomes
//! ([`Receipts`]). It also lists, watches and kicks. The sessions of this
//! gateway are reached directly ([`local`]), those of other gateways, if there
//! are any, through NATS ([`cluster`]).
//!
//! Not here: gRPC and its authentication (`push`), the connected sessions
//! (`registry`), and the way of a frame to its client (`outbox`, `session`).

pub mod cluster;
mod lane;
mod listing;
pub mod local;
mod push;
mod receipts;
pub mod told;
mod watching;

use std::sync::Arc;

use crate::registry::{Registry, Target};
use cluster::{Cluster, Incomplete, Route};
use local::{Local, Pushed};

pub use lane::Lane;
pub use listing::Listing;
pub use push::Push;
pub use receipts::{Outcome, Receipt, Receipts, Subject};
pub use watching::{Ended, Watching};

/// Reaches the sessions of this gateway, and of its cluster if it is in one.
pub struct Broker {
    local: Arc<Local>,
    cluster: Option<Arc<Cluster>>,
}

impl Broker {
    /// The broker of a single gateway, named `node`.
    pub fn alone(node: impl Into<Arc<str>>, registry: Arc<Registry>) -> Self {
        Self { local: Arc::new(Local::new(node, registry)), cluster: None }
    }

    /// The broker of a gateway in a cluster, which was started with the same sessions.
    pub fn clustered(local: Arc<Local>, cluster: Arc<Cluster>) -> Self {
        Self { local, cluster: Some(cluster) }
    }

    /// The gateway's name.
    pub fn node(&self) -> &Arc<str> {
        self.local.node()
    }

    /// The cluster, if the gateway is in one.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// Puts an event into the outbox of every session that the target selects.
    /// When this returns all of this gateway have it, and it is on its way to
    /// the others; the receipts come as they become known.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the future may be dropped: all sessions of this gateway get
    /// the event nevertheless. A push that begins in the same lane when this
    /// has returned comes behind it at every session.
    pub async fn push(&self, push: Push, lane: &mut Lane) -> Receipts {
        let Some(cluster) = &self.cluster else {
            let pushed = self.local.push(&push).await;
            let Pushed { settling, absent_users, absent_sessions } = pushed;
            let receipt = |outcome| move |subject| Receipt { outcome, subject };
            let users = absent_users.into_iter().map(Subject::User);
            let sessions = absent_sessions.into_iter().map(Subject::NoSession);
            let users = users.map(receipt(Outcome::Offline));
            let absent = users.chain(sessions.map(receipt(Outcome::Closed))).collect();
            return Receipts::new(settling, absent, push.deadline);
        };
        let in_flight = lane.enter(Route::of(&push.target, push.data.len())).await;
        let mut pushed = self.local.push(&push).await;
        let elsewhere = cluster.push(&push, &mut pushed, in_flight);
        Receipts::new(pushed.settling, Vec::new(), push.deadline).with(elsewhere)
    }

    /// Closes the sessions that a target selects, and returns their number.
    ///
    /// # Errors
    ///
    /// Not every gateway of the cluster could be asked; the others have done it.
    pub async fn kick(&self, target: &Target, reason: &str) -> Result<usize, Incomplete> {
        let here = self.local.kick(target, reason);
        let Some(cluster) = &self.cluster else { return Ok(here) };
        match cluster.kick(target, reason).await {
            Ok(elsewhere) => Ok(here + elsewhere),
            Err(incomplete) => Err(Incomplete { kicked: here + incomplete.kicked, ..incomplete }),
        }
    }

    /// The sessions that a target selects.
    pub fn list(&self, target: &Target) -> Listing {
        let elsewhere = self.cluster.as_ref().map(|cluster| cluster.list(target));
        Listing::new(Arc::clone(self.node()), self.local.list(target), elsewhere)
    }

    /// Events of the sessions that a target selects, from the return of this call
    /// on; with `snapshot`, the present sessions come first.
    ///
    /// # Errors
    ///
    /// The cluster cannot be reached.
    pub async fn watch(&self, target: Target, snapshot: bool) -> Result<Watching, Ended> {
        let cluster = self.cluster.as_ref();
        let elsewhere = cluster.map(|cluster| cluster.watch(&target, snapshot)).transpose()?;
        let mut watching = Watching::new(&self.local, target, elsewhere, snapshot);
        watching.begin().await?;
        Ok(watching)
    }
}
