//! How many calls may be sent twice. Pure: time is passed in.

use std::time::Instant;

/// A retry costs as much as this many calls earn: retries are at most 20 % of
/// the calls, so that they cannot multiply an outage.
const CALLS_PER_RETRY: f64 = 5.0;
/// Retries a second that are allowed on top, so that rare calls can be retried.
const FLOOR: f64 = 10.0;
/// Retries that can be saved up.
const MOST: f64 = 100.0;

/// The retries an upstream's calls have earned.
#[derive(Debug)]
pub(super) struct RetryBudget {
    retries: f64,
    refilled: Instant,
}

impl RetryBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self { retries: FLOOR, refilled: now }
    }

    /// A new call earns its share.
    pub(super) fn earn(&mut self) {
        self.retries = (self.retries + 1.0 / CALLS_PER_RETRY).min(MOST);
    }

    /// Takes one retry; `false` when there is none to take.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.retries = (self.retries + elapsed * FLOOR).min(MOST);
        let affordable = self.retries >= 1.0;
        if affordable {
            self.retries -= 1.0;
        }
        affordable
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spend_all(budget: &mut RetryBudget, now: Instant) -> usize {
        (0..1000).take_while(|_| budget.spend(now)).count()
    }

    #[test]
    fn five_calls_earn_one_retry() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        spend_all(&mut budget, now);
        for _ in 0..101 {
            budget.earn();
        }
        assert_eq!(spend_all(&mut budget, now), 20);
    }

    #[test]
    fn ten_a_second_are_free() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        assert_eq!(spend_all(&mut budget, now), 10);
        assert_eq!(spend_all(&mut budget, now + Duration::from_secs(3)), 30);
    }

    #[test]
    fn savings_are_bounded() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        for _ in 0..100_000 {
            budget.earn();
        }
        assert_eq!(spend_all(&mut budget, now + Duration::from_hours(1)), 100);
    }
}
