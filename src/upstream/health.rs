//! When an endpoint is taken out for a while. Pure: time is passed in.

use std::time::{Duration, Instant};

/// Failures in a row after which an endpoint is ejected.
const FAILURES: u32 = 5;
/// How long the first ejection lasts; each further one doubles it.
const FIRST: Duration = Duration::from_secs(5);
/// How long an ejection lasts at most.
const LONGEST: Duration = Duration::from_secs(30);

/// One endpoint's record.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: u32,
    ejections: u32,
    ejected_until: Option<Instant>,
}

impl Health {
    /// The endpoint answered: all is forgotten, but an ejection runs its time.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        if self.ejected_until.is_none() {
            self.ejections = 0;
        }
    }

    /// The endpoint failed. Returns for how long it must now be left alone, if
    /// it must and `may_eject` says that the others can do without it.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES || self.is_ejected(now) || !may_eject() {
            return None;
        }
        let time = FIRST.saturating_mul(1 << self.ejections.min(8)).min(LONGEST);
        self.failures = 0;
        self.ejections += 1;
        self.ejected_until = Some(now + time);
        Some(time)
    }

    /// Whether it is to be left alone now.
    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }

    /// When its ejection ends, if one is still running.
    pub(super) fn ejected_until(&self, now: Instant) -> Option<Instant> {
        self.ejected_until.filter(|until| now < *until)
    }

    /// Ends an ejection whose time has come.
    pub(super) fn reinstate(&mut self, now: Instant) {
        if !self.is_ejected(now) {
            self.ejected_until = None;
        }
    }
}

/// Whether one more of `total` endpoints may be ejected beside the `ejected`
/// ones: never more than half, so never the only one.
pub(super) fn may_eject(total: usize, ejected: usize) -> bool {
    (ejected + 1) * 2 <= total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(health: &mut Health, times: u32, now: Instant) -> Option<Duration> {
        (0..times).filter_map(|_| health.failed(now, || true)).next_back()
    }

    #[test]
    fn five_failures_in_a_row_eject_and_four_do_not() {
        let now = Instant::now();
        let mut health = Health::default();
        assert_eq!(fail(&mut health, 4, now), None);
        health.succeeded();
        assert_eq!(fail(&mut health, 4, now), None);
        assert_eq!(fail(&mut health, 1, now), Some(FIRST));
        assert!(health.is_ejected(now));
        assert!(!health.is_ejected(now + FIRST));
    }

    #[test]
    fn each_further_ejection_is_twice_as_long_up_to_half_a_minute() {
        let mut now = Instant::now();
        let mut health = Health::default();
        let mut times = Vec::new();
        for _ in 0..5 {
            let time = fail(&mut health, 5, now).unwrap();
            times.push(time.as_secs());
            now += time;
            health.reinstate(now);
        }
        assert_eq!(times, [5, 10, 20, 30, 30]);
    }

    #[test]
    fn a_success_after_the_ejection_starts_the_doubling_anew() {
        let mut now = Instant::now();
        let mut health = Health::default();
        now += fail(&mut health, 5, now).unwrap();
        now += fail(&mut health, 5, now).unwrap();
        health.reinstate(now);
        health.succeeded();
        assert_eq!(fail(&mut health, 5, now), Some(FIRST));
    }

    #[test]
    fn an_endpoint_the_others_cannot_do_without_stays() {
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 0..20 {
            assert_eq!(health.failed(now, || false), None);
        }
        assert!(!health.is_ejected(now));
    }

    #[test]
    fn at_most_half_of_the_endpoints_are_ejected_and_never_the_only_one() {
        assert!(!may_eject(1, 0));
        assert!(may_eject(2, 0) && !may_eject(2, 1));
        assert!(may_eject(3, 0) && !may_eject(3, 1));
        assert!(may_eject(4, 1) && !may_eject(4, 2));
    }
}
