//! How fast abandoned calls may be reset on one connection. Pure: time is passed in.

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

/// Between two resets of abandoned calls: at most 150 in 30 seconds, where
/// Netty allows 200.
const RESET_PACE: Duration = Duration::from_millis(200);
/// The same while abandoned calls crowd out other calls, which is worse.
const CROWDED_RESET_PACE: Duration = Duration::from_millis(6);
/// The longest wait for a turn at the slow pace. Where more is abandoned than that
/// pace can reset, on and on, the calls would pile up without end.
const LONGEST_WAIT: Duration = Duration::from_secs(12);

/// The turns of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: Mutex::new(now) }
    }

    /// When the next call may be reset. Each caller gets a turn of its own.
    pub(super) fn turn(&self, now: Instant, crowded: bool) -> Instant {
        let mut next = self.next.lock();
        let turn = (*next).max(now);
        let is_fast = crowded || turn - now > LONGEST_WAIT;
        *next = turn + if is_fast { CROWDED_RESET_PACE } else { RESET_PACE };
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_slow_and_fast_where_calls_are_crowded_out() {
        let now = Instant::now();
        let pace = Pace::new(now);
        assert_eq!(pace.turn(now, false), now);
        assert_eq!(pace.turn(now, true), now + RESET_PACE);
        assert_eq!(pace.turn(now, false), now + RESET_PACE + CROWDED_RESET_PACE);
        let later = now + Duration::from_secs(60);
        assert_eq!(pace.turn(later, false), later, "turns that were not taken are not saved up");
    }

    #[test]
    fn what_is_abandoned_on_and_on_does_not_pile_up() {
        let begun = Instant::now();
        let pace = Pace::new(begun);
        let mut longest = Duration::ZERO;
        // A hundred a second for ten minutes.
        for call in 0..60_000 {
            let now = begun + Duration::from_millis(10) * call;
            longest = longest.max(pace.turn(now, false) - now);
        }
        assert!(longest <= LONGEST_WAIT + RESET_PACE, "{longest:?}");
    }
}
