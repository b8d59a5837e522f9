//! How long to wait before the next attempt to connect. Pure: randomness is
//! passed in.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
/// Kept short: calls must succeed again within two seconds of a service's
/// return, and one connection attempt a second harms nobody.
const LONGEST: Duration = Duration::from_secs(1);
/// Spread around the time, so that a fleet of gateways does not return at once.
const JITTER: f64 = 0.3;

/// Doubles from 50 ms to 1 s, with ±30 % of jitter.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The time to wait after one more failure. `random` is in 0..1.
    pub(super) fn failed(&mut self, random: f64) -> Duration {
        let time = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        time.mul_f64(1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0))
    }

    /// A connection that proved itself: the next failure is the first again.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_50_milliseconds_to_a_second() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..7).map(|_| backoff.failed(0.5).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn a_success_starts_anew() {
        let mut backoff = Backoff::default();
        backoff.failed(0.5);
        backoff.failed(0.5);
        backoff.succeeded();
        assert_eq!(backoff.failed(0.5), FIRST);
    }

    #[test]
    fn jitter_is_thirty_percent_either_way() {
        assert_eq!(Backoff::default().failed(0.0).as_millis(), 35);
        assert_eq!(Backoff::default().failed(1.0).as_millis(), 65);
    }
}
