//! Whether a connection is alive, by its traffic. Pure: time is passed in.
//!
//! A connection can be up for the kernel and dead for its calls: the process
//! behind it is stopped or deadlocked, or a proxy or NAT on the way has lost its
//! state and still acknowledges bytes. Two things show it:
//!
//! - **Silence.** Nothing at all is received while calls wait. Then an HTTP/2
//!   PING asks. Without an answer no further call is sent, and another connection
//!   is tried.
//! - **Time-outs.** Calls run out of their route's time, one after the other, and
//!   none is answered in between. The PING may well be answered then, by a proxy
//!   or by the HTTP/2 layer of a server whose handlers hang.
//!
//! A slow method is neither. Other calls are answered meanwhile: on the
//! connection, or, since busy connections are avoided, on others to the same
//! endpoint, those of other workers included. So the first calls in a row that
//! run out of time lead to a PING, and only time-outs after its answer speak
//! against the connection.
//!
//! # How often a PING is sent
//!
//! gRPC servers count PINGs without data in between, and close the connection at
//! the third bad one (`ENHANCE_YOUR_CALM`, `too_many_pings`; less than five
//! minutes apart is bad). Any answer to a call resets the count. So [`PINGS`] may
//! be sent between two answers, and none while no call waits, unless another
//! connection to the same endpoint, of any worker, is silent.

use std::time::{Duration, Instant};

use super::backoff::Backoff;

/// Between two looks at a connection on which calls wait.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// How long a connection may be silent while calls wait before it is asked.
const QUIET: Duration = Duration::from_secs(1);
/// The same for the second time since the last answer to a call.
const QUIET_AGAIN: Duration = Duration::from_secs(10);
/// How long the answer to a PING may take before no call is sent any more.
const PONG: Duration = Duration::from_secs(1);
/// How long after an unanswered PING the connection is given up, and its calls
/// with it.
const GIVEN_UP: Duration = Duration::from_secs(10);
/// PINGs between two answers to calls.
const PINGS: u8 = 2;
/// Calls in a row that must run out of time to speak against a connection, or
/// an endpoint.
pub(super) const TIMEOUTS: u32 = 3;

/// The wait before a connection whose predecessor was replaced without ever
/// having answered a call is replaced as well: the first time, and at most.
const FIRST_RENEWAL: Duration = Duration::from_secs(1);
const LONGEST_RENEWAL: Duration = Duration::from_secs(60);

/// The observations on a connection so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Signs {
    /// Whether calls wait for their answers.
    pub(super) waiting: bool,
    /// How often bytes were received.
    pub(super) received: u64,
    /// How many calls were answered.
    pub(super) answers: u32,
    /// How many calls have run out of time in a row, without an answer on this
    /// connection meanwhile.
    pub(super) timeouts: u32,
    /// The same without an answer on any connection to the endpoint.
    pub(super) forsaken: u32,
    /// Whether another connection to the same endpoint, of any worker, has
    /// fallen silent.
    pub(super) suspected: bool,
    /// Whether a PING can be sent: the peer answers them, and none is under way.
    pub(super) can_ask: bool,
}

/// The assessment of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing speaks against it.
    Sound,
    /// It has been silent while calls wait, and a PING is under way. Other
    /// connections are preferred.
    Doubtful,
    /// Calls on it time out and none is answered: another connection is made.
    Overdue,
    /// It does not answer the PING either. No call is sent on it until something
    /// is received, and another connection is made.
    Silent,
    /// It has not answered for so long that its calls are given up.
    Dead,
}

/// The result of a look at a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) standing: Standing,
    /// Whether a PING is to be sent now.
    pub(super) ask: bool,
    /// Whether there is nothing to look at until the next call.
    pub(super) rest: bool,
}

/// One connection's record.
#[derive(Debug)]
pub(super) struct Liveness {
    looked: Instant,
    waited: bool,
    received: u64,
    answers: u32,
    /// How long it has been silent while a call waited.
    quiet: Duration,
    /// How long it had been silent when the unanswered PING was sent.
    asked: Option<Duration>,
    pings: u8,
    /// Calls that ran out of time although the peer was alive, as its answer to a
    /// PING has shown.
    excused: u32,
}

impl Liveness {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            looked: now,
            waited: false,
            received: 0,
            answers: 0,
            quiet: Duration::ZERO,
            asked: None,
            pings: PINGS,
            excused: 0,
        }
    }

    /// Judges the connection by the observations so far. If the result says so,
    /// the caller sends a PING.
    pub(super) fn look(&mut self, now: Instant, signs: Signs) -> Look {
        // A thread that did not run, or a process that was stopped, has not
        // listened either: that time says nothing about the peer.
        let step = now.saturating_duration_since(self.looked).min(2 * LOOK);
        self.looked = now;
        if signs.answers != self.answers {
            self.answers = signs.answers;
            self.pings = PINGS;
            self.excused = 0;
        }
        if signs.received != self.received {
            self.received = signs.received;
            self.quiet = Duration::ZERO;
            if self.asked.take().is_some() {
                self.excused = signs.timeouts;
            }
        } else if self.asked.is_some() || (self.waited && signs.waiting) {
            self.quiet += step;
        } else {
            self.quiet = Duration::ZERO;
        }
        self.waited = signs.waiting;

        let enough = if self.pings == PINGS { QUIET } else { QUIET_AGAIN };
        let is_late = signs.timeouts.saturating_sub(self.excused) >= TIMEOUTS;
        // It has answered a PING, and then no call again.
        let is_deaf = is_late && self.excused > 0 && signs.forsaken >= TIMEOUTS;
        let is_time =
            signs.suspected || (is_late && !is_deaf) || (signs.waiting && self.quiet >= enough);
        let ask = is_time && self.asked.is_none() && self.pings > 0 && signs.can_ask;
        if ask {
            self.asked = Some(self.quiet);
            self.pings -= 1;
        }
        let standing = match self.asked.map(|at| self.quiet.saturating_sub(at)) {
            Some(unanswered) if unanswered >= GIVEN_UP => Standing::Dead,
            Some(unanswered) if unanswered >= PONG => Standing::Silent,
            _ if is_deaf => Standing::Overdue,
            Some(_) => Standing::Doubtful,
            // The PING that would distinguish a slow method from a dead peer cannot
            // be sent.
            None if is_late => Standing::Overdue,
            None => Standing::Sound,
        };
        let rest = standing == Standing::Sound && !signs.waiting;
        Look { standing, ask, rest }
    }

    /// For how long nothing has been received while a call waited.
    pub(super) fn quiet(&self) -> Duration {
        self.quiet
    }
}

/// When a connection that has been replaced may be replaced again, so that a
/// service that accepts connections and answers no call is not stormed.
#[derive(Debug)]
pub(super) struct Renewals {
    backoff: Backoff,
    not_before: Option<Instant>,
}

impl Renewals {
    pub(super) fn new() -> Self {
        Self { backoff: Backoff::new(FIRST_RENEWAL, LONGEST_RENEWAL), not_before: None }
    }

    /// How long to wait before the next connection is made. `has_answered`: the
    /// one to be replaced has answered a call, so that all begins anew.
    pub(super) fn wait(&mut self, now: Instant, has_answered: bool) -> Duration {
        if has_answered {
            *self = Self::new();
        }
        self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// A connection was replaced. `random` is in 0..1.
    pub(super) fn made(&mut self, now: Instant, random: f64) {
        self.not_before = Some(now + self.backoff.failed(random));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that is looked at as often as a real one is.
    struct Watched {
        liveness: Liveness,
        now: Instant,
        signs: Signs,
        asked: Vec<Duration>,
        began: Instant,
    }

    impl Watched {
        fn new() -> Self {
            let now = Instant::now();
            let signs = Signs { can_ask: true, ..Signs::default() };
            Self { liveness: Liveness::new(now), now, signs, asked: Vec::new(), began: now }
        }

        fn waiting() -> Self {
            let mut watched = Self::new();
            watched.signs.waiting = true;
            watched.look();
            watched
        }

        fn look(&mut self) -> Standing {
            let look = self.liveness.look(self.now, self.signs);
            self.signs.suspected = false;
            if look.ask {
                self.asked.push(self.now - self.began);
            }
            look.standing
        }

        fn pass(&mut self, time: Duration) -> Standing {
            let end = self.now + time;
            let mut standing = Standing::Sound;
            while self.now < end {
                self.now += LOOK;
                standing = self.look();
            }
            standing
        }

        /// Runs until a standing is reached. Returns how long it takes.
        fn until(&mut self, standing: Standing) -> Duration {
            let from = self.now;
            for _ in 0..10_000 {
                if self.pass(LOOK) == standing {
                    return self.now - from;
                }
            }
            panic!("never {standing:?}");
        }
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_while_calls_wait_is_asked_about_and_then_believed() {
        let mut it = Watched::waiting();
        assert_eq!(it.until(Standing::Doubtful), QUIET);
        assert_eq!(it.until(Standing::Silent), PONG);
        assert_eq!(it.until(Standing::Dead), GIVEN_UP.saturating_sub(PONG));
        assert_eq!(it.asked, [QUIET], "asked once");
    }

    #[test]
    fn silence_without_calls_says_nothing() {
        let mut it = Watched::new();
        assert_eq!(it.pass(seconds(3600)), Standing::Sound);
        assert!(it.asked.is_empty());
        assert!(it.liveness.look(it.now, it.signs).rest);
        // A call that begins now has waited for no time at all.
        it.signs.waiting = true;
        assert_eq!(it.pass(QUIET), Standing::Sound);
        assert_eq!(it.pass(LOOK), Standing::Doubtful);
    }

    #[test]
    fn whatever_is_received_ends_the_doubt() {
        for time in [QUIET, QUIET + PONG, QUIET + GIVEN_UP] {
            let mut it = Watched::waiting();
            it.pass(time);
            it.signs.received += 1;
            assert_eq!(it.look(), Standing::Sound);
        }
    }

    #[test]
    fn a_slow_method_is_asked_about_twice_and_no_more() {
        let mut it = Watched::waiting();
        for _ in 0..4 * 600 {
            let asked = it.asked.len();
            it.pass(LOOK);
            if it.asked.len() > asked {
                it.signs.received += 1; // the pong
            }
        }
        assert_eq!(it.asked.len(), 2, "within ten minutes: {:?}", it.asked);
        assert_eq!(it.look(), Standing::Sound);
        // The answer to any call sets the servers' count back.
        it.signs.answers += 1;
        it.signs.received += 1;
        it.look();
        it.pass(QUIET);
        assert_eq!(it.asked.len(), 3);
    }

    #[test]
    fn a_peer_that_does_not_answer_pings_is_not_asked_and_not_silent() {
        let mut it = Watched::waiting();
        it.signs.can_ask = false;
        assert_eq!(it.pass(seconds(600)), Standing::Sound);
        assert!(it.asked.is_empty());
        it.signs.timeouts = TIMEOUTS;
        assert_eq!(it.look(), Standing::Overdue);
    }

    #[test]
    fn calls_that_run_out_of_time_in_a_row_speak_against_it() {
        let mut it = Watched::waiting();
        for timeouts in 0..TIMEOUTS {
            (it.signs.timeouts, it.signs.forsaken) = (timeouts, timeouts);
            it.signs.received += 1;
            assert_eq!(it.look(), Standing::Sound);
        }
        (it.signs.timeouts, it.signs.forsaken) = (TIMEOUTS, TIMEOUTS);
        assert_eq!(it.look(), Standing::Doubtful, "asked at once");
        it.signs.received += 1;
        assert_eq!(it.look(), Standing::Sound, "it may have been one slow moment");
        (it.signs.timeouts, it.signs.forsaken) = (2 * TIMEOUTS, 2 * TIMEOUTS);
        assert_eq!(it.look(), Standing::Overdue, "although the PING was answered");
        (it.signs.timeouts, it.signs.forsaken) = (0, 0);
        it.signs.answers += 1;
        it.signs.received += 1;
        assert_eq!(it.look(), Standing::Sound);
    }

    #[test]
    fn where_the_endpoint_answers_others_the_ping_decides() {
        let mut dead = Watched::waiting();
        dead.signs.timeouts = TIMEOUTS;
        assert_eq!(dead.look(), Standing::Doubtful);
        assert_eq!(dead.until(Standing::Silent), PONG);

        let mut slow = Watched::waiting();
        slow.signs.timeouts = 40;
        assert_eq!(slow.look(), Standing::Doubtful, "asked at once");
        slow.signs.received += 1;
        assert_eq!(slow.look(), Standing::Sound);
        slow.signs.timeouts = 40 + TIMEOUTS - 1;
        assert_eq!(slow.look(), Standing::Sound);
        slow.signs.timeouts = 80;
        assert_eq!(slow.look(), Standing::Doubtful);
        slow.signs.received += 1;
        slow.look();
        slow.signs.timeouts = 120;
        assert_eq!(slow.look(), Standing::Overdue, "no more PINGs are left");
        assert_eq!(slow.asked.len(), 2);
    }

    #[test]
    fn a_suspected_connection_is_asked_at_once_although_no_call_waits() {
        let mut it = Watched::new();
        it.signs.suspected = true;
        assert_eq!(it.look(), Standing::Doubtful);
        assert_eq!(it.until(Standing::Silent), PONG);
        let mut it = Watched::new();
        it.signs.suspected = true;
        it.look();
        it.signs.received += 1;
        assert_eq!(it.look(), Standing::Sound);
    }

    #[test]
    fn time_in_which_nobody_looked_says_nothing() {
        let mut it = Watched::waiting();
        it.now += seconds(3600);
        assert_eq!(it.look(), Standing::Sound, "the gateway was stopped for an hour");
        it.until(Standing::Doubtful);
        it.now += seconds(3600);
        assert_eq!(it.look(), Standing::Doubtful);
    }

    #[test]
    fn a_connection_that_never_answers_is_replaced_ever_more_seldom() {
        let mut now = Instant::now();
        let mut renewals = Renewals::new();
        let mut waits = Vec::new();
        for _ in 0..9 {
            let wait = renewals.wait(now, false);
            waits.push(wait.as_secs());
            now += wait;
            renewals.made(now, 0.5);
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(renewals.wait(now, true), Duration::ZERO, "an answer begins anew");
        assert_eq!(renewals.wait(now, false), Duration::ZERO);
    }
}
