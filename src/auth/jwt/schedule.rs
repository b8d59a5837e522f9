//! When a key set is fetched: pure arithmetic with times.
//!
//! Three reasons lead to a fetch: the set has become old, the last attempt
//! failed, or a token names a key that is not in the set. The last can be
//! brought about by strangers, so the more often it was in vain, the longer the
//! next one waits.

use std::time::Duration;

use tokio::time::Instant;

/// How long a set holds where its server sets no age.
const USUAL: Duration = Duration::from_mins(5);
/// Bounds of an age that a server sets. A withdrawn key is used for no longer than
/// the upper one, as long as the server can be reached.
const AGES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(1));
/// From a failure to the next attempt: doubled from the lower to the upper bound.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// From a fetch to one for an unknown key, likewise.
const GAPS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));

/// A set that is no older decides about unknown keys: an issuer shows a key
/// before it signs with it.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// When to fetch next.
#[derive(Debug)]
pub(super) struct Schedule {
    /// When the set has become old, or after a failure.
    next: Instant,
    /// For an unknown key, not before.
    allowed: Instant,
    gap: Duration,
    failures: u32,
}

impl Schedule {
    /// The first fetch is due now.
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now, allowed: now, gap: GAPS.0, failures: 0 }
    }

    /// When the next fetch is due. `wanted`: for an unknown key, too.
    pub(super) fn due(&self, wanted: bool) -> Instant {
        if wanted { self.next.min(self.allowed) } else { self.next }
    }

    /// A fetch that began at `began` has brought a set. `in_vain`: an unknown
    /// key was the reason, and the set is the same as before. `jitter`, from 0
    /// to 1, keeps gateways from asking all at once.
    pub(super) fn fetched(
        &mut self,
        began: Instant,
        max_age: Option<Duration>,
        in_vain: bool,
        jitter: f64,
    ) {
        self.failures = 0;
        self.gap = if in_vain { (self.gap * 2).min(GAPS.1) } else { GAPS.0 };
        self.allowed = began + self.gap;
        let age = max_age.unwrap_or(USUAL).clamp(AGES.0, AGES.1);
        self.next = began + age.mul_f64(1.0 - jitter / 10.0);
    }

    /// A fetch has failed at `now`.
    pub(super) fn failed(&mut self, now: Instant, jitter: f64) {
        let backoff = (BACKOFF.0 * 2_u32.saturating_pow(self.failures.min(16))).min(BACKOFF.1);
        self.failures = self.failures.saturating_add(1);
        self.next = now + backoff.mul_f64(1.0 - jitter / 4.0);
        self.allowed = self.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(from: Instant, to: Instant) -> u64 {
        to.duration_since(from).as_secs()
    }

    #[test]
    fn a_set_is_fetched_again_when_its_server_says_within_bounds() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        assert_eq!(schedule.due(false), now);
        for (says, after) in
            [(None, 300), (Some(120), 120), (Some(0), 10), (Some(u64::MAX / 2), 3600)]
        {
            schedule.fetched(now, says.map(Duration::from_secs), false, 0.0);
            assert_eq!(seconds(now, schedule.due(false)), after, "{says:?}");
        }
        schedule.fetched(now, None, false, 1.0);
        assert_eq!(seconds(now, schedule.due(false)), 270);
    }

    #[test]
    fn failures_are_followed_by_ever_longer_waits() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        let mut waits = Vec::new();
        for _ in 0..9 {
            schedule.failed(now, 0.0);
            // Nothing hurries it.
            assert_eq!(schedule.due(true), schedule.due(false));
            waits.push(seconds(now, schedule.due(false)));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        schedule.fetched(now, None, false, 0.0);
        schedule.failed(now, 0.0);
        assert_eq!(seconds(now, schedule.due(false)), 1);
    }

    #[test]
    fn strangers_cause_few_fetches() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.fetched(start, None, false, 0.0);
        // Unknown keys all the time, for an hour.
        let (mut now, mut fetches) = (start, 0);
        while seconds(start, now) < 3600 {
            now = schedule.due(true);
            schedule.fetched(now, None, true, 0.0);
            fetches += 1;
        }
        assert!((60..=65).contains(&fetches), "{fetches}");
        // One of the regular fetches without any.
        schedule.fetched(now, None, false, 0.0);
        assert_eq!(seconds(now, schedule.due(true)), 5);
    }

    #[test]
    fn a_new_key_ends_the_suspicion() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.fetched(now, None, true, 0.0);
        assert_eq!(seconds(now, schedule.due(true)), 10);
        schedule.fetched(now, None, false, 0.0);
        assert_eq!(seconds(now, schedule.due(true)), 5);
    }
}
