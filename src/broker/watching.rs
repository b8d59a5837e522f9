//! Merges the session events of this gateway and of the others.

use std::sync::Arc;

use super::cluster::{Broken, Elsewhere};
use super::local::Local;
use super::told;
use crate::proto::push::SessionEvent;
use crate::proto::push::session_event::Kind;
use crate::registry::{Behind, Presence, Target, Watch};

/// Why a watch has ended: it would miss something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The watcher did not keep up.
    #[error(transparent)]
    Behind(#[from] Behind),
    /// The connection to the cluster, or to a gateway of it, is lost.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// A stream of session events. Dropping it ends the watch.
pub struct Watching {
    node: Arc<str>,
    here: Watch,
    elsewhere: Option<Elsewhere>,
    /// Sessions present at the beginning.
    present: std::vec::IntoIter<Arc<Presence>>,
    /// When to send the end of the snapshot: after the other gateways' snapshots.
    end_at: EndAt,
    wants_snapshot: bool,
}

enum EndAt {
    /// After the present sessions of this gateway.
    Here,
    /// After the snapshots of the other gateways.
    Elsewhere,
    /// It was sent.
    Told,
}

impl Watching {
    pub(super) fn new(
        local: &Local,
        target: Target,
        elsewhere: Option<Elsewhere>,
        wants_snapshot: bool,
    ) -> Self {
        let (present, here) = local.registry().watch(target);
        let present = if wants_snapshot { present } else { Vec::new() };
        let end_at = if elsewhere.is_some() { EndAt::Elsewhere } else { EndAt::Here };
        let (node, present) = (Arc::clone(local.node()), present.into_iter());
        Self { node, here, elsewhere, present, end_at, wants_snapshot }
    }

    /// Waits until nothing is missed any more at any gateway.
    pub(super) async fn begin(&mut self) -> Result<(), Ended> {
        if !self.wants_snapshot
            && let Some(elsewhere) = &mut self.elsewhere
        {
            while elsewhere.next().await?.kind() != Kind::SnapshotEnd {}
            self.end_at = EndAt::Told;
        }
        Ok(())
    }

    /// The next event. Waits for ever if there is none.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time; no event is lost.
    pub async fn next(&mut self) -> Result<SessionEvent, Ended> {
        if let Some(presence) = self.present.next() {
            return Ok(told::snapshot(&presence, &self.node));
        }
        if let EndAt::Here = self.end_at {
            self.end_at = EndAt::Told;
            if self.wants_snapshot {
                return Ok(told::snapshot_end());
            }
        }
        let Some(elsewhere) = &mut self.elsewhere else {
            return Ok(told::event(self.here.next().await?, &self.node));
        };
        // Events of this gateway wait until all snapshots are complete.
        let is_complete = matches!(self.end_at, EndAt::Told);
        let event = tokio::select! {
            event = self.here.next(), if is_complete => {
                return Ok(told::event(event?, &self.node));
            }
            event = elsewhere.next() => event?,
        };
        if event.kind() == Kind::SnapshotEnd {
            self.end_at = EndAt::Told;
            return Ok(told::snapshot_end());
        }
        Ok(event)
    }
}
