//! When an endpoint is taken out for a while, and how it comes back. Pure: time
//! is passed in.
//!
//! An endpoint that fails again and again is ejected: others get its calls. When
//! its time is over, it is on trial: one call at a time is sent to it, and the
//! first answer puts it to use again. The next failure ejects it for longer.

use std::time::{Duration, Instant};

use super::liveness::TIMEOUTS;

/// Failures in a row after which an endpoint is ejected.
const FAILURES: u32 = 5;
/// How long the first ejection lasts; each further one doubles it.
const FIRST: Duration = Duration::from_secs(5);
/// How long an ejection lasts at most.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a call on trial is waited for before the next one is sent.
const TRIAL: Duration = Duration::from_secs(5);
/// How long calls that ran out of time are held against an endpoint that gets
/// no more.
const REMEMBERED: Duration = Duration::from_secs(60);

/// One endpoint's record.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: u32,
    timeouts: u32,
    last_timeout: Option<Instant>,
    ejections: u32,
    use_: Use,
}

/// Why an endpoint is ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its calls fail.
    Failures,
    /// Its calls are not answered in time.
    Timeouts,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Use {
    #[default]
    Full,
    Ejected {
        until: Instant,
        cause: Cause,
    },
    /// `latest`: when a call was last sent to it.
    Trial {
        latest: Option<Instant>,
    },
}

/// Which calls an endpoint gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    All,
    /// One at a time; see [`Health::try_it`].
    Trial,
    /// None before this time.
    None(Instant),
}

impl Health {
    /// The endpoint answered: all is forgotten, but an ejection for failures
    /// runs its time. Returns whether another [`Self::share`] of the calls
    /// follows from it.
    pub(super) fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.timeouts = 0;
        match self.use_ {
            Use::Full => {
                self.ejections = 0;
                false
            }
            Use::Trial { .. } => {
                self.ejections = 0;
                self.use_ = Use::Full;
                true
            }
            Use::Ejected { .. } => self.stirred(),
        }
    }

    /// There is a sign of life: an endpoint that was ejected because it did not
    /// answer is tried at once. Returns whether that changes anything.
    pub(super) fn stirred(&mut self) -> bool {
        let is_silent = matches!(self.use_, Use::Ejected { cause: Cause::Timeouts, .. });
        if is_silent {
            self.use_ = Use::Trial { latest: None };
        }
        is_silent
    }

    /// The endpoint failed. Returns the duration of its ejection, if it is due and
    /// `may_eject` allows it.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        self.judge(now, self.failures >= FAILURES, Cause::Failures, may_eject)
    }

    /// This number of calls timed out and nothing was answered meanwhile. Returns
    /// the same as [`Self::failed`].
    pub(super) fn timed_out(
        &mut self,
        now: Instant,
        calls: u32,
        may_eject: impl FnOnce() -> bool,
    ) -> Option<Duration> {
        self.timeouts = self.timeouts.saturating_add(calls);
        self.last_timeout = Some(now);
        self.judge(now, self.timeouts >= TIMEOUTS, Cause::Timeouts, may_eject)
    }

    fn judge(
        &mut self,
        now: Instant,
        is_enough: bool,
        cause: Cause,
        may_eject: impl FnOnce() -> bool,
    ) -> Option<Duration> {
        self.share(now);
        let is_enough = match self.use_ {
            Use::Full => is_enough,
            Use::Trial { .. } => true,
            Use::Ejected { .. } => false,
        };
        if !is_enough {
            return None;
        }
        if !may_eject() {
            self.use_ = Use::Full;
            return None;
        }
        let time = FIRST.saturating_mul(1 << self.ejections.min(8)).min(LONGEST);
        self.failures = 0;
        self.ejections += 1;
        self.use_ = Use::Ejected { until: now + time, cause };
        Some(time)
    }

    /// Which calls it gets now. An ejection whose time is over becomes a trial.
    pub(super) fn share(&mut self, now: Instant) -> Share {
        match self.use_ {
            Use::Full => Share::All,
            Use::Ejected { until, .. } if now < until => Share::None(until),
            Use::Ejected { .. } => {
                self.use_ = Use::Trial { latest: None };
                Share::Trial
            }
            Use::Trial { .. } => Share::Trial,
        }
    }

    /// Whether a call may be sent to an endpoint on trial. If so, the caller
    /// sends one.
    pub(super) fn try_it(&mut self, now: Instant) -> bool {
        let Use::Trial { latest } = &mut self.use_ else { return false };
        let is_free = latest.is_none_or(|latest| now.saturating_duration_since(latest) >= TRIAL);
        if is_free {
            *latest = Some(now);
        }
        is_free
    }

    /// Whether it gets calls as if it had never been ejected.
    pub(super) fn is_in_full_use(&self) -> bool {
        self.use_ == Use::Full
    }

    /// Whether it is ejected now.
    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        matches!(self.use_, Use::Ejected { until, .. } if now < until)
    }

    /// Whether its calls have lately run out of time, one after the other, and
    /// none has been answered since.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let is_recent = |at| now.saturating_duration_since(at) < REMEMBERED;
        self.timeouts >= TIMEOUTS && self.last_timeout.is_some_and(is_recent)
    }
}

/// Whether another of `total` endpoints may be ejected, with `ejected` already:
/// never more than half, so never the only one.
pub(super) fn may_eject(total: usize, ejected: usize) -> bool {
    (ejected + 1) * 2 <= total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(health: &mut Health, times: u32, now: Instant) -> Option<Duration> {
        (0..times).filter_map(|_| health.failed(now, || true)).next_back()
    }

    fn time_out(health: &mut Health, now: Instant) -> Option<Duration> {
        health.timed_out(now, 1, || true)
    }

    #[test]
    fn five_failures_in_a_row_eject_and_four_do_not() {
        let now = Instant::now();
        let mut health = Health::default();
        assert_eq!(fail(&mut health, 4, now), None);
        assert!(!health.succeeded());
        assert_eq!(fail(&mut health, 4, now), None);
        assert_eq!(fail(&mut health, 1, now), Some(FIRST));
        assert!(health.is_ejected(now));
        assert_eq!(health.share(now), Share::None(now + FIRST));
        assert!(!health.is_ejected(now + FIRST));
    }

    #[test]
    fn three_calls_in_a_row_that_run_out_of_time_eject_and_two_do_not() {
        let now = Instant::now();
        let mut health = Health::default();
        assert_eq!(time_out(&mut health, now), None);
        assert_eq!(time_out(&mut health, now), None);
        health.succeeded();
        assert_eq!(time_out(&mut health, now), None);
        assert_eq!(time_out(&mut health, now), None);
        assert!(!health.is_overdue(now));
        assert_eq!(time_out(&mut health, now), Some(FIRST));
        assert!(health.is_overdue(now));
    }

    #[test]
    fn an_endpoint_on_trial_gets_one_call_at_a_time() {
        let now = Instant::now();
        let mut health = Health::default();
        assert!(!health.try_it(now), "nothing to try");
        let back = now + fail(&mut health, 5, now).unwrap();
        assert!(!health.try_it(now), "not yet");
        assert_eq!(health.share(back), Share::Trial);
        assert!(health.try_it(back));
        assert!(!health.try_it(back));
        assert!(!health.try_it(back + TRIAL / 2));
        assert!(health.try_it(back + TRIAL), "the first one's fate is unknown");
        assert!(health.succeeded(), "it is in use again");
        assert_eq!(health.share(back), Share::All);
    }

    #[test]
    fn the_first_failure_on_trial_ejects_again_for_longer() {
        for timeout in [false, true] {
            let now = Instant::now();
            let mut health = Health::default();
            let back = now + fail(&mut health, 5, now).unwrap();
            assert_eq!(health.share(back), Share::Trial);
            let again =
                if timeout { time_out(&mut health, back) } else { fail(&mut health, 1, back) };
            assert_eq!(again, Some(2 * FIRST));
        }
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
        }
        assert_eq!(times, [5, 10, 20, 30, 30]);
    }

    #[test]
    fn a_success_after_the_ejection_starts_the_doubling_anew() {
        let mut now = Instant::now();
        let mut health = Health::default();
        now += fail(&mut health, 5, now).unwrap();
        now += fail(&mut health, 5, now).unwrap();
        health.share(now);
        health.succeeded();
        assert_eq!(fail(&mut health, 5, now), Some(FIRST));
    }

    #[test]
    fn a_sign_of_life_ends_an_ejection_for_silence_and_no_other() {
        let now = Instant::now();
        let mut silent = Health::default();
        silent.timed_out(now, TIMEOUTS, || true).unwrap();
        assert!(silent.stirred());
        assert_eq!(silent.share(now), Share::Trial);
        let mut late = Health::default();
        late.timed_out(now, TIMEOUTS, || true).unwrap();
        assert!(late.succeeded(), "a late answer is a sign of life");
        assert_eq!(late.share(now), Share::Trial);

        let mut failing = Health::default();
        fail(&mut failing, 5, now).unwrap();
        assert!(!failing.stirred() && !failing.succeeded());
        assert!(failing.is_ejected(now));
    }

    #[test]
    fn an_endpoint_the_others_cannot_do_without_stays() {
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 0..20 {
            assert_eq!(health.failed(now, || false), None);
            assert_eq!(health.timed_out(now, 1, || false), None);
        }
        assert!(!health.is_ejected(now));
        assert!(health.is_overdue(now), "and yet it is known how it is");
        assert!(!health.is_overdue(now + REMEMBERED), "for a while");
        assert!(!health.succeeded());
        assert!(!health.is_overdue(now));
    }

    #[test]
    fn at_most_half_of_the_endpoints_are_ejected_and_never_the_only_one() {
        assert!(!may_eject(1, 0));
        assert!(may_eject(2, 0) && !may_eject(2, 1));
        assert!(may_eject(3, 0) && !may_eject(3, 1));
        assert!(may_eject(4, 1) && !may_eject(4, 2));
    }
}
