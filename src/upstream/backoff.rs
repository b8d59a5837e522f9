//! How long to wait before the next attempt. Pure: randomness is passed in.

use std::time::Duration;

/// Spread around the time, so that a fleet of gateways does not come at once.
const JITTER: f64 = 0.3;

/// Doubles with every failure, up to a limit, with ±30 % of jitter.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// From `first` after one failure to `longest` after many.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The time to wait after one more failure. `random` is in 0..1.
    pub fn failed(&mut self, random: f64) -> Duration {
        let time = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        time.mul_f64(1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0))
    }

    /// The next failure is the first again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(Duration::from_millis(50), Duration::from_secs(1))
    }

    #[test]
    fn waits_double_from_the_first_to_the_longest() {
        let mut backoff = backoff();
        let waits: Vec<_> = (0..7).map(|_| backoff.failed(0.5).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn a_success_starts_anew() {
        let mut backoff = backoff();
        backoff.failed(0.5);
        backoff.failed(0.5);
        backoff.succeeded();
        assert_eq!(backoff.failed(0.5).as_millis(), 50);
    }

    #[test]
    fn jitter_is_thirty_percent_either_way() {
        assert_eq!(backoff().failed(0.0).as_millis(), 35);
        assert_eq!(backoff().failed(1.0).as_millis(), 65);
    }
}
