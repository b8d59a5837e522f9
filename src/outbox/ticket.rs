//! Tickets: the outcome of one frame of a push, reported exactly once.
//!
//! A [`Ticket`] travels with its frame through the outbox and the session. It is
//! settled where the frame comes as far as its pusher wanted, or fails to; a
//! dropped ticket reports that its session closed. A [`Ledger`] gathers the
//! outcomes of the tickets of one push. Their meaning to the pusher is not known
//! here.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// How far a frame must come to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirm {
    /// It waits in the outbox.
    Queued,
    /// The socket has taken it.
    Written,
    /// The client has answered a ping that was sent behind it.
    Acknowledged,
}

/// The outcome of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It has come far enough.
    Confirmed,
    /// The session did not keep up; the frame is lost.
    Overflowed,
    /// The session ended first.
    Closed,
}

/// One frame's claim to be settled once.
#[derive(Debug)]
pub struct Ticket {
    /// `None`: settled.
    ledger: Option<Arc<Ledger>>,
    slot: u32,
    confirm: Confirm,
}

/// The outcomes of the tickets of one push.
#[derive(Debug, Default)]
pub struct Ledger {
    inner: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Settled since the last look, by the numbers of the tickets.
    settled: Vec<(u32, Settled)>,
    /// There is no receiver any more.
    closed: bool,
    waker: Option<Waker>,
}

impl Ledger {
    /// A ledger with room for as many tickets as are given out, so that it
    /// does not grow while many sessions settle theirs.
    pub fn with_capacity(tickets: usize) -> Self {
        let entries = Entries { settled: Vec::with_capacity(tickets), ..Entries::default() };
        Self { inner: Mutex::new(entries) }
    }

    /// A ticket with a number of the caller's choice.
    pub fn ticket(self: &Arc<Self>, slot: u32, confirm: Confirm) -> Ticket {
        Ticket { ledger: Some(Arc::clone(self)), slot, confirm }
    }

    /// Moves the outcomes since the last call into `into`, which must be empty.
    /// Waits until there is something. Only one task may wait.
    pub fn poll_settled(&self, cx: &mut Context<'_>, into: &mut Vec<(u32, Settled)>) -> Poll<()> {
        let mut entries = self.inner.lock();
        if !entries.settled.is_empty() {
            std::mem::swap(&mut entries.settled, into);
            return Poll::Ready(());
        }
        match &mut entries.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Drops all later outcomes.
    pub fn close(&self) {
        let mut entries = self.inner.lock();
        entries.closed = true;
        entries.settled = Vec::new();
        entries.waker = None;
    }

    fn settle(&self, slot: u32, settled: Settled) {
        let waker = {
            let mut entries = self.inner.lock();
            if entries.closed {
                return;
            }
            entries.settled.push((slot, settled));
            entries.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Ticket {
    /// The frame has come so far. Gives the ticket back where that is not
    /// far enough.
    pub fn reached(self, stage: Confirm) -> Option<Self> {
        if stage < self.confirm {
            return Some(self);
        }
        self.settle(Settled::Confirmed);
        None
    }

    /// How far the frame must come.
    pub fn confirm(&self) -> Confirm {
        self.confirm
    }

    /// Whether there still is a receiver.
    pub fn is_awaited(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| !ledger.inner.lock().closed)
    }

    /// The frame comes no further.
    pub fn settle(mut self, settled: Settled) {
        if let Some(ledger) = self.ledger.take() {
            ledger.settle(self.slot, settled);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            ledger.settle(self.slot, Settled::Closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker_ref;

    use super::*;

    fn settled(ledger: &Ledger) -> Vec<(u32, Settled)> {
        let mut into = Vec::new();
        let mut cx = Context::from_waker(noop_waker_ref());
        let polled = ledger.poll_settled(&mut cx, &mut into);
        assert_eq!(polled.is_ready(), !into.is_empty());
        into
    }

    #[test]
    fn a_ticket_is_settled_when_its_frame_has_come_far_enough() {
        let ledger = Arc::new(Ledger::default());
        let ticket = ledger.ticket(7, Confirm::Written);
        let ticket = ticket.reached(Confirm::Queued).unwrap();
        assert_eq!(settled(&ledger), []);
        assert!(ticket.reached(Confirm::Written).is_none());
        assert_eq!(settled(&ledger), [(7, Settled::Confirmed)]);
        assert_eq!(settled(&ledger), []);
    }

    #[test]
    fn a_later_stage_includes_the_earlier_ones() {
        let ledger = Arc::new(Ledger::default());
        assert!(ledger.ticket(1, Confirm::Queued).reached(Confirm::Acknowledged).is_none());
        assert_eq!(settled(&ledger), [(1, Settled::Confirmed)]);
    }

    #[test]
    fn a_ticket_that_is_lost_says_so_and_a_settled_one_does_not() {
        let ledger = Arc::new(Ledger::default());
        drop(ledger.ticket(1, Confirm::Queued));
        ledger.ticket(2, Confirm::Queued).settle(Settled::Overflowed);
        assert_eq!(settled(&ledger), [(1, Settled::Closed), (2, Settled::Overflowed)]);
    }

    #[test]
    fn a_closed_ledger_keeps_nothing() {
        let ledger = Arc::new(Ledger::default());
        ledger.ticket(1, Confirm::Queued).settle(Settled::Closed);
        let ticket = ledger.ticket(2, Confirm::Queued);
        assert!(ticket.is_awaited());
        ledger.close();
        assert!(!ticket.is_awaited());
        drop(ticket);
        assert_eq!(settled(&ledger), []);
    }
}
