//! Requests in flight on one connection.

use crate::client::raw::message::ReqId;

/// A place without a request.
const FREE: u64 = u64::MAX;

/// A bounded number of places. Places never needed take no memory.
#[derive(Debug)]
pub(super) struct Slots {
    most: u16,
    taken: Vec<Slot>,
    free: Vec<u16>,
}

#[derive(Debug)]
struct Slot {
    turn: u32,
    /// Where the request's latency begins, in nanoseconds.
    since: u64,
}

impl Slots {
    pub(super) fn new(most: u16) -> Self {
        Self { most, taken: Vec::new(), free: Vec::new() }
    }

    pub(super) fn in_flight(&self) -> u64 {
        (self.taken.len() - self.free.len()) as u64
    }

    /// A place for a request; `None` while all are taken.
    pub(super) fn take(&mut self, since: u64) -> Option<ReqId> {
        if let Some(slot) = self.free.pop() {
            let place = self.taken.get_mut(usize::from(slot))?;
            place.turn = place.turn.wrapping_add(1);
            place.since = since;
            return Some(ReqId { slot, turn: place.turn });
        }
        let slot = u16::try_from(self.taken.len()).ok().filter(|slot| *slot < self.most)?;
        self.taken.push(Slot { turn: 0, since });
        Some(ReqId { slot, turn: 0 })
    }

    /// The request is answered. Returns where its latency begins; `None` if there
    /// is no such request, or it has been answered before.
    pub(super) fn settle(&mut self, id: ReqId) -> Option<u64> {
        let place = self.taken.get_mut(usize::from(id.slot))?;
        if place.turn != id.turn || place.since == FREE {
            return None;
        }
        self.free.push(id.slot);
        Some(std::mem::replace(&mut place.since, FREE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_places_as_there_may_be_requests_in_flight() {
        let mut slots = Slots::new(2);
        let (first, second) = (slots.take(10).unwrap(), slots.take(20).unwrap());
        assert_eq!(slots.take(30), None);
        assert_eq!(slots.settle(second), Some(20));
        let third = slots.take(30).unwrap();
        assert_ne!(third, second);
        assert_eq!(slots.in_flight(), 2);
        assert_eq!((slots.settle(first), slots.settle(third)), (Some(10), Some(30)));
        assert_eq!(slots.in_flight(), 0);
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_told_apart() {
        let mut slots = Slots::new(2);
        let id = slots.take(10).unwrap();
        assert_eq!(slots.settle(ReqId { slot: 1, turn: 0 }), None, "never asked for");
        assert_eq!(slots.settle(ReqId { slot: 0, turn: 1 }), None, "not asked for yet");
        assert_eq!(slots.settle(id), Some(10));
        assert_eq!(slots.settle(id), None, "twice");
        let next = slots.take(20).unwrap();
        assert_eq!(slots.settle(id), None, "twice, and late");
        assert_eq!(slots.settle(next), Some(20));
    }
}
