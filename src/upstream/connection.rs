//! One established HTTP/2 connection and the room for calls on it.
//!
//! It does not reconnect; see [`super::reconnect`].

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::client::{Builder, SendRequest};
use h2::{Ping, Reason};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::dial::Io;
use super::endpoint::Endpoint;
use super::framing::Payload;
use super::waiters::Waiters;

/// How much of one response may be on its way, or read by nobody yet.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// How much of all responses on one connection.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// How large the headers of a response may be in all.
const MAX_HEADERS: u32 = 64 * 1024;
/// Streams we reset whose late frames are still recognized. A frame for one
/// that was forgotten counts as an error of the server's.
const REMEMBERED_RESETS: usize = 1024;
const REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// Between two resets of abandoned calls: at most 150 in 30 seconds, where
/// Netty allows 200.
const RESET_PACE: Duration = Duration::from_millis(200);
/// The same while abandoned calls crowd out the others, which is the greater
/// evil.
const CROWDED_RESET_PACE: Duration = Duration::from_millis(6);

/// An HTTP/2 connection that a peer has answered on.
pub(super) struct Connection {
    endpoint: Arc<Endpoint>,
    /// Cloned for every call: a handle must not be used again while a stream it
    /// opened is queued.
    requests: SendRequest<Payload>,
    /// Asked whether new calls are still taken, nothing else.
    gate: Mutex<SendRequest<Payload>>,
    /// Whether the answer was no. Set before anybody is told, so that no call
    /// tries in between.
    closing: AtomicBool,
    in_flight: AtomicUsize,
    /// Whether a call has been sent on it.
    used: AtomicBool,
    /// Whether its loss has been held against the endpoint.
    blamed: AtomicBool,
    next_reset: Mutex<Instant>,
    waiters: Arc<Waiters>,
}

/// Why a connection takes no new calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Closed {
    /// The peer said goodbye (GOAWAY without an error): calls in flight finish.
    Goodbye,
    /// It broke.
    Broken(String),
}

impl Connection {
    /// Speaks HTTP/2 over `io` and waits until the peer does too. The caller
    /// bounds the time.
    ///
    /// The connection is driven by a task of its own until the last call on it
    /// has ended and the last reference is gone, or until it breaks. The
    /// receiver hears as soon as it takes no new calls.
    pub(super) async fn open(
        io: Box<dyn Io>,
        endpoint: Arc<Endpoint>,
        waiters: Arc<Waiters>,
    ) -> Result<(Arc<Self>, oneshot::Receiver<Closed>), h2::Error> {
        let (requests, mut http2) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADERS)
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .reset_stream_duration(REMEMBERED_FOR)
            .handshake(io)
            .await?;
        // A TCP connection proves little: a proxy or a full backlog accepts it
        // as well. The pong to a single ping, which no server minds, proves
        // that HTTP/2 is spoken, and the peer's settings come before it.
        if let Some(mut pings) = http2.ping_pong() {
            tokio::select! {
                pong = pings.ping(Ping::opaque()) => { pong?; }
                ended = &mut http2 => {
                    return Err(ended.err().unwrap_or_else(|| Reason::NO_ERROR.into()));
                }
            }
        }
        let connection = Arc::new(Self {
            endpoint,
            gate: Mutex::new(requests.clone()),
            requests,
            closing: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            used: AtomicBool::new(false),
            blamed: AtomicBool::new(false),
            next_reset: Mutex::new(Instant::now()),
            waiters,
        });
        let (closing, closed) = oneshot::channel();
        tokio::spawn(drive(http2, Arc::downgrade(&connection), closing));
        Ok((connection, closed))
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
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The same, or `None` when no more are taken: the connection is closing, or
    /// the peer's `MAX_CONCURRENT_STREAMS` is reached. More than that would wait
    /// inside of h2, where it cannot be told whether they have left.
    pub(super) fn room(&self) -> Option<usize> {
        let in_flight = self.in_flight();
        let full = || in_flight >= self.requests.current_max_send_streams();
        (!self.closing.load(Ordering::Relaxed) && !full()).then_some(in_flight)
    }

    /// Takes room for a call.
    pub(super) fn admit(self: &Arc<Self>) -> Permit {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Permit { connection: Arc::clone(self) }
    }

    /// Whether its loss is news. True once.
    pub(super) fn blame(&self) -> bool {
        !self.blamed.swap(true, Ordering::Relaxed)
    }

    /// When the next abandoned call may be reset. Each caller gets a turn of
    /// its own.
    pub(super) fn next_reset(&self) -> Instant {
        let crowded = self.in_flight() * 2 > self.requests.current_max_send_streams();
        let pace = if crowded { CROWDED_RESET_PACE } else { RESET_PACE };
        let mut next = self.next_reset.lock();
        let turn = (*next).max(Instant::now());
        *next = turn + pace;
        turn
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

impl From<h2::Error> for Closed {
    fn from(error: h2::Error) -> Self {
        if error.is_go_away() && error.reason() == Some(Reason::NO_ERROR) {
            Self::Goodbye
        } else {
            Self::Broken(error.to_string())
        }
    }
}

async fn drive(
    mut http2: h2::client::Connection<Box<dyn Io>, Payload>,
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
            // Nobody listens when the upstream is gone.
            let _ = closing.send(closed);
        }
        ended.map(|_| ())
    })
    .await;
}

/// Room for one call on a connection, given back when dropped.
pub(super) struct Permit {
    connection: Arc<Connection>,
}

impl Permit {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connection.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.connection.waiters.wake_one();
    }
}
