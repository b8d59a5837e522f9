//! One endpoint of an upstream, as one worker sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::dial::Target;
use super::health::Health;
use super::journal::{Journal, LastAnswer};

/// An endpoint, its health, and the phases of its connections.
pub(super) struct Endpoint {
    pub(super) target: Target,
    /// Which of the upstream's addresses it came from.
    pub(super) source: usize,
    pub(super) health: Mutex<Health>,
    /// The number of answered calls, errors included.
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
    /// When its connection was lost without an answer, or could not be made.
    /// `None`: it has one, or makes its first attempt since an ordinary end.
    unreachable: Option<Instant>,
}

impl Slot {
    const NEW: Self = Self { phase: Phase::Connecting, silent: false, unreachable: None };
}

/// The phase of one of an endpoint's connections.
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
            slots: Mutex::new(vec![Slot::NEW; connections]),
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

    /// A call was answered, with a message or an error.
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls have been answered since the last look; shared with all workers.
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

    /// Whether it does not answer: calls have run out of time in a row, a
    /// connection has fallen silent, or none can be made and no worker has had a
    /// sign of life since. The connections of other workers may be open then, but
    /// with no call on them they prove nothing.
    pub(super) fn is_unresponsive(&self, now: Instant) -> bool {
        let is_missed = |since| !self.last_answer.was_alive_after(since);
        let is_out = |slot: &Slot| slot.silent || slot.unreachable.is_some_and(is_missed);
        self.health.lock().is_overdue(now) || self.slots.lock().iter().any(is_out)
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

    /// A connection does not answer, and is out of use.
    pub(super) fn fell_silent(&self, connection: usize) {
        if let Some(slot) = self.slots.lock().get_mut(connection) {
            slot.silent = true;
        }
    }

    /// A connection answers: a new one, or one that was silent.
    pub(super) fn reached(&self, connection: usize, now: Instant) {
        if let Some(slot) = self.slots.lock().get_mut(connection) {
            (slot.silent, slot.unreachable) = (false, None);
        }
        self.is_alive(now);
    }

    /// A connection has ended. If it was silent, that is no sign of life.
    pub(super) fn ended(&self, connection: usize, now: Instant) {
        if let Some(slot) = self.slots.lock().get_mut(connection)
            && std::mem::take(&mut slot.silent)
        {
            slot.unreachable.get_or_insert(now);
        }
    }

    /// A connection could not be made. The first failure counts: an answer that
    /// another worker has had since then is not outdated by the next attempt.
    pub(super) fn missed(&self, connection: usize, now: Instant) {
        if let Some(slot) = self.slots.lock().get_mut(connection) {
            slot.unreachable.get_or_insert(now);
        }
    }

    /// It has given a sign of life; shared with all workers.
    pub(super) fn is_alive(&self, now: Instant) {
        self.last_answer.is_alive(now);
    }

    /// A connection has fallen silent: all others to it, on other workers too, are
    /// checked with a PING.
    pub(super) fn suspect(&self) {
        self.last_answer.suspect();
    }

    /// Notifies of connections to it that fall silent, on other workers too.
    pub(super) fn suspicions(&self) -> watch::Receiver<()> {
        self.last_answer.suspicions()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::dial::Place;
    use super::*;

    /// One endpoint as two workers see it, with two connections each.
    fn endpoint_of_two_workers() -> (Endpoint, Endpoint) {
        let journal = Arc::new(Journal::new("msg".into()));
        let of_a_worker = || {
            let address = "http://127.0.0.1:1".parse().unwrap();
            let at = Place::Socket("127.0.0.1:1".parse().unwrap());
            let target = Target::new(&address, at, "127.0.0.1:1".parse().unwrap());
            Endpoint::new(target, 0, 2, Arc::clone(&journal))
        };
        (of_a_worker(), of_a_worker())
    }

    #[test]
    fn it_stays_unresponsive_when_its_silent_connections_are_given_up() {
        let (knowing, idle) = endpoint_of_two_workers();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        idle.reached(0, at(0));
        idle.reached(1, at(0));
        knowing.reached(0, at(0));
        knowing.reached(1, at(0));
        assert!(!knowing.is_unresponsive(at(0)));
        knowing.fell_silent(0);
        assert!(knowing.is_unresponsive(at(1)));
        knowing.ended(0, at(2));
        assert!(knowing.is_unresponsive(at(2)), "given up, and no attempt has ended yet");
        knowing.missed(0, at(3));
        assert_eq!(knowing.withdrawn(), 0);
        assert!(knowing.is_unresponsive(at(3600)), "whatever idle connections there are");
        assert!(!idle.is_unresponsive(at(3600)));
        knowing.reached(0, at(3601));
        assert!(!knowing.is_unresponsive(at(3601)));
    }

    #[test]
    fn a_failed_attempt_counts_until_any_worker_has_a_sign_of_life() {
        type Sign = fn(&Endpoint, Instant);
        let signs: [Sign; 3] = [Endpoint::seen_answering, Endpoint::is_alive, |endpoint, now| {
            endpoint.reached(1, now);
        }];
        for sign in signs {
            let (failing, other) = endpoint_of_two_workers();
            let begun = Instant::now();
            let at = |seconds| begun + Duration::from_secs(seconds);
            sign(&other, at(0));
            failing.missed(0, at(1));
            assert!(failing.is_unresponsive(at(2)), "the sign of life was before");
            sign(&other, at(2));
            assert!(!failing.is_unresponsive(at(2)));
            failing.missed(0, at(3));
            assert!(!failing.is_unresponsive(at(3)), "it does not flap with every attempt");
        }
    }

    #[test]
    fn a_connection_that_answers_to_its_end_says_nothing() {
        let (endpoint, _) = endpoint_of_two_workers();
        let now = Instant::now();
        endpoint.reached(0, now);
        endpoint.ended(0, now);
        assert!(!endpoint.is_unresponsive(now));
    }
}
