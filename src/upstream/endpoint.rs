//! One endpoint of an upstream, as one worker sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::dial::Target;
use super::health::Health;
use super::journal::{Journal, LastAnswer};

/// An endpoint, its health, and how far its connections are.
pub(super) struct Endpoint {
    pub(super) target: Target,
    /// Which of the upstream's addresses it came from.
    pub(super) source: usize,
    pub(super) health: Mutex<Health>,
    /// How many calls were answered, whatever the answer.
    answers: AtomicU32,
    /// When any worker saw it answer last.
    last_answer: Arc<LastAnswer>,
    slots: Mutex<Vec<Slot>>,
    retired: watch::Sender<bool>,
    journal: Arc<Journal>,
}

/// The place of one of its connections.
#[derive(Debug, Clone, Copy)]
struct Slot {
    phase: Phase,
    /// Whether its connection has fallen silent and is not replaced yet.
    silent: bool,
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
        let last_answer = journal.last_answer(&target.label);
        Self {
            target,
            source,
            health: Mutex::default(),
            answers: AtomicU32::new(0),
            last_answer,
            slots: Mutex::new(vec![Slot { phase: Phase::Connecting, silent: false }; connections]),
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

    /// How many calls were answered so far.
    pub(super) fn answers(&self) -> u32 {
        self.answers.load(Ordering::Relaxed)
    }

    /// A call was answered, whatever the answer.
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls have been answered since the last look, as all workers may know.
    pub(super) fn seen_answering(&self, now: Instant) {
        if self.last_answer.seen(now) {
            self.journal.answered(self.label());
        }
    }

    /// Whether a call of any worker may have been answered after `sent`.
    pub(super) fn may_have_answered_since(&self, sent: Instant) -> bool {
        self.last_answer.is_after(sent)
    }

    /// The endpoint answered well, or with a status. Returns whether it gets another share of the
    /// calls because of that; see [`super::pool::Pool::sort_out`].
    pub(super) fn succeeded(&self) -> bool {
        self.health.lock().succeeded()
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.health.lock().is_ejected(now)
    }

    /// Whether it does not answer: calls have run out of time in a row, or a
    /// connection has fallen silent.
    pub(super) fn is_unresponsive(&self, now: Instant) -> bool {
        self.health.lock().is_overdue(now) || self.slots.lock().iter().any(|slot| slot.silent)
    }

    /// Connections that are open and out of use, since they do not answer.
    pub(super) fn withdrawn(&self) -> usize {
        self.slots.lock().iter().filter(|slot| slot.silent).count()
    }

    pub(super) fn set_phase(&self, connection: usize, phase: Phase) {
        if let Some(slot) = self.slots.lock().get_mut(connection) {
            slot.phase = phase;
        }
    }

    pub(super) fn set_silent(&self, connection: usize, silent: bool) {
        if let Some(slot) = self.slots.lock().get_mut(connection) {
            slot.silent = silent;
        }
    }

    /// Whether a connection to it can be expected soon.
    pub(super) fn is_connecting(&self) -> bool {
        self.slots.lock().iter().any(|slot| slot.phase == Phase::Connecting)
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
