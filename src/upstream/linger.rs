//! Calls that have no receiver any more.
//!
//! Dropping an HTTP/2 stream that is not finished resets it, and servers count
//! resets: a burst of them looks like the rapid-reset attack (CVE-2023-44487),
//! and the server closes the connection under every other call on it. Netty,
//! for one, allows 200 in 30 seconds. So a call that timed out, or whose client
//! vanished with a hundred others in flight, is not dropped. It runs out here:
//! the server knows the deadline from `grpc-timeout` and normally ends the stream
//! itself. Only streams still open after that are reset, a few a second.
//!
//! A stream may have no deadline, or a distant one, and no end of its own: it is
//! reset when its turn comes. Until then its window stays closed, so that the
//! service stops.

use std::future::pending;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::connection::{Answers, Connection};
use super::permit::Permit;
use super::status::says_over;
use super::stream::ClientStream;

/// How long after its deadline the server may still end a call.
const GRACE: Duration = Duration::from_secs(2);

/// A call that was given up.
pub(super) struct Abandoned {
    /// Dropped before the permit, so that its room is free when the permit
    /// reports so.
    pub(super) stream: ClientStream,
    /// Keeps the call counted, and the connection open, until it has ended.
    pub(super) permit: Permit,
    /// The deadline that was sent to the server, if any.
    pub(super) deadline: Option<Instant>,
    /// The meaning of a time-out.
    pub(super) evidence: Evidence,
    /// Whether its request has not ended: dropping the stream resets it then,
    /// although its response may have ended.
    pub(super) is_open: bool,
}

/// The evidence against a connection if a call on it runs out of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence {
    /// How many calls on it had been answered when this one was sent; `None`:
    /// no evidence, since the time was not the route's own or most of it was
    /// gone before.
    pub(super) since: Option<Answers>,
    /// When it was sent.
    pub(super) sent: Instant,
}

impl Evidence {
    /// The call ran out of time.
    pub(super) fn hold_against(self, connection: &Connection) {
        if let Some(since) = self.since {
            connection.timed_out(since, self.sent.into_std());
        }
    }
}

/// Lets a call run out in the background. Never blocks; may be called from
/// `Drop`. Outside of a runtime, where nothing can run any more, the stream is
/// reset at once.
pub(super) fn adopt(mut abandoned: Abandoned) {
    abandoned.permit.abandoned();
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(run_out(abandoned));
    }
}

async fn run_out(mut abandoned: Abandoned) {
    let is_stream = abandoned.permit.is_stream();
    let now = Instant::now();
    if let Some(deadline) = abandoned.deadline.filter(|at| !is_stream || *at <= now + GRACE) {
        // Reading matters too: unread data would use up the flow-control window
        // that all calls on the connection share.
        if timeout_at(deadline, abandoned.ended()).await.is_ok() {
            return;
        }
        abandoned.evidence.hold_against(abandoned.permit.connection());
        if timeout_at(deadline + GRACE, abandoned.ended()).await.is_ok() {
            return;
        }
    }
    let turn = abandoned.permit.connection().next_reset();
    // Whether it ended or its turn came: either way it is dropped now.
    let _ = timeout_at(turn, abandoned.ended()).await;
}

impl Abandoned {
    /// Resolves when it has ended by itself. May be dropped and called again.
    async fn ended(&mut self) {
        self.read().await;
        if self.is_open {
            pending::<()>().await;
        }
    }

    /// Reads to the end and keeps nothing.
    async fn read(&mut self) {
        match self.stream.head().await {
            Err(_) => {
                self.is_open = false;
                return;
            }
            // A server says that the time is over even if its handlers hang.
            Ok(Some(head)) if !says_over(&head.headers) => self.permit.connection().answered(),
            Ok(_) => {}
        }
        while let Some(chunk) = self.stream.data().await {
            let Ok(chunk) = chunk else {
                self.is_open = false;
                return;
            };
            if !self.permit.is_stream() {
                self.stream.release(chunk.len());
            }
        }
    }
}
