//! Time-outs of idle sessions, without a timer for each: one sweeper a worker
//! looks at all of its sessions some times a second.
//!
//! It checks the handshake, the login and its expiry, and the heartbeat, and
//! paces the closing of sessions when the gateway drains. It signals a session
//! through its outbox; the session does the rest. Time is passed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::outbox::Outbox;
use crate::protocol::Close;

/// How often to look while the gateway drains. Sessions whose turn comes between
/// two looks leave together, so these should be few.
const DRAIN_TICK: Duration = Duration::from_millis(25);

/// Sessions that are counted before the lock is given back: some tens of
/// microseconds.
const COUNTED_AT_ONCE: usize = 256;

/// After so long without a call, a session frees its memory for calls.
const REST: Duration = Duration::from_secs(5);

/// How long beyond its grace a session may go on while its new login is verified.
const LAST_LOGIN: Duration = Duration::from_secs(30);

/// How long a session may stay in each of its states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a valid setCxnParams.
    pub handshake: Duration,
    /// From setCxnParams until setUserParams was accepted.
    pub login: Duration,
    /// Silence after which a session is pinged.
    pub ping_interval: Duration,
    /// Silence after a ping after which the session is closed.
    pub pong: Duration,
}

impl Timeouts {
    /// How often to look: a quarter of the shortest time-out, 10 ms to 1 s.
    fn tick(&self) -> Duration {
        let shortest = self.handshake.min(self.login).min(self.ping_interval).min(self.pong);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

/// How long a login holds. A reload may change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// How long a session whose login has expired may go on without a new one.
    pub grace: Duration,
    /// How often a login is verified again; `None`: never. Longer than zero.
    pub recheck: Option<Duration>,
}

impl Default for Holding {
    fn default() -> Self {
        Self { grace: Duration::from_mins(1), recheck: None }
    }
}

/// The public side of a session: its outbox, and signs of life.
#[derive(Debug)]
pub struct Handle {
    /// Its outbox.
    pub outbox: Arc<Outbox>,
    /// When the login expires, in whole seconds of Unix time; 0: never.
    expires: AtomicU32,
    heard: AtomicBool,
    called: AtomicBool,
    /// The reasons why its socket is not read, as bits.
    waiting: AtomicU8,
    stage: AtomicU8,
}

/// Its socket is not read.
const PAUSED: u8 = 1;
/// Its handshake or login is being decided.
const DECIDING: u8 = 2;

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// The WebSocket is open.
    Connected = 0,
    /// A valid setCxnParams has come.
    Described = 1,
    /// setUserParams was accepted.
    Authenticated = 2,
    /// The login has expired: a new one is expected.
    Expired = 3,
    /// The session is over, except for its close frame.
    Closing = 4,
}

impl Handle {
    /// A handle of a session that has just connected.
    pub fn new(outbox: Arc<Outbox>) -> Self {
        Self {
            outbox,
            expires: AtomicU32::new(0),
            heard: AtomicBool::new(true),
            called: AtomicBool::new(false),
            waiting: AtomicU8::new(0),
            stage: AtomicU8::new(Stage::Connected as u8),
        }
    }

    /// A frame of any kind has come.
    pub fn heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// The session makes calls, and keeps memory for them.
    pub fn called(&self) {
        self.called.store(true, Ordering::Relaxed);
    }

    /// `paused`: the session does not read its socket, so it cannot see a pong
    /// either, and the heartbeat is suspended. `deciding`: its handshake or login
    /// is being decided.
    pub fn set_waiting(&self, paused: bool, deciding: bool) {
        let bits = if paused { PAUSED } else { 0 } | if deciding { DECIDING } else { 0 };
        self.waiting.store(bits, Ordering::Relaxed);
    }

    fn waits(&self, bit: u8) -> bool {
        self.waiting.load(Ordering::Relaxed) & bit != 0
    }

    /// When the login expires; `None`: never.
    pub fn set_expiry(&self, at: Option<SystemTime>) {
        self.expires.store(at.map_or(0, seconds_rounded_up), Ordering::Relaxed);
    }

    fn has_expired(&self, wall: u32) -> bool {
        let expires = self.expires.load(Ordering::Relaxed);
        expires != 0 && expires <= wall
    }

    /// The session has come further.
    pub fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// How far the session has come.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Connected,
            1 => Stage::Described,
            2 => Stage::Authenticated,
            3 => Stage::Expired,
            _ => Stage::Closing,
        }
    }
}

/// Watches the sessions of one worker.
#[derive(Debug)]
pub struct Sweeper {
    timeouts: Timeouts,
    /// The origin of the moments at which logins are verified again.
    start: Instant,
    inner: Mutex<Inner>,
    drained: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: Slab<Watched>,
    draining: bool,
    holding: Holding,
    /// When the sessions were last looked at.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Watched {
    handle: Arc<Handle>,
    stage: Stage,
    /// When the session came into its stage.
    since: Instant,
    heard: Instant,
    pinged: Option<Instant>,
    /// When there was last a call, unless the session rests.
    called: Option<Instant>,
    /// When the session has to leave, once the gateway drains.
    leave: Option<Instant>,
}

/// The number of sessions, and the size of their outboxes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Census {
    /// By [`Stage`].
    pub by_stage: [usize; 5],
    /// Bytes that wait to be written.
    pub outbox_bytes: usize,
}

/// Ends the watch when dropped.
#[derive(Debug)]
pub struct Watch {
    sweeper: Arc<Sweeper>,
    key: usize,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.sweeper.inner.lock().sessions.try_remove(self.key);
    }
}

impl Sweeper {
    /// A sweeper of no sessions.
    pub fn new(timeouts: Timeouts) -> Self {
        let (inner, drained) = (Mutex::default(), Notify::new());
        Self { timeouts, start: Instant::now(), inner, drained }
    }

    /// Sets how long logins hold from now on.
    pub fn set_holding(&self, holding: Holding) {
        self.inner.lock().holding = holding;
    }

    /// Watches a session until the returned guard is dropped.
    pub fn watch(self: &Arc<Self>, handle: &Arc<Handle>, now: Instant) -> Watch {
        let mut inner = self.inner.lock();
        let leave = inner.draining.then_some(now);
        let key = inner.sessions.insert(Watched {
            handle: Arc::clone(handle),
            stage: Stage::Connected,
            since: now,
            heard: now,
            pinged: None,
            called: None,
            leave,
        });
        Watch { sweeper: Arc::clone(self), key }
    }

    /// Sessions watched now.
    pub fn len(&self) -> usize {
        self.inner.lock().sessions.len()
    }

    /// Counts the sessions watched now, a batch per lock: the worker needs the
    /// same lock for every session that begins or ends, and must not wait for a
    /// count.
    pub fn count(&self, all: &mut Census) {
        let mut from = 0;
        loop {
            let inner = self.inner.lock();
            let end = inner.sessions.capacity();
            let to = end.min(from + COUNTED_AT_ONCE);
            for session in (from..to).filter_map(|key| inner.sessions.get(key)) {
                all.by_stage[session.handle.stage() as usize] += 1;
                all.outbox_bytes += session.handle.outbox.bytes();
            }
            MutexGuard::unlock_fair(inner);
            if to >= end {
                return;
            }
            from = to;
        }
    }

    /// Whether no session is watched.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has every session leave within `period`, and every later one at once.
    /// The goodbyes are spread evenly over the period, each at a random moment
    /// of its own share, so that workers and gateways that drain together do
    /// not send their clients away in step.
    pub fn drain(&self, now: Instant, period: Duration) {
        let mut inner = self.inner.lock();
        inner.draining = true;
        let count = u32::try_from(inner.sessions.len()).unwrap_or(u32::MAX);
        let share = 1.0 / f64::from(count.max(1));
        for (nth, (_, session)) in (0u32..).zip(inner.sessions.iter_mut()) {
            let jitter = rand::random::<f64>();
            session.leave = Some(now + period.mul_f64(share * (f64::from(nth) + jitter)));
        }
        drop(inner);
        self.drained.notify_one();
    }

    /// Has every session leave now, whatever is under way.
    pub fn stop(&self) {
        let mut inner = self.inner.lock();
        inner.draining = true;
        for (_, session) in &mut inner.sessions {
            session.handle.outbox.close(Close::Stopping);
        }
    }

    /// Sweeps for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.sweep(Instant::now(), SystemTime::now());
            // The time, or a drain, which needs a shorter tick.
            let _either = timeout(self.tick(), self.drained.notified()).await;
        }
    }

    fn tick(&self) -> Duration {
        let usual = self.timeouts.tick();
        if self.inner.lock().draining { usual.min(DRAIN_TICK) } else { usual }
    }

    /// Looks at every session once. `now` and `wall` are the same moment, by the
    /// clock of time-outs and by that of logins.
    pub fn sweep(&self, now: Instant, wall: SystemTime) {
        let mut inner = self.inner.lock();
        let Inner { sessions, holding, swept, .. } = &mut *inner;
        let before = swept.replace(now).unwrap_or(now);
        let look = Look {
            now,
            wall: seconds(wall),
            timeouts: &self.timeouts,
            holding,
            since_start: (
                before.saturating_duration_since(self.start),
                now.saturating_duration_since(self.start),
            ),
        };
        for (key, session) in sessions {
            if let Some(close) = session.judge(key, &look) {
                session.handle.outbox.close(close);
            }
        }
    }
}

/// One look at all sessions.
struct Look<'a> {
    now: Instant,
    /// Whole seconds of Unix time.
    wall: u32,
    timeouts: &'a Timeouts,
    holding: &'a Holding,
    /// This look and the one before, from the sweeper's start on.
    since_start: (Duration, Duration),
}

impl Look<'_> {
    /// Whether a session's login is due to be verified again. Each session has
    /// its own moment in the period, given by its place in the table, so that
    /// verifications are spread evenly without any state per session.
    fn is_review_due(&self, key: usize) -> bool {
        let Some(period) = self.holding.recheck else { return false };
        let period = u64::try_from(period.as_micros()).unwrap_or(u64::MAX).max(1);
        // The golden ratio spreads consecutive numbers evenly (Knuth, TAOCP 6.4).
        let spread = (key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let offset = u64::try_from((u128::from(spread) * u128::from(period)) >> 64).unwrap_or(0);
        let nth = |at: Duration| {
            let at = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
            at.saturating_add(offset) / period
        };
        nth(self.since_start.0) != nth(self.since_start.1)
    }
}

fn seconds(at: SystemTime) -> u32 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Never 0, which stands for no time.
fn seconds_rounded_up(at: SystemTime) -> u32 {
    seconds(at + Duration::from_nanos(999_999_999)).max(1)
}

impl Watched {
    fn judge(&mut self, key: usize, look: &Look<'_>) -> Option<Close> {
        let (now, timeouts) = (look.now, look.timeouts);
        if self.leave.is_some_and(|at| at <= now) {
            return Some(Close::GoingAway);
        }
        let stage = self.handle.stage();
        if stage != self.stage {
            (self.stage, self.since) = (stage, now);
        }
        let in_stage = now.duration_since(self.since);
        match stage {
            // A handshake that waits for this gateway is not late.
            Stage::Connected if in_stage >= timeouts.handshake && !self.handle.waits(DECIDING) => {
                return Some(Close::HandshakeTimeout("handshake timeout"));
            }
            Stage::Described if in_stage >= timeouts.login => {
                return Some(Close::HandshakeTimeout("login timeout"));
            }
            // Repeated until the session has reacted.
            Stage::Authenticated if self.handle.has_expired(look.wall) => {
                self.handle.outbox.expire();
            }
            Stage::Authenticated if look.is_review_due(key) => self.handle.outbox.review(),
            // A login under verification came in time, but a verification may
            // never end.
            Stage::Expired
                if in_stage >= look.holding.grace
                    && (!self.handle.waits(DECIDING)
                        || in_stage >= look.holding.grace + LAST_LOGIN) =>
            {
                return Some(Close::LoginExpired);
            }
            _ => {}
        }
        self.rest(now);
        self.beat(now, timeouts)
    }

    /// Has a session rest that has made no call for a while.
    fn rest(&mut self, now: Instant) {
        let handle = &self.handle;
        // Read first: a write would take the cache line away from the session.
        if handle.called.load(Ordering::Relaxed) {
            handle.called.store(false, Ordering::Relaxed);
            self.called = Some(now);
        } else if self.called.is_some_and(|at| now.duration_since(at) >= REST) {
            self.called = None;
            handle.outbox.rest();
        }
    }

    /// The heartbeat: a ping after silence, the end after silence behind the ping.
    fn beat(&mut self, now: Instant, timeouts: &Timeouts) -> Option<Close> {
        let handle = &self.handle;
        if handle.heard.swap(false, Ordering::Relaxed) || handle.waits(PAUSED) {
            self.heard = now;
            self.pinged = None;
            return None;
        }
        match self.pinged {
            Some(at) if now.duration_since(at) >= timeouts.pong => Some(Close::Idle),
            None if now.duration_since(self.heard) >= timeouts.ping_interval => {
                self.pinged = Some(now);
                handle.outbox.ping();
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{Reader, Signal};
    use futures_util::task::noop_waker_ref;
    use std::task::{Context, Poll};

    const SECOND: Duration = Duration::from_secs(1);
    /// The wall clock of the tests starts a day after the epoch.
    const DAY: Duration = Duration::from_hours(24);

    struct Fixture {
        sweeper: Arc<Sweeper>,
        handle: Arc<Handle>,
        reader: Reader,
        watch: Option<Watch>,
        start: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            let sweeper = Arc::new(Sweeper::new(Timeouts {
                handshake: 10 * SECOND,
                login: 60 * SECOND,
                ping_interval: 25 * SECOND,
                pong: 5 * SECOND,
            }));
            let (outbox, reader) = Outbox::new(100);
            let handle = Arc::new(Handle::new(outbox));
            let start = Instant::now();
            let watch = Some(sweeper.watch(&handle, start));
            sweeper.sweep(start, SystemTime::UNIX_EPOCH + DAY);
            Self { sweeper, handle, reader, watch, start }
        }

        fn after(&self, seconds: u32) -> Poll<Signal> {
            let since = seconds * SECOND;
            self.sweeper.sweep(self.start + since, SystemTime::UNIX_EPOCH + DAY + since);
            self.reader.poll_signal(&mut Context::from_waker(noop_waker_ref()))
        }
    }

    #[test]
    fn a_client_that_never_describes_itself_is_closed() {
        let f = Fixture::new();
        assert_eq!(f.after(9), Poll::Pending);
        f.handle.heard();
        let close = f.after(10);
        assert_eq!(close, Poll::Ready(Signal::Close(Close::HandshakeTimeout("handshake timeout"))));
    }

    #[test]
    fn login_has_its_own_time() {
        let f = Fixture::new();
        f.handle.set_stage(Stage::Described);
        for second in 5..65 {
            f.handle.heard();
            assert_eq!(f.after(second), Poll::Pending, "after {second} s");
        }
        assert_eq!(
            f.after(65),
            Poll::Ready(Signal::Close(Close::HandshakeTimeout("login timeout")))
        );
    }

    #[test]
    fn silence_is_pinged_and_then_closed() {
        let f = Fixture::new();
        f.handle.set_stage(Stage::Authenticated);
        assert_eq!(f.after(24), Poll::Pending);
        assert_eq!(f.after(25), Poll::Ready(Signal::Ping));
        assert_eq!(f.after(29), Poll::Pending);
        assert_eq!(f.after(30), Poll::Ready(Signal::Close(Close::Idle)));
    }

    #[test]
    fn any_frame_answers_a_ping() {
        let f = Fixture::new();
        f.handle.set_stage(Stage::Authenticated);
        assert_eq!(f.after(25), Poll::Ready(Signal::Ping));
        f.handle.heard();
        assert_eq!(f.after(30), Poll::Pending);
        assert_eq!(f.after(55), Poll::Ready(Signal::Ping));
    }

    #[test]
    fn a_handshake_that_waits_for_the_gateway_is_not_too_late() {
        let f = Fixture::new();
        f.handle.set_waiting(true, true);
        assert!(!matches!(f.after(300), Poll::Ready(Signal::Close(_))));
        f.handle.set_waiting(false, false);
        assert!(matches!(f.after(301), Poll::Ready(Signal::Close(_))));
    }

    #[test]
    fn a_session_that_does_not_read_is_not_judged_by_its_pongs() {
        let f = Fixture::new();
        f.handle.set_stage(Stage::Authenticated);
        f.handle.set_waiting(true, false);
        assert_eq!(f.after(300), Poll::Pending);
        f.handle.set_waiting(false, false);
        assert_eq!(f.after(324), Poll::Pending);
        assert_eq!(f.after(325), Poll::Ready(Signal::Ping));
    }

    #[test]
    fn an_expired_login_is_told_until_it_is_heard_and_has_its_grace() {
        let f = Fixture::new();
        f.sweeper.set_holding(Holding { grace: 10 * SECOND, recheck: None });
        f.handle.set_stage(Stage::Authenticated);
        f.handle.set_expiry(Some(SystemTime::UNIX_EPOCH + DAY + 4 * SECOND + SECOND / 2));
        assert_eq!(f.after(4), Poll::Pending);
        assert_eq!(f.after(5), Poll::Ready(Signal::Expire));
        assert_eq!(f.after(6), Poll::Ready(Signal::Expire), "it has not done so");
        f.handle.set_stage(Stage::Expired);
        assert_eq!(f.after(7), Poll::Pending);
        assert_eq!(f.after(16), Poll::Pending);
        f.handle.set_waiting(true, true);
        assert_eq!(f.after(17), Poll::Pending, "a login is being judged");
        f.handle.set_waiting(false, false);
        assert_eq!(f.after(18), Poll::Ready(Signal::Close(Close::LoginExpired)));
    }

    #[test]
    fn logins_that_cannot_be_judged_are_no_way_to_stay() {
        let f = Fixture::new();
        f.sweeper.set_holding(Holding { grace: 10 * SECOND, recheck: None });
        f.handle.set_stage(Stage::Expired);
        f.handle.set_waiting(true, true);
        assert_eq!(f.after(1), Poll::Pending);
        assert_eq!(f.after(40), Poll::Pending);
        assert_eq!(f.after(41), Poll::Ready(Signal::Close(Close::LoginExpired)));
    }

    #[test]
    fn a_new_login_ends_the_grace() {
        let f = Fixture::new();
        f.sweeper.set_holding(Holding { grace: 10 * SECOND, recheck: None });
        f.handle.set_stage(Stage::Expired);
        assert_eq!(f.after(5), Poll::Pending);
        f.handle.set_expiry(None);
        f.handle.set_stage(Stage::Authenticated);
        assert_eq!(f.after(20), Poll::Pending);
    }

    #[test]
    fn every_login_is_judged_again_once_in_the_period_and_not_all_at_once() {
        let f = Fixture::new();
        f.sweeper.set_holding(Holding { grace: SECOND, recheck: Some(20 * SECOND) });
        let sessions: Vec<_> = (0..100)
            .map(|_| Outbox::new(100))
            .map(|(outbox, reader)| {
                let handle = Arc::new(Handle::new(outbox));
                handle.set_stage(Stage::Authenticated);
                (f.sweeper.watch(&handle, f.start), handle, reader)
            })
            .collect();
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut asked = vec![0; sessions.len()];
        for second in 1..=60 {
            let _of_the_fixture = f.after(second);
            let mut at_once = 0;
            for (nth, (_, handle, reader)) in sessions.iter().enumerate() {
                handle.heard();
                if reader.poll_signal(&mut cx) == Poll::Ready(Signal::Review) {
                    asked[nth] += 1;
                    at_once += 1;
                }
            }
            assert!((3..=7).contains(&at_once), "{at_once} in second {second}");
        }
        assert!(asked.iter().all(|times| *times == 3), "{asked:?}");
        // A session without a login has none to verify.
        f.handle.set_stage(Stage::Described);
        assert!((61..=82).all(|second| {
            f.handle.heard();
            !matches!(f.after(second), Poll::Ready(Signal::Review))
        }));
    }

    #[test]
    fn draining_spreads_the_goodbyes_over_the_period() {
        let f = Fixture::new();
        let (handles, readers): (Vec<_>, Vec<_>) = (0..9)
            .map(|_| Outbox::new(100))
            .map(|(outbox, reader)| (Arc::new(Handle::new(outbox)), reader))
            .unzip();
        let watches: Vec<_> = handles.iter().map(|h| f.sweeper.watch(h, f.start)).collect();
        f.sweeper.drain(f.start, 10 * SECOND);
        for second in 1..=10 {
            f.sweeper.sweep(f.start + second * SECOND, SystemTime::UNIX_EPOCH);
            let leaving = handles.iter().chain([&f.handle]);
            let leaving = leaving.filter(|handle| handle.outbox.is_leaving()).count();
            assert_eq!(leaving, second as usize);
        }
        drop((watches, readers));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_looked_at_more_often_than_time_outs() {
        let f = Fixture::new();
        let running = tokio::spawn(Arc::clone(&f.sweeper).run());
        tokio::time::sleep(SECOND / 10).await;
        f.sweeper.drain(Instant::now(), SECOND / 10);
        tokio::time::sleep(SECOND / 10 + DRAIN_TICK).await;
        assert!(f.handle.outbox.is_leaving());
        running.abort();
    }

    #[test]
    fn a_session_rests_once_when_it_has_made_no_call_for_a_while() {
        let session = Fixture::new();
        session.handle.set_stage(Stage::Authenticated);
        assert_eq!(session.after(9), Poll::Pending, "it has never made one");
        session.handle.called();
        assert_eq!(session.after(10), Poll::Pending);
        session.handle.called();
        assert_eq!(session.after(12), Poll::Pending);
        assert_eq!(session.after(16), Poll::Pending);
        assert_eq!(session.after(17), Poll::Ready(Signal::Rest));
        assert_eq!(session.after(24), Poll::Pending);
    }

    #[test]
    fn every_session_is_counted_once_by_its_stage() {
        let mut f = Fixture::new();
        let count = 3 * COUNTED_AT_ONCE + 10;
        let mut sessions: Vec<_> = (0..count)
            .map(|_| Outbox::new(100))
            .map(|(outbox, reader)| {
                let handle = Arc::new(Handle::new(outbox));
                (f.sweeper.watch(&handle, f.start), handle, reader)
            })
            .collect();
        let stages = [
            Stage::Connected,
            Stage::Described,
            Stage::Authenticated,
            Stage::Expired,
            Stage::Closing,
        ];
        for (nth, (_, handle, _)) in sessions.iter().enumerate() {
            handle.set_stage(stages[nth % 5]);
        }
        // Some end, and leave gaps in the table.
        let left = sessions.split_off(COUNTED_AT_ONCE);
        drop(sessions);
        f.watch = None;
        let mut census = Census::default();
        f.sweeper.count(&mut census);
        let expected = stages.map(|stage| left.iter().filter(|it| it.1.stage() == stage).count());
        assert_eq!(census.by_stage, expected);
        assert_eq!(census.by_stage.iter().sum::<usize>(), f.sweeper.len());
    }

    #[test]
    fn a_session_that_has_ended_is_forgotten() {
        let mut f = Fixture::new();
        assert_eq!(f.sweeper.len(), 1);
        f.watch = None;
        assert!(f.sweeper.is_empty());
    }
}
