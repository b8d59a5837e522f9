//! The progress of a session's pushes: given to the socket, taken by it, read by
//! the client.
//!
//! A ping behind a frame shows when the client has read the frame: its pong can
//! only come once the client's WebSocket stack has read everything before (RFC
//! 6455, section 5.5.3). Every ping of the session carries a number that only
//! grows, since a client may answer the latest of several pings alone: a pong
//! acknowledges all frames up to its number. It also carries an unpredictable
//! tag, so that no client can answer a ping that it has not read.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use crate::outbox::{Confirm, Ticket};

/// Number of unanswered tickets from which on a search for abandoned ones is
/// worth it.
const MANY: usize = 64;

/// The tickets of a session's frames on their way.
#[derive(Debug, Default)]
pub(super) struct Confirmations(Option<Box<Inner>>);

/// Made by the first frame that has a ticket, and dropped when nothing is
/// under way, so that an idle session has none.
#[derive(Debug)]
struct Inner {
    /// Frames that the socket has not taken yet.
    unwritten: Vec<Ticket>,
    /// Frames that the socket has taken or will take next, by the number of the
    /// first ping behind them.
    unread: VecDeque<(u64, Ticket)>,
    /// Length of `unread` that triggers a cleanup. A client that stays alive by
    /// other frames but answers no ping must not accumulate tickets of pushes
    /// long expired.
    many: usize,
    /// The number of the last ping that was sent.
    pings: u64,
    /// Makes the tags. Another one every time, so that a late pong
    /// acknowledges nothing that came after its ping.
    secret: RandomState,
    /// Frames that need a ping were sent behind the last one.
    wants_ping: bool,
}

impl Confirmations {
    /// A frame was given to the socket.
    pub(super) fn sent(&mut self, ticket: Ticket) {
        let inner = self.0.get_or_insert_with(|| Box::new(Inner::new()));
        if ticket.confirm() == Confirm::Acknowledged {
            inner.forget_unawaited();
            inner.unread.push_back((inner.pings + 1, ticket));
            inner.wants_ping = true;
        } else {
            inner.unwritten.push(ticket);
        }
    }

    /// The payload of a ping behind the frames sent so far, if any of them needs
    /// one.
    pub(super) fn ping_behind(&mut self) -> Option<Bytes> {
        let inner = self.0.as_mut().filter(|inner| inner.wants_ping)?;
        Some(inner.ping())
    }

    /// The payload of a ping with another purpose.
    pub(super) fn heartbeat(&mut self) -> Bytes {
        self.0.as_mut().map_or_else(Bytes::new, |inner| inner.ping())
    }

    /// All that was sent until now has been taken by the socket.
    pub(super) fn written(&mut self) {
        let Some(inner) = &mut self.0 else { return };
        for ticket in inner.unwritten.drain(..) {
            let _done = ticket.reached(Confirm::Written);
        }
        self.rest();
    }

    /// The client has answered a ping.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        let Some(inner) = &mut self.0 else { return };
        let Some(number) = inner.number_in(payload) else { return };
        while inner.unread.front().is_some_and(|(ping, _)| *ping <= number) {
            if let Some((_, ticket)) = inner.unread.pop_front() {
                let _done = ticket.reached(Confirm::Acknowledged);
            }
        }
        self.rest();
    }

    /// Whether a ticket is still unsettled.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.is_some()
    }

    fn rest(&mut self) {
        let is_done =
            |inner: &mut Box<Inner>| inner.unread.is_empty() && inner.unwritten.is_empty();
        self.0.take_if(is_done);
    }
}

impl Inner {
    fn new() -> Self {
        Self {
            unwritten: Vec::new(),
            unread: VecDeque::new(),
            many: MANY,
            pings: 0,
            secret: RandomState::new(),
            wants_ping: false,
        }
    }

    fn forget_unawaited(&mut self) {
        if self.unread.len() >= self.many {
            self.unread.retain(|(_, ticket)| ticket.is_awaited());
            // Next at twice the remaining number, so that the cost stays low.
            self.many = MANY.max(2 * self.unread.len());
        }
    }

    fn ping(&mut self) -> Bytes {
        self.pings += 1;
        self.wants_ping = false;
        let tag = self.secret.hash_one(self.pings);
        [self.pings.to_be_bytes(), tag.to_be_bytes()].concat().into()
    }

    /// The number of the ping that a pong answers, if there was one.
    fn number_in(&self, payload: &[u8]) -> Option<u64> {
        let (number, tag) = payload.split_first_chunk()?;
        let (number, tag) = (u64::from_be_bytes(*number), u64::from_be_bytes(tag.try_into().ok()?));
        (number <= self.pings && tag == self.secret.hash_one(number)).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Context;

    use futures_util::task::noop_waker_ref;

    use super::*;
    use crate::outbox::{Ledger, Settled};

    fn settled(ledger: &Ledger) -> Vec<u32> {
        let mut into = Vec::new();
        let _any = ledger.poll_settled(&mut Context::from_waker(noop_waker_ref()), &mut into);
        assert!(into.iter().all(|(_, settled)| *settled == Settled::Confirmed), "{into:?}");
        into.into_iter().map(|(slot, _)| slot).collect()
    }

    fn sent(ledger: &Arc<Ledger>, confirmations: &mut Confirmations, slot: u32, level: Confirm) {
        confirmations.sent(ledger.ticket(slot, level));
    }

    #[test]
    fn a_pong_acknowledges_what_was_sent_before_its_ping_and_no_more() {
        let ledger = Arc::new(Ledger::default());
        let mut confirmations = Confirmations::default();
        sent(&ledger, &mut confirmations, 0, Confirm::Acknowledged);
        sent(&ledger, &mut confirmations, 1, Confirm::Acknowledged);
        let first = confirmations.ping_behind().unwrap();
        assert_eq!(confirmations.ping_behind(), None, "one ping is enough for both");
        sent(&ledger, &mut confirmations, 2, Confirm::Acknowledged);
        confirmations.written();
        assert!(settled(&ledger).is_empty());
        confirmations.pong(&first);
        assert_eq!(settled(&ledger), [0, 1]);
        let second = confirmations.ping_behind().unwrap();
        confirmations.pong(&second);
        assert_eq!(settled(&ledger), [2]);
        assert!(!confirmations.is_waiting());
    }

    #[test]
    fn the_pong_of_a_later_ping_counts_for_earlier_ones() {
        let ledger = Arc::new(Ledger::default());
        let mut confirmations = Confirmations::default();
        sent(&ledger, &mut confirmations, 0, Confirm::Acknowledged);
        confirmations.ping_behind().unwrap();
        let heartbeat = confirmations.heartbeat();
        confirmations.pong(&heartbeat);
        assert_eq!(settled(&ledger), [0]);
    }

    #[test]
    fn a_heartbeat_may_be_the_ping_behind() {
        let ledger = Arc::new(Ledger::default());
        let mut confirmations = Confirmations::default();
        sent(&ledger, &mut confirmations, 0, Confirm::Acknowledged);
        let heartbeat = confirmations.heartbeat();
        assert_eq!(confirmations.ping_behind(), None);
        confirmations.pong(&heartbeat);
        assert_eq!(settled(&ledger), [0]);
    }

    #[test]
    fn pongs_that_nobody_asked_for_acknowledge_nothing() {
        let ledger = Arc::new(Ledger::default());
        let mut confirmations = Confirmations::default();
        sent(&ledger, &mut confirmations, 0, Confirm::Acknowledged);
        let ping = confirmations.ping_behind().unwrap();
        let (number, tag) = ping.split_at(8);
        let next = 2u64.to_be_bytes();
        let unasked: [&[u8]; 7] = [
            b"",
            b"1234567",
            number,
            &[number, b"\0\0\0\0\0\0\0\0"].concat(),
            &[&next, tag].concat(),
            &[&ping, &b"\0"[..]].concat(),
            &[0xff; 16],
        ];
        for payload in unasked {
            confirmations.pong(payload);
        }
        assert!(settled(&ledger).is_empty());
        confirmations.pong(&ping);
        // The same pong again, and then a frame: it must not count for the frame.
        sent(&ledger, &mut confirmations, 1, Confirm::Acknowledged);
        confirmations.pong(&ping);
        assert_eq!(settled(&ledger), [0]);
        drop(confirmations);
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_forgotten() {
        let (awaited, expired) = (Arc::new(Ledger::default()), Arc::new(Ledger::default()));
        let mut confirmations = Confirmations::default();
        for slot in 0..100 {
            sent(&awaited, &mut confirmations, slot, Confirm::Acknowledged);
        }
        let held = |confirmations: &Confirmations| confirmations.0.as_ref().unwrap().unread.len();
        for slot in 0..10_000 {
            sent(&expired, &mut confirmations, slot, Confirm::Acknowledged);
            expired.close();
            assert!(held(&confirmations) <= 256);
        }
        let ping = confirmations.ping_behind().unwrap();
        confirmations.pong(&ping);
        assert_eq!(settled(&awaited).len(), 100);
    }

    #[test]
    fn an_earlier_pong_does_not_count_after_a_rest() {
        let ledger = Arc::new(Ledger::default());
        let mut confirmations = Confirmations::default();
        sent(&ledger, &mut confirmations, 0, Confirm::Acknowledged);
        let first = confirmations.ping_behind().unwrap();
        confirmations.pong(&first);
        assert!(!confirmations.is_waiting());
        sent(&ledger, &mut confirmations, 1, Confirm::Acknowledged);
        let second = confirmations.ping_behind().unwrap();
        confirmations.pong(&first);
        assert_eq!(settled(&ledger), [0]);
        confirmations.pong(&second);
        assert_eq!(settled(&ledger), [1]);
    }

    #[test]
    fn written_waits_for_the_socket_only() {
        let ledger = Arc::new(Ledger::default());
        let mut confirmations = Confirmations::default();
        sent(&ledger, &mut confirmations, 0, Confirm::Written);
        assert!(settled(&ledger).is_empty());
        assert_eq!(confirmations.ping_behind(), None, "nobody has asked for one");
        confirmations.written();
        assert_eq!(settled(&ledger), [0]);
        assert!(!confirmations.is_waiting());
    }
}
