//! Arrivals at the clients: whether every push has come to every session once and
//! in order, and when.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::figures::histogram;
use crate::client::Push;

/// The event's number: none that clients know.
pub(super) const EVENT: i32 = 1000;
/// Bytes that the data of a push begins with: the run, and the round's number.
pub(super) const HEADER: usize = 12;
/// Histograms that are filled at the same time.
const SHARDS: usize = 8;

/// Gathers the pushes that arrive at all sessions.
pub(super) struct Arrivals {
    /// Distinguishes the pushes of this run from any others.
    run: u64,
    /// Sessions that are waited for: the first ones.
    readers: u32,
    began: Instant,
    rounds: Box<[Round]>,
    sessions: Box<[Mutex<Seen>]>,
    latencies: [Mutex<Histogram<u64>>; SHARDS],
    /// All have got a push.
    complete: Notify,
}

/// One push.
#[derive(Default)]
struct Round {
    /// When it was pushed, and when it last arrived: nanoseconds since the beginning.
    pushed: AtomicU64,
    last: AtomicU64,
    arrived: AtomicU32,
}

/// The pushes that one session has got.
#[derive(Default)]
struct Seen {
    rounds: Bits,
    next: usize,
    duplicated: u64,
    out_of_order: u64,
}

/// Faults of the deliveries.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) out_of_order: u64,
}

/// A set of small numbers.
#[derive(Debug, Default, Clone)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Puts a number in; `false`: it was there already.
    pub(super) fn insert(&mut self, nth: usize) -> bool {
        let (word, bit) = (nth / 64, 1 << (nth % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let Some(word) = self.0.get_mut(word) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

impl Arrivals {
    pub(super) fn new(sessions: usize, readers: usize, rounds: usize) -> Self {
        Self {
            run: rand::random(),
            readers: u32::try_from(readers).unwrap_or(u32::MAX),
            began: Instant::now(),
            rounds: (0..rounds).map(|_| Round::default()).collect(),
            sessions: (0..sessions).map(|_| Mutex::default()).collect(),
            latencies: std::array::from_fn(|_| Mutex::new(histogram())),
            complete: Notify::new(),
        }
    }

    /// The data of a round's push; it counts as pushed from now on.
    pub(super) fn push(&self, round: usize, size: usize) -> Bytes {
        let mut data = Vec::with_capacity(size);
        data.extend(self.run.to_be_bytes());
        data.extend(u32::try_from(round).unwrap_or(u32::MAX).to_be_bytes());
        data.resize(size.max(HEADER), b'.');
        if let Some(round) = self.rounds.get(round) {
            round.pushed.store(self.now(), Ordering::Relaxed);
        }
        data.into()
    }

    /// A push has come to a session. Pushes of other runs are ignored.
    pub(super) fn note(&self, session: usize, push: &Push) {
        let now = self.now();
        let Some(nth) = self.round_of(push) else { return };
        let (Some(round), Some(seen)) = (self.rounds.get(nth), self.sessions.get(session)) else {
            return;
        };
        if !seen.lock().note(nth) {
            return;
        }
        let latency = now.saturating_sub(round.pushed.load(Ordering::Relaxed));
        if let Some(histogram) = self.latencies.get(session % SHARDS) {
            histogram.lock().saturating_record(latency);
        }
        round.last.fetch_max(now, Ordering::Relaxed);
        if round.arrived.fetch_add(1, Ordering::Release) + 1 >= self.readers {
            self.complete.notify_one();
        }
    }

    /// Waits until all readers have a round's push. May be dropped at any time.
    pub(super) async fn complete(&self, round: usize) {
        let Some(round) = self.rounds.get(round) else { return };
        while round.arrived.load(Ordering::Acquire) < self.readers {
            self.complete.notified().await;
        }
    }

    /// How long after its push a round's last frame arrived.
    pub(super) fn last_of(&self, round: usize) -> Duration {
        let Some(round) = self.rounds.get(round) else { return Duration::ZERO };
        let last = round.last.load(Ordering::Relaxed);
        Duration::from_nanos(last.saturating_sub(round.pushed.load(Ordering::Relaxed)))
    }

    /// How many frames have arrived, the faults in the first `rounds`, and the
    /// latencies of all, in nanoseconds.
    pub(super) fn outcome(&self, rounds: usize) -> (u64, Faults, Histogram<u64>) {
        let mut latencies = histogram();
        for shard in &self.latencies {
            // Of the same bounds, so that it cannot fail.
            let _same = latencies.add(&*shard.lock());
        }
        let (mut arrived, mut faults) = (0, Faults::default());
        for seen in self.sessions.iter().take(self.readers as usize) {
            let seen = seen.lock();
            let count = seen.rounds.len();
            arrived += count;
            faults.lost += (rounds as u64).saturating_sub(count);
            faults.duplicated += seen.duplicated;
            faults.out_of_order += seen.out_of_order;
        }
        (arrived, faults, latencies)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn round_of(&self, push: &Push) -> Option<usize> {
        let (run, rest) = push.data.split_first_chunk()?;
        let (round, _) = rest.split_first_chunk()?;
        let is_ours = push.event == EVENT && u64::from_be_bytes(*run) == self.run;
        is_ours.then_some(u32::from_be_bytes(*round) as usize)
    }
}

impl Seen {
    /// Whether the push is new.
    fn note(&mut self, round: usize) -> bool {
        if !self.rounds.insert(round) {
            self.duplicated += 1;
            return false;
        }
        // A push that is skipped and never comes is lost, and not out of order.
        self.out_of_order += u64::from(round < self.next);
        self.next = self.next.max(round + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(rounds: usize) -> Arrivals {
        Arrivals::new(2, 1, rounds)
    }

    fn push(arrivals: &Arrivals, round: usize) -> Push {
        Push { event: EVENT, data: arrivals.push(round, 100) }
    }

    fn faults_of(order: &[usize]) -> Faults {
        let arrivals = arrivals(3);
        for round in order {
            arrivals.note(0, &push(&arrivals, *round));
        }
        arrivals.outcome(3).1
    }

    #[test]
    fn faults_are_told_apart() {
        let faults = |lost, duplicated, out_of_order| Faults { lost, duplicated, out_of_order };
        assert_eq!(faults_of(&[0, 1, 2]), faults(0, 0, 0));
        assert_eq!(faults_of(&[0, 2]), faults(1, 0, 0));
        assert_eq!(faults_of(&[0, 2, 1]), faults(0, 0, 1));
        assert_eq!(faults_of(&[0, 1, 1, 2]), faults(0, 1, 0));
        assert_eq!(faults_of(&[]), faults(3, 0, 0));
    }

    #[test]
    fn the_pushes_of_others_do_not_count() {
        let (ours, others) = (arrivals(1), arrivals(1));
        ours.note(0, &push(&others, 0));
        ours.note(0, &Push { event: 0, ..push(&ours, 0) });
        ours.note(0, &Push { event: EVENT, data: Bytes::from_static(b"short") });
        ours.note(0, &push(&ours, 1));
        assert_eq!(ours.outcome(1).0, 0);
    }

    #[tokio::test]
    async fn a_round_is_complete_when_all_readers_have_it() {
        let arrivals = arrivals(1);
        arrivals.note(0, &push(&arrivals, 0));
        arrivals.complete(0).await;
        assert!(arrivals.last_of(0) > Duration::ZERO);
    }

    #[test]
    fn a_set_holds_each_number_once() {
        let mut bits = Bits::default();
        assert!([0, 63, 64, 1000].into_iter().all(|nth| bits.insert(nth)));
        assert!(!bits.insert(64));
        assert_eq!(bits.len(), 4);
    }
}
