//! The outbox: replies and pushes that wait to be written to one session's socket.
//!
//! Both share it, so there is one order and one back-pressure rule. Any thread
//! may push ([`Outbox`]); the session's task alone takes out, encodes and writes
//! ([`Reader`]). Entries are messages, not bytes: the outbox knows no protocol.
//! It counts bytes and has one overflow policy: a session whose client does not
//! keep up is closed ([`Close::TooSlow`]), and producers are never blocked.
//!
//! A push brings a [`Ticket`] along, which reports its outcome.

mod doorbell;
mod ticket;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::protocol::{Close, Event, Reply};

pub use doorbell::Doorbell;
pub use ticket::{Confirm, Ledger, Settled, Ticket};

/// Bytes that an entry counts besides its data: about the memory of its place,
/// its ticket and its share of a push. Without it, small entries could take
/// many times the memory that the outbox is allowed.
const OVERHEAD: usize = 128;

/// A bounded queue of replies and pushes for one session: the producer half.
#[derive(Debug)]
pub struct Outbox {
    limit: usize,
    /// Wakes the session where pushes come from other threads.
    doorbell: Option<Arc<Doorbell>>,
    inner: Mutex<Inner>,
}

/// The session's side of its outbox. When it is dropped the outbox is sealed, and
/// its remaining entries are given up.
#[derive(Debug)]
pub struct Reader(Arc<Outbox>);

/// An entry of an outbox. The session's protocol encodes it when it is written.
#[derive(Debug)]
pub enum Item {
    /// The reply to a request of the session.
    Reply(Reply),
    /// A push, which many sessions share.
    Push(Arc<Event>, Option<Ticket>),
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Reply(reply) => reply.len(),
            Self::Push(event, _) => event.data.len(),
        }
    }

    fn weight(&self) -> usize {
        OVERHEAD + self.len()
    }
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<Item>,
    bytes: usize,
    errands: Errands,
    close: Option<Order>,
    /// The session was asked to leave once its calls are answered.
    leaving: bool,
    /// Nothing goes in any more.
    sealed: bool,
    /// No pushes go in: the session's login does not hold.
    no_pushes: bool,
    waker: Option<Waker>,
}

/// Requests to a session other than closing, a bit each. Asking twice before it
/// has looked is the same as asking once.
#[derive(Debug, Default, Clone, Copy)]
struct Errands(u8);

impl Errands {
    const PING: u8 = 1;
    const REST: u8 = 2;
    const EXPIRE: u8 = 4;
    const REVIEW: u8 = 8;

    /// The most urgent one, which is then forgotten.
    fn take(&mut self) -> Option<Signal> {
        if self.0 == 0 {
            return None;
        }
        let all = [
            (Self::EXPIRE, Signal::Expire),
            (Self::PING, Signal::Ping),
            (Self::REST, Signal::Rest),
            (Self::REVIEW, Signal::Review),
        ];
        let (bit, signal) = all.into_iter().find(|(bit, _)| self.0 & bit != 0)?;
        self.0 &= !bit;
        Some(signal)
    }
}

/// The order to close.
#[derive(Debug)]
struct Order {
    why: Close,
    /// The session's task has been given it.
    is_given: bool,
}

/// A request to the session's task.
#[derive(Debug, PartialEq, Eq)]
pub enum Signal {
    /// Send a WebSocket ping.
    Ping,
    /// Free memory that can be allocated again: there was no call for a while.
    Rest,
    /// The login has expired.
    Expire,
    /// Have the login verified again.
    Review,
    /// Close the session. Given once.
    Close(Close),
}

/// The outbox took nothing: the session is closed or being closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// This very entry overflowed it; the session is being closed as too slow.
    #[error("the outbox overflowed")]
    Overflowed,
    /// The session was already closing.
    #[error("the session is closing")]
    Closed,
}

impl Outbox {
    /// An outbox that overflows when an entry is put behind `limit` or more bytes.
    /// One entry always fits into an empty outbox, however large it is.
    pub fn new(limit: usize) -> (Arc<Self>, Reader) {
        Self::make(limit, None)
    }

    /// The same for a session whose worker answers `doorbell`.
    pub fn with_doorbell(limit: usize, doorbell: &Arc<Doorbell>) -> (Arc<Self>, Reader) {
        Self::make(limit, Some(Arc::clone(doorbell)))
    }

    fn make(limit: usize, doorbell: Option<Arc<Doorbell>>) -> (Arc<Self>, Reader) {
        let outbox = Arc::new(Self { limit, doorbell, inner: Mutex::default() });
        (Arc::clone(&outbox), Reader(outbox))
    }

    /// Queues a push and wakes the session. The ticket, if there is one, is
    /// settled with the outcome, now or later.
    pub fn push(&self, event: Arc<Event>, ticket: Option<Ticket>) {
        let mut inner = self.inner.lock();
        let admitted = if inner.no_pushes {
            Err(Rejected::Closed)
        } else {
            inner.admit(self.limit, event.data.len())
        };
        match admitted {
            Ok(()) => {
                let ticket = ticket.and_then(|ticket| ticket.reached(Confirm::Queued));
                inner.make_room();
                inner.items.push_back(Item::Push(event, ticket));
                let waker = inner.waker.take();
                drop(inner);
                match (waker, &self.doorbell) {
                    (Some(waker), Some(doorbell)) => doorbell.ring(waker),
                    (waker, _) => wake(waker),
                }
            }
            Err(rejected) => {
                let lost = inner.lost(rejected);
                let waker = inner.waker.take();
                drop(inner);
                wake(waker);
                give_up(lost);
                if let Some(ticket) = ticket {
                    ticket.settle(rejected.into());
                }
            }
        }
    }

    /// The doorbell that wakes the session for pushes.
    pub fn doorbell(&self) -> Option<&Arc<Doorbell>> {
        self.doorbell.as_ref()
    }

    /// Asks the session to send a ping.
    pub fn ping(&self) {
        self.ask(Errands::PING);
    }

    /// Asks the session to free memory that can be allocated again.
    pub fn rest(&self) {
        self.ask(Errands::REST);
    }

    /// Says that the session's login has expired.
    pub fn expire(&self) {
        self.ask(Errands::EXPIRE);
    }

    /// Asks the session to have its login verified again.
    pub fn review(&self) {
        self.ask(Errands::REVIEW);
    }

    fn ask(&self, errand: u8) {
        let mut inner = self.inner.lock();
        inner.errands.0 |= errand;
        wake(inner.waker.take());
    }

    /// Asks the session to close, and returns the effective reason. The first reason wins, but a
    /// session that is still finishing its calls ([`Close::waits_for_calls`]) can be closed for
    /// another. Entries queued before are still written; later ones are rejected unless calls are
    /// waited for.
    pub fn close(&self, why: Close) -> Close {
        let mut inner = self.inner.lock();
        if inner.sealed || (inner.leaving && why.waits_for_calls()) {
            return inner.close.as_ref().map_or(why, |order| order.why.clone());
        }
        inner.leaving = true;
        inner.sealed = !why.waits_for_calls();
        inner.close = Some(Order { why: why.clone(), is_given: false });
        wake(inner.waker.take());
        why
    }

    /// Whether the session has been asked to close.
    pub fn is_leaving(&self) -> bool {
        self.inner.lock().leaving
    }

    /// Bytes queued now, with 128 for each entry besides its own.
    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }
}

impl Inner {
    /// Counts an entry that is to be queued, or starts closing.
    fn admit(&mut self, limit: usize, len: usize) -> Result<(), Rejected> {
        if self.sealed {
            return Err(Rejected::Closed);
        }
        if self.bytes >= limit {
            self.close = Some(Order { why: Close::TooSlow, is_given: false });
            self.leaving = true;
            self.sealed = true;
            self.bytes = 0;
            return Err(Rejected::Overflowed);
        }
        self.bytes += OVERHEAD + len;
        Ok(())
    }

    /// Most outboxes hold one entry at a time: the first one gets a place of
    /// its own, where `VecDeque` would make four.
    fn make_room(&mut self) {
        if self.items.capacity() == 0 {
            self.items.reserve_exact(1);
        }
    }

    /// The queued entries that a rejection costs: all of them, where the outbox
    /// has overflowed. To be given up outside of the lock.
    fn lost(&mut self, rejected: Rejected) -> VecDeque<Item> {
        match rejected {
            Rejected::Overflowed => std::mem::take(&mut self.items),
            Rejected::Closed => VecDeque::new(),
        }
    }
}

impl Reader {
    /// The producers' side.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.0
    }

    /// Queues a reply. Does not wake the session's task, which is the caller:
    /// it must look at the outbox before it rests.
    pub fn reply(&self, reply: Reply) -> Result<(), Rejected> {
        self.put(reply, VecDeque::push_back)
    }

    /// Queues a reply ahead of all other entries.
    pub fn reply_first(&self, reply: Reply) -> Result<(), Rejected> {
        self.put(reply, VecDeque::push_front)
    }

    fn put(
        &self,
        reply: Reply,
        place: impl FnOnce(&mut VecDeque<Item>, Item),
    ) -> Result<(), Rejected> {
        let mut inner = self.0.inner.lock();
        let admitted = inner.admit(self.0.limit, reply.len());
        match admitted {
            Ok(()) => {
                inner.make_room();
                place(&mut inner.items, Item::Reply(reply));
            }
            Err(rejected) => {
                let lost = inner.lost(rejected);
                drop(inner);
                give_up(lost);
            }
        }
        admitted
    }

    /// Whether new entries are rejected: the session has been closed, or gets the
    /// order to close next.
    pub fn is_sealed(&self) -> bool {
        self.0.inner.lock().sealed
    }

    /// Rejects all later entries.
    pub fn seal(&self) {
        self.0.inner.lock().sealed = true;
    }

    /// Gives up the queued pushes, and rejects new ones, until
    /// [`take_pushes`](Self::take_pushes). Replies are not affected.
    pub fn refuse_pushes(&self) {
        let mut inner = self.0.inner.lock();
        inner.no_pushes = true;
        let is_push = |item: &Item| matches!(item, Item::Push(..));
        if !inner.items.iter().any(is_push) {
            return;
        }
        let items = std::mem::take(&mut inner.items);
        let (pushes, replies): (VecDeque<_>, _) = items.into_iter().partition(is_push);
        inner.bytes -= pushes.iter().map(Item::weight).sum::<usize>();
        inner.items = replies;
        drop(inner);
        // Tickets settle without the lock.
        drop(pushes);
    }

    /// Takes pushes again.
    pub fn take_pushes(&self) {
        self.0.inner.lock().no_pushes = false;
    }

    /// Removes the oldest entry.
    pub fn take(&self) -> Option<Item> {
        let mut inner = self.0.inner.lock();
        let item = inner.items.pop_front()?;
        inner.bytes -= item.weight();
        if inner.items.is_empty() {
            // An idle session keeps nothing from its busiest moment.
            inner.items = VecDeque::new();
        }
        Some(item)
    }

    /// Waits for a signal, or for entries: `Pending` registers the
    /// task for both.
    pub fn poll_signal(&self, cx: &mut Context<'_>) -> Poll<Signal> {
        let mut inner = self.0.inner.lock();
        if let Some(order) = inner.close.as_mut().filter(|order| !order.is_given) {
            order.is_given = true;
            return Poll::Ready(Signal::Close(order.why.clone()));
        }
        if let Some(signal) = inner.errands.take() {
            return Poll::Ready(signal);
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut inner = self.0.inner.lock();
        inner.sealed = true;
        inner.bytes = 0;
        let items = std::mem::take(&mut inner.items);
        inner.waker = None;
        drop(inner);
        // Tickets settle without the lock.
        drop(items);
    }
}

impl From<Rejected> for Settled {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Overflowed => Self::Overflowed,
            Rejected::Closed => Self::Closed,
        }
    }
}

/// Settles the tickets of an outbox that has overflowed.
fn give_up(items: VecDeque<Item>) {
    for item in items {
        if let Item::Push(_, Some(ticket)) = item {
            ticket.settle(Settled::Overflowed);
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Outcome, RequestHead};
    use futures_util::task::noop_waker_ref;

    fn event(len: usize) -> Arc<Event> {
        Arc::new(Event::new(0, vec![0; len].into()))
    }

    fn reply(len: usize) -> Reply {
        let outcome = Outcome::Response(vec![0; len].into());
        Reply { head: RequestHead::default(), outcome }
    }

    fn signal(reader: &Reader) -> Poll<Signal> {
        reader.poll_signal(&mut Context::from_waker(noop_waker_ref()))
    }

    fn taken(reader: &Reader) -> Option<usize> {
        reader.take().map(|item| item.len())
    }

    fn settled(ledger: &Ledger) -> Vec<(u32, Settled)> {
        let mut into = Vec::new();
        let _any = ledger.poll_settled(&mut Context::from_waker(noop_waker_ref()), &mut into);
        into
    }

    #[test]
    fn answers_and_pushes_leave_in_the_order_in_which_they_came() {
        let (outbox, reader) = Outbox::new(10_000);
        for len in 1..=20 {
            if len % 2 == 0 {
                outbox.push(event(len), None);
            } else {
                reader.reply(reply(len)).unwrap();
            }
        }
        assert_eq!(outbox.bytes(), 210 + 20 * OVERHEAD);
        assert!((1..=20).all(|len| taken(&reader) == Some(len)));
        assert_eq!((taken(&reader), outbox.bytes()), (None, 0));
    }

    #[test]
    fn an_answer_can_go_before_the_pushes_that_wait() {
        let (outbox, reader) = Outbox::new(1000);
        outbox.push(event(1), None);
        reader.reply_first(reply(2)).unwrap();
        assert_eq!((taken(&reader), taken(&reader)), (Some(2), Some(1)));
    }

    #[test]
    fn a_frame_larger_than_the_limit_fits_when_nothing_waits() {
        let (_, reader) = Outbox::new(10);
        assert_eq!(reader.reply(reply(1000)), Ok(()));
        assert_eq!(reader.reply(reply(1)), Err(Rejected::Overflowed));
    }

    #[test]
    fn frames_without_bytes_overflow_as_well() {
        let (outbox, reader) = Outbox::new(10 * OVERHEAD);
        for _ in 0..11 {
            outbox.push(event(0), None);
        }
        assert_eq!(signal(&reader), Poll::Ready(Signal::Close(Close::TooSlow)));
    }

    #[test]
    fn an_overflow_gives_the_memory_back_and_closes_once() {
        let (outbox, reader) = Outbox::new(10);
        reader.reply(reply(10)).unwrap();
        assert_eq!(reader.reply(reply(1)), Err(Rejected::Overflowed));
        assert_eq!(reader.reply(reply(1)), Err(Rejected::Closed));
        assert_eq!((outbox.bytes(), taken(&reader)), (0, None));
        assert_eq!(outbox.close(Close::Idle), Close::TooSlow);
        assert_eq!(signal(&reader), Poll::Ready(Signal::Close(Close::TooSlow)));
        assert_eq!(signal(&reader), Poll::Pending);
    }

    #[test]
    fn an_overflow_is_told_to_everyone_whose_frame_is_lost() {
        let (outbox, _reader) = Outbox::new(2 * (5 + OVERHEAD));
        let ledger = Arc::new(Ledger::default());
        for slot in 0..4 {
            outbox.push(event(5), Some(ledger.ticket(slot, Confirm::Written)));
        }
        let lost = |slot| (slot, Settled::Overflowed);
        assert_eq!(settled(&ledger), [lost(0), lost(1), lost(2), (3, Settled::Closed)]);
    }

    #[test]
    fn an_answer_that_overflows_takes_the_queued_pushes_along() {
        let (outbox, reader) = Outbox::new(10);
        let ledger = Arc::new(Ledger::default());
        outbox.push(event(10), Some(ledger.ticket(0, Confirm::Acknowledged)));
        assert_eq!(reader.reply(reply(1)), Err(Rejected::Overflowed));
        assert_eq!(settled(&ledger), [(0, Settled::Overflowed)]);
    }

    #[test]
    fn a_push_is_queued_at_once_and_only_where_it_is() {
        let (outbox, reader) = Outbox::new(10);
        let ledger = Arc::new(Ledger::default());
        outbox.push(event(1), Some(ledger.ticket(0, Confirm::Queued)));
        reader.seal();
        outbox.push(event(1), Some(ledger.ticket(1, Confirm::Queued)));
        assert_eq!(settled(&ledger), [(0, Settled::Confirmed), (1, Settled::Closed)]);
    }

    #[test]
    fn what_is_left_when_the_session_is_gone_was_closed() {
        let (outbox, reader) = Outbox::new(10);
        let ledger = Arc::new(Ledger::default());
        outbox.push(event(1), Some(ledger.ticket(0, Confirm::Written)));
        drop(reader);
        outbox.push(event(1), Some(ledger.ticket(1, Confirm::Written)));
        assert_eq!(settled(&ledger), [(0, Settled::Closed), (1, Settled::Closed)]);
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn a_close_lets_queued_frames_out_and_no_more_in() {
        let (outbox, reader) = Outbox::new(10);
        reader.reply(reply(3)).unwrap();
        assert_eq!(outbox.close(Close::Idle), Close::Idle);
        assert_eq!(outbox.close(Close::GoingAway), Close::Idle);
        assert_eq!(reader.reply(reply(3)), Err(Rejected::Closed));
        outbox.push(event(4), None);
        assert_eq!(signal(&reader), Poll::Ready(Signal::Close(Close::Idle)));
        assert_eq!((taken(&reader), taken(&reader)), (Some(3), None));
    }

    #[test]
    fn pushes_can_be_refused_without_the_answers() {
        let (outbox, reader) = Outbox::new(1000);
        let ledger = Arc::new(Ledger::default());
        outbox.push(event(1), Some(ledger.ticket(0, Confirm::Written)));
        reader.reply(reply(2)).unwrap();
        outbox.push(event(3), Some(ledger.ticket(1, Confirm::Written)));
        reader.refuse_pushes();
        assert_eq!(settled(&ledger), [(0, Settled::Closed), (1, Settled::Closed)]);
        outbox.push(event(4), Some(ledger.ticket(2, Confirm::Queued)));
        assert_eq!(settled(&ledger), [(2, Settled::Closed)]);
        reader.reply(reply(5)).unwrap();
        reader.take_pushes();
        outbox.push(event(6), Some(ledger.ticket(3, Confirm::Queued)));
        assert_eq!(settled(&ledger), [(3, Settled::Confirmed)]);
        assert_eq!([taken(&reader), taken(&reader), taken(&reader)], [Some(2), Some(5), Some(6)]);
        assert_eq!((taken(&reader), outbox.bytes()), (None, 0));
    }

    #[test]
    fn each_errand_is_given_once() {
        let (outbox, reader) = Outbox::new(10);
        outbox.review();
        outbox.ping();
        outbox.rest();
        outbox.expire();
        outbox.ping();
        for errand in [Signal::Expire, Signal::Ping, Signal::Rest, Signal::Review] {
            assert_eq!(signal(&reader), Poll::Ready(errand));
        }
        assert_eq!(signal(&reader), Poll::Pending);
    }

    #[test]
    fn a_session_that_leaves_still_takes_frames_until_it_is_sealed() {
        let (outbox, reader) = Outbox::new(10);
        outbox.close(Close::GoingAway);
        assert_eq!(signal(&reader), Poll::Ready(Signal::Close(Close::GoingAway)));
        outbox.close(Close::GoingAway);
        assert_eq!(signal(&reader), Poll::Pending);
        assert_eq!(reader.reply(reply(3)), Ok(()));
        outbox.close(Close::Idle);
        assert_eq!(signal(&reader), Poll::Ready(Signal::Close(Close::Idle)));
        assert_eq!(reader.reply(reply(3)), Err(Rejected::Closed));
    }
}
