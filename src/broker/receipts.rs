//! The receipts of one push: one for every session, every absent user and
//! every absent session, each exactly once.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep, timeout};

use crate::outbox::{Confirm, Doorbell, Ledger, Settled};
use crate::protocol::Event;
use crate::registry::Presence;

/// Sessions of a worker that are woken together, before more are sent to.
const CROWD: usize = 256;
/// How long a worker may take for them.
const PATIENCE: Duration = Duration::from_millis(100);

/// A delivery receipt for one recipient.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The outcome of the delivery.
    pub outcome: Outcome,
    /// The recipient.
    pub subject: Subject,
}

/// The outcome of a delivery to one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The requested confirmation was reached.
    Confirmed,
    /// The user has no session.
    Offline,
    /// The session did not keep up, and is closed for it.
    Overflowed,
    /// The session ended, or was not there.
    Closed,
    /// The outcome is unknown, and will not become known in time.
    Expired,
}

/// The recipient of a receipt.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A session of this gateway.
    Session(Arc<Presence>),
    /// A session of another gateway: an encoded `bridgehead.push.v1.Session`.
    Elsewhere(Bytes),
    /// A session that does not exist, by the given name.
    NoSession(Box<str>),
    /// A user without a session, or whose sessions are unknown.
    User(Arc<str>),
    /// A gateway that has not named its sessions.
    Node(Arc<str>),
}

/// Sends the frames of one push, each with a ticket.
pub(super) struct Collector {
    present: Arc<Vec<Arc<Presence>>>,
    ledger: Arc<Ledger>,
    /// The doorbells of the sessions' workers.
    doorbells: Vec<Arc<Doorbell>>,
}

/// The outcomes of one push's frames, as they become known. Sessions are
/// numbered by slots, from 0.
///
/// Dropping it discards the outcomes still to come, and takes nothing back.
pub(super) struct Settling {
    present: Arc<Vec<Arc<Presence>>>,
    /// Slots without an outcome yet.
    waiting: Slots,
    ledger: Arc<Ledger>,
    /// Settled slots to be returned next.
    settled: Vec<(u32, Settled)>,
}

/// The receipts as they become known; ends with the last.
///
/// Dropping it discards the receipts still to come, and takes nothing back.
pub struct Receipts {
    /// Returned first; they need no waiting.
    absent: Vec<Receipt>,
    here: Settling,
    deadline: Pin<Box<Sleep>>,
    is_over: bool,
    /// Receipts from other gateways; they arrive within the deadline.
    elsewhere: Option<mpsc::UnboundedReceiver<Receipt>>,
}

impl Collector {
    pub(super) fn new(mut present: Vec<Arc<Presence>>) -> (Self, Settling) {
        // Kept until the last receipt, and allocated for more sessions than were selected.
        if present.capacity() > 2 * present.len() {
            present.shrink_to_fit();
        }
        let present = Arc::new(present);
        let ledger = Arc::new(Ledger::with_capacity(present.len()));
        let settling = Settling {
            waiting: Slots::all(present.len()),
            present: Arc::clone(&present),
            ledger: Arc::clone(&ledger),
            settled: Vec::new(),
        };
        (Self { present, ledger, doorbells: Vec::new() }, settling)
    }

    pub(super) fn len(&self) -> usize {
        self.present.len()
    }

    /// Puts the event into the outboxes of some of the sessions.
    pub(super) fn send(&mut self, range: Range<usize>, event: &Arc<Event>, confirm: Confirm) {
        for (slot, presence) in (0u32..).zip(&*self.present).take(range.end).skip(range.start) {
            let ticket = self.ledger.ticket(slot, confirm);
            presence.outbox.push(Arc::clone(event), Some(ticket));
            if let Some(doorbell) = presence.outbox.doorbell()
                && !self.doorbells.iter().any(|known| Arc::ptr_eq(known, doorbell))
            {
                self.doorbells.push(Arc::clone(doorbell));
            }
        }
    }

    /// Waits until the workers have woken most of the sessions that got the event.
    /// Returns whether they have in time: the wait for a busy worker is short.
    pub(super) async fn let_workers_follow(&self) -> bool {
        let all = async {
            for doorbell in &self.doorbells {
                doorbell.has_fewer_than(CROWD).await;
            }
        };
        timeout(PATIENCE, all).await.is_ok()
    }
}

impl Settling {
    /// The sessions, by their slots.
    pub(super) fn sessions(&self) -> &Arc<Vec<Arc<Presence>>> {
        &self.present
    }

    /// How many are not settled yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The next settled slot; `None`: all are settled.
    ///
    /// # Cancel safety
    ///
    /// May be dropped; nothing is lost.
    pub(super) async fn next(&mut self) -> Option<(u32, Outcome)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, as far as it is known by now.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(u32, Outcome)>> {
        loop {
            while let Some((slot, settled)) = self.settled.pop() {
                if self.waiting.take(slot as usize) {
                    return Poll::Ready(Some((slot, settled.into())));
                }
            }
            if self.waiting.len() == 0 {
                return Poll::Ready(None);
            }
            std::task::ready!(self.ledger.poll_settled(cx, &mut self.settled));
            // In the order in which they were settled.
            self.settled.reverse();
        }
    }

    /// Takes out a slot that is not settled. No slot is settled any more from now on.
    fn give_up(&mut self) -> Option<u32> {
        self.ledger.close();
        let slot = self.waiting.first()?;
        self.waiting.take(slot);
        u32::try_from(slot).ok()
    }

    fn receipt(&self, slot: u32, outcome: Outcome) -> Option<Receipt> {
        let presence = self.present.get(slot as usize)?;
        Some(Receipt { outcome, subject: Subject::Session(Arc::clone(presence)) })
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.ledger.close();
    }
}

impl Receipts {
    /// The receipts of a push, awaited for as long as `deadline`. `absent` is known
    /// already.
    pub(super) fn new(here: Settling, absent: Vec<Receipt>, deadline: Duration) -> Self {
        let deadline = Box::pin(sleep(deadline));
        Self { absent, here, deadline, is_over: false, elsewhere: None }
    }

    /// Adds the receipts from other gateways.
    pub(super) fn with(mut self, elsewhere: mpsc::UnboundedReceiver<Receipt>) -> Self {
        self.elsewhere = Some(elsewhere);
        self
    }

    /// Receipts that are still to come, as far as this gateway knows.
    pub fn len(&self) -> usize {
        self.absent.len() + self.here.len()
    }

    /// Whether none is to come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.elsewhere.is_none()
    }

    fn poll_here(&mut self, cx: &mut Context<'_>) -> Poll<Option<Receipt>> {
        if let Some(receipt) = self.absent.pop() {
            return Poll::Ready(Some(receipt));
        }
        if !self.is_over {
            if let Poll::Ready(next) = self.here.poll_next(cx) {
                let receipt = next.and_then(|(slot, outcome)| self.here.receipt(slot, outcome));
                return Poll::Ready(receipt);
            }
            std::task::ready!(self.deadline.as_mut().poll(cx));
            self.is_over = true;
        }
        let slot = self.here.give_up();
        Poll::Ready(slot.and_then(|slot| self.here.receipt(slot, Outcome::Expired)))
    }
}

impl Stream for Receipts {
    type Item = Receipt;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Receipt>> {
        let this = &mut *self;
        let here = this.poll_here(cx);
        if let Poll::Ready(Some(receipt)) = here {
            return Poll::Ready(Some(receipt));
        }
        let Some(elsewhere) = &mut this.elsewhere else { return here };
        match elsewhere.poll_recv(cx) {
            Poll::Ready(None) => {
                this.elsewhere = None;
                here
            }
            other => other,
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), self.elsewhere.is_none().then(|| self.len()))
    }
}

impl From<Settled> for Outcome {
    fn from(settled: Settled) -> Self {
        match settled {
            Settled::Confirmed => Self::Confirmed,
            Settled::Overflowed => Self::Overflowed,
            Settled::Closed => Self::Closed,
        }
    }
}

/// A set of slots: one bit each.
struct Slots {
    bits: Box<[u64]>,
    len: usize,
    /// No earlier word has a bit.
    first: usize,
}

impl Slots {
    fn all(len: usize) -> Self {
        let word = |nth: usize| match len - nth * 64 {
            rest @ ..64 => (1 << rest) - 1,
            _ => u64::MAX,
        };
        Self { bits: (0..len.div_ceil(64)).map(word).collect(), len, first: 0 }
    }

    fn len(&self) -> usize {
        self.len
    }

    /// Takes a slot out; whether it was in.
    fn take(&mut self, slot: usize) -> bool {
        let Some(word) = self.bits.get_mut(slot / 64) else { return false };
        let bit = 1 << (slot % 64);
        let was_in = *word & bit != 0;
        *word &= !bit;
        self.len -= usize::from(was_in);
        was_in
    }

    fn first(&mut self) -> Option<usize> {
        while let Some(word) = self.bits.get(self.first) {
            if *word != 0 {
                return Some(self.first * 64 + word.trailing_zeros() as usize);
            }
            self.first += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::broker::Lane;
    use crate::outbox::{Outbox, Reader};
    use crate::registry::{SessionId, Target};

    fn event(data: &'static [u8]) -> Arc<Event> {
        Arc::new(Event::new(0, Bytes::from_static(data)))
    }

    fn session(user: &str, limit: usize) -> (Arc<Presence>, Reader) {
        let (outbox, reader) = Outbox::new(limit);
        let presence = Presence {
            session_id: SessionId::random(),
            user_id: user.into(),
            platform: "ios".into(),
            device_id: "d".into(),
            app_version: "".into(),
            language: "".into(),
            remote_ip: "127.0.0.1".into(),
            encrypted: false,
            connected_at: std::time::SystemTime::now(),
            generation: 0,
            outbox,
        };
        (Arc::new(presence), reader)
    }

    fn named(receipt: &Receipt) -> (Outcome, String) {
        let name = match &receipt.subject {
            Subject::Session(presence) => presence.user_id.to_string(),
            Subject::NoSession(name) => name.to_string(),
            Subject::User(user) => format!("absent {user}"),
            Subject::Elsewhere(_) | Subject::Node(_) => String::new(),
        };
        (receipt.outcome, name)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn everybody_gets_one_receipt_and_the_rest_expires() {
        let sessions: Vec<_> = (0..200).map(|n| session(&n.to_string(), 100)).collect();
        let present = sessions.iter().map(|(presence, _)| Arc::clone(presence)).collect();
        let (mut collector, here) = Collector::new(present);
        let absent = [
            Receipt { outcome: Outcome::Offline, subject: Subject::User("u".into()) },
            Receipt { outcome: Outcome::Closed, subject: Subject::NoSession("s".into()) },
        ];
        let receipts = Receipts::new(here, absent.into(), SECOND);
        assert_eq!(receipts.len(), 202);
        collector.send(0..200, &event(b"hello"), Confirm::Written);
        // 0 to 99 end, the others stay silent.
        let mut ended = sessions;
        let silent = ended.split_off(100);
        drop(ended);
        let mut all: Vec<_> = receipts.map(|receipt| named(&receipt)).collect().await;
        drop(silent);
        assert_eq!(all.len(), 202);
        assert_eq!(all.iter().filter(|(outcome, _)| *outcome == Outcome::Expired).count(), 100);
        assert_eq!(all.iter().filter(|(outcome, _)| *outcome == Outcome::Closed).count(), 101);
        assert!(all.contains(&(Outcome::Offline, "absent u".into())));
        all.sort_by(|a, b| a.1.cmp(&b.1));
        all.dedup_by(|a, b| a.1 == b.1);
        assert_eq!(all.len(), 202, "nobody is told of twice");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_settled_at_the_deadline_is_told_as_it_is() {
        let (presence, reader) = session("a", 100);
        let (mut collector, here) = Collector::new(vec![presence]);
        let mut receipts = Receipts::new(here, Vec::new(), SECOND);
        collector.send(0..1, &event(b"x"), Confirm::Written);
        sleep(2 * SECOND).await;
        drop(reader);
        assert_eq!(named(&receipts.next().await.unwrap()), (Outcome::Closed, "a".into()));
        assert!(receipts.next().await.is_none());
    }

    #[tokio::test]
    async fn a_push_to_nobody_has_no_receipts() {
        let registry = crate::registry::Registry::new(crate::registry::OneSessionPer::None);
        let broker = crate::broker::Broker::alone("n", registry);
        let push = crate::broker::Push {
            target: Target::everyone(),
            event: 0,
            data: Bytes::new(),
            confirm: Confirm::Queued,
            deadline: SECOND,
        };
        assert!(broker.push(push, &mut Lane::default()).await.next().await.is_none());
    }

    #[test]
    fn slots_are_taken_once() {
        for len in [0, 1, 63, 64, 65, 200] {
            let mut slots = Slots::all(len);
            assert!(!slots.take(len));
            for slot in (0..len).rev() {
                assert!(slots.take(slot));
                assert!(!slots.take(slot));
            }
            assert_eq!((slots.len(), slots.first()), (0, None));
        }
    }
}
