//! One established HTTP/2 connection and the room for calls on it.
//!
//! It does not reconnect; see [`super::reconnect`].

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::closed::Closed;
use super::dial::Io;
use super::endpoint::Endpoint;
use super::framing::Payload;
use super::greeting::{self, Ended};
use super::liveness::Signs;
use super::occupancy::{Kind, MAX_STREAMS, Occupancy};
use super::pace::Pace;
use super::tap::{Heard, Tapped};
use super::waiters::Waiters;

/// Bytes of one response that may be in transit or not yet taken by the caller.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all responses on one connection: more than all streams whose
/// callers take no messages can occupy together. Otherwise a few of those would
/// use up the window that all calls on the connection share, and block it.
const CONNECTION_WINDOW: u32 = 1024 * 1024 * 1024;
const _: () =
    assert!(MAX_STREAMS as u64 * (STREAM_WINDOW as u64) <= CONNECTION_WINDOW as u64 / 4 * 3);
/// Memory that h2 may need for unread response frames on one connection, beyond
/// their bytes; above it, h2 ends the connection. Held streams need none, since
/// [`super::exchange::InFlight::hold`] reads their frames; this is for frames that
/// arrive together, before a stream's turn.
const FRAME_OVERHEAD: usize = 64 * 1024 * 1024;
/// The total size of a response's headers, at most.
const MAX_HEADERS: u32 = 64 * 1024;
/// Streams we reset whose late frames are still recognized. A frame for one
/// that was forgotten counts as an error of the server's.
const REMEMBERED_RESETS: usize = 1024;
const REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// How long the first PING waits for an answer from a peer that speaks HTTP/2.
/// Without one, the connection is used all the same, and no further PING is sent.
const FIRST_PONG: Duration = Duration::from_secs(1);
/// How often a silent peer's first bytes are polled.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// An HTTP/2 connection that a peer has answered on.
pub(super) struct Connection {
    endpoint: Arc<Endpoint>,
    /// Cloned for every call: a handle must not be used again while a stream it
    /// opened is queued.
    requests: SendRequest<Payload>,
    /// Asked whether new calls are still taken, nothing else.
    gate: Mutex<SendRequest<Payload>>,
    /// Whether the answer was no. Set before the notification, so that no call
    /// tries in between.
    closing: AtomicBool,
    occupancy: Occupancy,
    /// Whether a call has been sent on it.
    used: AtomicBool,
    /// Whether its loss has been held against the endpoint.
    blamed: AtomicBool,
    resets: Pace,
    waiters: Arc<Waiters>,
    /// The record of received data.
    heard: Arc<Heard>,
    /// The number of answered calls, errors included.
    answers: AtomicU32,
    overdue: Mutex<Overdue>,
    /// Whether other connections are preferred for now.
    doubted: AtomicBool,
    /// Whether another connection to the same endpoint has fallen silent.
    suspected: AtomicBool,
    /// Wakes its monitor.
    stir: Notify,
    /// Whether the monitor sleeps until the next call.
    resting: AtomicBool,
    driver: OnceLock<AbortHandle>,
    /// Why it was broken off, if it was.
    broken_off: OnceLock<String>,
}

/// Counts of answered calls, which wrap: kept small, since every call in flight
/// holds a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answers {
    connection: u32,
    /// On all connections of the worker to the endpoint.
    endpoint: u32,
}

/// The calls that timed out.
#[derive(Default)]
struct Overdue {
    /// Without an answer on the connection meanwhile.
    here: Row,
    /// Without an answer of the endpoint meanwhile.
    anywhere: Row,
    /// Calls counted in `anywhere` that have not been evaluated yet.
    unnoticed: u32,
}

/// Calls in a row.
#[derive(Default)]
struct Row {
    /// The count of answered calls when it began.
    since: u32,
    calls: u32,
}

impl Row {
    fn add(&mut self, since: u32) {
        if self.since != since {
            *self = Self { since, calls: 0 };
        }
        self.calls = self.calls.saturating_add(1);
    }

    /// Its length, if it still goes on.
    fn len(&self, answers: u32) -> u32 {
        if self.since == answers { self.calls } else { 0 }
    }
}

/// A new connection, and the handles for its keeper.
pub(super) struct Opened {
    pub(super) connection: Arc<Connection>,
    /// Resolves as soon as it takes no new calls.
    pub(super) closed: oneshot::Receiver<Closed>,
    /// Sends further PINGs. `None`: not possible.
    pub(super) pings: Option<PingPong>,
    /// Whether the peer has answered the first one.
    pub(super) ponged: bool,
}

/// How a connection is to be spoken over.
type Stream = Tapped<Box<dyn Io>>;

impl Connection {
    /// Speaks HTTP/2 over `io` and waits until the peer does too. The caller
    /// bounds the time. The error describes the peer's behaviour.
    ///
    /// The connection is driven by a task of its own until the last call on it
    /// has ended and the last reference is gone, or until it breaks.
    pub(super) async fn open(
        io: Box<dyn Io>,
        endpoint: Arc<Endpoint>,
        waiters: Arc<Waiters>,
    ) -> Result<Opened, String> {
        let heard = Arc::new(Heard::default());
        let stream = Tapped::new(io, Arc::clone(&heard));
        let problem =
            |error: Option<&h2::Error>| greeting::explain(&heard.first(), &Ended::new(error));
        let (mut requests, mut http2) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .data_frame_budget(FRAME_OVERHEAD)
            .max_header_list_size(MAX_HEADERS)
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .reset_stream_duration(REMEMBERED_FOR)
            .handshake(stream)
            .await
            .map_err(|error| problem(Some(&error)))?;
        // A TCP connection proves little: a proxy or a full backlog accepts it
        // as well. The pong to a single ping, which no server minds, proves
        // that HTTP/2 is spoken, and the peer's settings come before it.
        let mut pings = http2.ping_pong();
        let pong = async {
            match &mut pings {
                Some(pings) => pings.ping(Ping::opaque()).await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let ponged = tokio::select! {
            biased;
            ended = &mut http2 => {
                // h2 reports more to a call than to the connection's driver.
                let refused = requests.poll_ready(&mut Context::from_waker(Waker::noop()));
                let refused = match refused {
                    Poll::Ready(Err(error)) => Some(error),
                    Poll::Ready(Ok(())) | Poll::Pending => None,
                };
                return Err(problem(ended.err().or(refused).as_ref()));
            }
            true = pong => true,
            () = speaks_without_pong(&heard) => false,
        };
        heard.greeted();
        let connection = Arc::new(Self {
            endpoint,
            gate: Mutex::new(requests.clone()),
            requests,
            closing: AtomicBool::new(false),
            occupancy: Occupancy::default(),
            used: AtomicBool::new(false),
            blamed: AtomicBool::new(false),
            resets: Pace::new(Instant::now()),
            waiters,
            heard,
            answers: AtomicU32::new(0),
            overdue: Mutex::default(),
            doubted: AtomicBool::new(false),
            suspected: AtomicBool::new(false),
            stir: Notify::new(),
            resting: AtomicBool::new(false),
            driver: OnceLock::new(),
            broken_off: OnceLock::new(),
        });
        let (closing, closed) = oneshot::channel();
        let driver = tokio::spawn(drive(http2, Arc::downgrade(&connection), closing));
        // It has just been made, so this is the first.
        let _ = connection.driver.set(driver.abort_handle());
        Ok(Opened { connection, closed, pings, ponged })
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// A handle to send one request with.
    pub(super) fn requests(&self) -> SendRequest<Payload> {
        self.requests.clone()
    }

    /// Whether no call has been sent on it yet. True once.
    pub(super) fn is_first_call(&self) -> bool {
        !self.used.load(Ordering::Relaxed) && !self.used.swap(true, Ordering::Relaxed)
    }

    /// Calls on it, abandoned ones included.
    pub(super) fn in_flight(&self) -> usize {
        self.occupancy.calls()
    }

    pub(super) fn occupancy(&self) -> &Occupancy {
        &self.occupancy
    }

    /// The same, or `None` when no more are taken: the connection is closing, or
    /// the peer's `MAX_CONCURRENT_STREAMS` is reached. Further calls would wait
    /// inside of h2, where it is not visible whether they were sent.
    pub(super) fn room(&self) -> Option<usize> {
        let in_flight = self.in_flight();
        let full = || in_flight >= self.peers_limit();
        (!self.closing.load(Ordering::Relaxed) && !full()).then_some(in_flight)
    }

    /// How many calls the peer takes at once.
    pub(super) fn peers_limit(&self) -> usize {
        self.requests.current_max_send_streams()
    }

    /// A call has taken room.
    pub(super) fn entered(&self) {
        self.occupancy.entered();
        if self.resting.load(Ordering::Relaxed) {
            self.stir.notify_one();
        }
    }

    /// A call has left.
    pub(super) fn left(&self, kind: Kind) {
        self.occupancy.left(kind);
        self.waiters.wake_one();
    }

    /// Whether its loss is news. True once.
    pub(super) fn blame(&self) -> bool {
        !self.blamed.swap(true, Ordering::Relaxed)
    }

    /// How many calls were answered so far.
    pub(super) fn answers(&self) -> Answers {
        let connection = self.answers.load(Ordering::Relaxed);
        Answers { connection, endpoint: self.endpoint.answers() }
    }

    /// Whether a call was answered on it.
    pub(super) fn has_answered(&self) -> bool {
        self.answers.load(Ordering::Relaxed) > 0
    }

    /// A call was answered, with a message or an error.
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.endpoint.answered();
    }

    /// A call has run out of the time that its route gives it. `since`: how many
    /// calls had been answered when it was sent, at `sent`. If others were answered
    /// meanwhile, it is the method that is slow.
    pub(super) fn timed_out(&self, since: Answers, sent: std::time::Instant) {
        let answers = self.answers();
        if answers.connection != since.connection {
            return;
        }
        let mut overdue = self.overdue.lock();
        overdue.here.add(since.connection);
        // Perhaps only sessions of other workers call quick methods.
        let is_forsaken =
            answers.endpoint == since.endpoint && !self.endpoint.may_have_answered_since(sent);
        if is_forsaken {
            overdue.anywhere.add(since.endpoint);
            overdue.unnoticed = overdue.unnoticed.saturating_add(1);
        }
        drop(overdue);
        self.stir.notify_one();
    }

    /// How many calls have run out of time since this was asked last, without
    /// an answer of the endpoint meanwhile.
    pub(super) fn take_overdue(&self) -> u32 {
        std::mem::take(&mut self.overdue.lock().unnoticed)
    }

    /// The observations on it. A suspicion is reported once.
    pub(super) fn signs(&self, can_ask: bool) -> Signs {
        let answers = self.answers();
        let overdue = self.overdue.lock();
        Signs {
            waiting: self.occupancy.waits(),
            received: self.heard.reads(),
            answers: answers.connection,
            timeouts: overdue.here.len(answers.connection),
            forsaken: overdue.anywhere.len(answers.endpoint),
            suspected: self.suspected.swap(false, Ordering::Relaxed),
            can_ask,
        }
    }

    /// Requests an early look at it, because another connection to the same
    /// endpoint has fallen silent.
    pub(super) fn suspect(&self) {
        self.suspected.store(true, Ordering::Relaxed);
        self.stir.notify_one();
    }

    /// Whether others are preferred for now.
    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    /// Prefers others, or not any more. Returns whether that is a change.
    pub(super) fn doubt(&self, doubted: bool) -> bool {
        self.doubted.swap(doubted, Ordering::Relaxed) != doubted
    }

    /// Resolves when there is something new to look at; when `rest`, at the next
    /// call too.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; one wake-up that was missed is kept.
    pub(super) async fn stirred(&self, rest: bool) {
        self.resting.store(rest, Ordering::Relaxed);
        if !(rest && self.occupancy.waits()) {
            self.stir.notified().await;
        }
        self.resting.store(false, Ordering::Relaxed);
    }

    /// Closes it; all of its calls fail.
    pub(super) fn break_off(&self, why: String) {
        let _ = self.broken_off.set(why);
        self.closing.store(true, Ordering::Relaxed);
        if let Some(driver) = self.driver.get() {
            driver.abort();
        }
    }

    /// Why it was broken off; `None`: it was not.
    pub(super) fn broken_off(&self) -> Option<&str> {
        self.broken_off.get().map(String::as_str)
    }

    /// When the next abandoned call may be reset. Each caller gets a turn of
    /// its own.
    pub(super) fn next_reset(&self) -> Instant {
        let crowded = self.occupancy.passing() * 2 > self.peers_limit();
        self.resets.turn(Instant::now(), crowded)
    }

    /// Whether new calls are refused, and why: after a GOAWAY, or when the
    /// stream ids are used up.
    pub(super) fn closing(&self) -> Option<Closed> {
        // Nothing is pending on this handle, so the answer comes at once.
        let ready = self.gate.lock().poll_ready(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Err(error)) = ready else { return None };
        self.closing.store(true, Ordering::Relaxed);
        Some(Closed::from(error))
    }

    /// The peer may have raised its limit on streams.
    fn wake_if_room(&self) {
        if !self.waiters.is_empty() && self.room().is_some() {
            self.waiters.wake_one();
        }
    }
}

/// Resolves when the peer has begun to speak HTTP/2 and had its time to answer
/// a PING.
async fn speaks_without_pong(heard: &Heard) {
    while !greeting::is_http2(&heard.first()) {
        sleep(FIRST_LOOK).await;
    }
    sleep(FIRST_PONG).await;
}

async fn drive(
    mut http2: h2::client::Connection<Stream, Payload>,
    connection: Weak<Connection>,
    closing: oneshot::Sender<Closed>,
) {
    let mut closing = Some(closing);
    poll_fn(|context| {
        let ended = Pin::new(&mut http2).poll(context);
        let closed = match &ended {
            Poll::Ready(Ok(())) => Some(Closed::Goodbye),
            Poll::Ready(Err(error)) => Some(Closed::Broken(error.to_string())),
            Poll::Pending if closing.is_some() => connection.upgrade().and_then(|connection| {
                connection.wake_if_room();
                connection.closing()
            }),
            Poll::Pending => None,
        };
        if let Some(closed) = closed
            && let Some(closing) = closing.take()
        {
            if let Some(connection) = connection.upgrade() {
                connection.closing.store(true, Ordering::Relaxed);
            }
            // There is no receiver when the upstream is gone.
            let _ = closing.send(closed);
        }
        ended.map(|_| ())
    })
    .await;
}
