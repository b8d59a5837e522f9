//! The room for calls on one connection, and what those are that take it.
//!
//! A unary call waits for its answer all the time. A stream waits until its
//! response has begun, and may be idle after that for as long as it likes: a
//! connection that is silent under nothing but such streams is no hung service.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::connection::Connection;

/// The most streams on one connection, those included that are abandoned and not
/// reset yet. However few of them are read, the connection's window has room
/// for their windows and for the answers to other calls.
pub(super) const MAX_STREAMS: usize = 3072;

/// How many calls there are on a connection.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    /// All of them, abandoned ones included.
    calls: AtomicUsize,
    /// The streams among them.
    streams: AtomicUsize,
    /// Streams whose response has begun.
    listening: AtomicUsize,
    /// Streams that are abandoned and not reset yet.
    abandoned: AtomicUsize,
}

impl Occupancy {
    /// All calls, abandoned ones included.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether a call waits for an answer.
    pub(super) fn waits(&self) -> bool {
        let idle = self.listening.load(Ordering::Relaxed) + self.abandoned.load(Ordering::Relaxed);
        self.calls() > idle
    }

    /// Calls whose room will be free as soon as they have their answers or are reset.
    pub(super) fn passing(&self) -> usize {
        self.calls().saturating_sub(self.listening.load(Ordering::Relaxed))
    }
}

/// How many of the calls that a peer takes at once may be streams: they stay for
/// long, and the others need room too.
fn share(limit: usize) -> usize {
    limit - limit / 4
}

/// What a call is, as far as a connection is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unary,
    /// A stream without a response yet.
    Opening,
    /// One whose response has begun.
    Listening,
    /// One that is to be reset.
    Abandoned,
}

/// Room for one call on a connection, given back when dropped.
pub(super) struct Permit {
    connection: Arc<Connection>,
    kind: Kind,
}

impl Permit {
    /// Takes room for a call.
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        connection.occupancy().calls.fetch_add(1, Ordering::Relaxed);
        Self { connection, kind: Kind::Unary }
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The call is a stream. `false`: there are too many of those.
    pub(super) fn opens_stream(&mut self) -> bool {
        let most = MAX_STREAMS.min(share(self.connection.peers_limit()));
        let streams = &self.connection.occupancy().streams;
        if streams.fetch_add(1, Ordering::Relaxed) >= most {
            streams.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.kind = Kind::Opening;
        true
    }

    pub(super) fn is_stream(&self) -> bool {
        self.kind != Kind::Unary
    }

    /// The call's response has begun.
    pub(super) fn answered(&mut self) {
        if self.kind == Kind::Opening {
            self.change_to(Kind::Listening);
        }
    }

    /// The caller does not want the rest of it.
    pub(super) fn abandoned(&mut self) {
        if self.is_stream() {
            self.change_to(Kind::Abandoned);
        }
    }

    fn change_to(&mut self, kind: Kind) {
        let occupancy = self.connection.occupancy();
        let count = |kind| match kind {
            Kind::Unary | Kind::Opening => None,
            Kind::Listening => Some(&occupancy.listening),
            Kind::Abandoned => Some(&occupancy.abandoned),
        };
        if let Some(count) = count(kind) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(count) = count(self.kind) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        self.kind = kind;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.is_stream() {
            self.change_to(Kind::Opening);
            self.connection.occupancy().streams.fetch_sub(1, Ordering::Relaxed);
        }
        self.connection.occupancy().calls.fetch_sub(1, Ordering::Relaxed);
        self.connection.left();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_leave_a_quarter_of_a_peers_room() {
        assert_eq!(
            [0, 1, 2, 4, 100, usize::MAX].map(share),
            [0, 1, 2, 3, 75, usize::MAX - usize::MAX / 4]
        );
    }
}
