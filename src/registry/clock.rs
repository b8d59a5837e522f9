//! The clock of logins: it orders sessions by age, also on gateways whose clocks
//! differ.
//!
//! Every gateway sends its time to the others now and then. One that hears of a
//! later time than its own goes on from there, so all follow the one that is
//! ahead, apart from a message's travel time. A client takes longer than that to
//! come back elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A clock further ahead than this is wrong, and not followed.
const MAX_AHEAD: Duration = Duration::from_hours(1);

/// Microseconds since 1970, never the same twice.
#[derive(Debug, Default)]
pub struct Clock {
    /// How far the machine's clock is behind the cluster's.
    behind: AtomicU64,
    /// The last time that was given out.
    last: AtomicU64,
}

impl Clock {
    /// The time now.
    pub fn now(&self) -> u64 {
        wall().saturating_add(self.behind.load(Ordering::Relaxed))
    }

    /// The time of a login: later than every earlier one of this gateway.
    pub fn next(&self) -> u64 {
        let now = self.now();
        let later = |last: u64| now.max(last.saturating_add(1));
        // The closure never refuses.
        self.last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last)))
            .map_or(now, later)
    }

    /// Another gateway's time. Returns how far this clock was behind.
    pub fn hear(&self, time: u64) -> Duration {
        let ahead = Duration::from_micros(time.saturating_sub(self.now()));
        if ahead <= MAX_AHEAD {
            self.behind.fetch_max(time.saturating_sub(wall()), Ordering::Relaxed);
        }
        ahead
    }
}

/// The time of the machine's clock.
fn wall() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_login_is_as_late_as_another() {
        let clock = Clock::default();
        let times: Vec<_> = (0..1000).map(|_| clock.next()).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_clock_follows_the_one_that_is_ahead() {
        let clock = Clock::default();
        let ahead = clock.now() + 30_000_000;
        assert!(clock.hear(ahead) > Duration::from_secs(29));
        assert!(clock.next() >= ahead);
        assert_eq!(clock.hear(ahead - 20_000_000), Duration::ZERO);
        assert!(clock.now() >= ahead);
    }

    #[test]
    fn a_clock_that_must_be_wrong_is_not_followed() {
        let clock = Clock::default();
        let before = clock.now();
        for wrong in [u64::MAX, before + 4_000_000_000] {
            assert!(clock.hear(wrong) > MAX_AHEAD);
        }
        assert!(clock.now() < before + 60_000_000);
    }
}
