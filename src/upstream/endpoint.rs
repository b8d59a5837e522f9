//! One endpoint of an upstream, as one worker sees it.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::dial::Target;
use super::health::Health;
use super::journal::Journal;

/// An endpoint, its health, and how far its connections are.
pub(super) struct Endpoint {
    pub(super) target: Target,
    /// Which of the upstream's addresses it came from.
    pub(super) source: usize,
    pub(super) health: Mutex<Health>,
    phases: Mutex<Vec<Phase>>,
    retired: watch::Sender<bool>,
    journal: Arc<Journal>,
}

/// How far one of an endpoint's connections is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Being made, and nothing failed lately: worth waiting for.
    Connecting,
    /// Up.
    Connected,
    /// The last attempt failed. Not worth waiting for, whether the next one is
    /// under way or not.
    Failing,
}

impl Endpoint {
    pub(super) fn new(
        target: Target,
        source: usize,
        connections: usize,
        journal: Arc<Journal>,
    ) -> Self {
        Self {
            target,
            source,
            health: Mutex::default(),
            phases: Mutex::new(vec![Phase::Connecting; connections]),
            retired: watch::Sender::new(false),
            journal,
        }
    }

    pub(super) fn label(&self) -> &Arc<str> {
        &self.target.label
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The endpoint answered.
    pub(super) fn succeeded(&self) {
        self.health.lock().succeeded();
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.health.lock().is_ejected(now)
    }

    pub(super) fn set_phase(&self, connection: usize, phase: Phase) {
        if let Some(slot) = self.phases.lock().get_mut(connection) {
            *slot = phase;
        }
    }

    /// Whether a connection to it can be expected soon.
    pub(super) fn is_connecting(&self) -> bool {
        self.phases.lock().contains(&Phase::Connecting)
    }

    /// Takes the endpoint out of service for good. Calls on its connections
    /// finish; nothing reconnects.
    pub(super) fn retire(&self) {
        self.retired.send_replace(true);
    }

    pub(super) fn is_retired(&self) -> bool {
        *self.retired.borrow()
    }

    /// Resolves when the endpoint is retired.
    pub(super) async fn retired(&self) {
        // Fails only without a sender, which `self` is.
        let _ = self.retired.subscribe().wait_for(|retired| *retired).await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.journal.forget(self.label());
    }
}
