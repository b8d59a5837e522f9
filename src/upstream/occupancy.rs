//! The room for calls on one connection, and the kinds of calls that take it.
//!
//! A unary call waits for its answer all the time. A stream waits until its
//! response has begun, and may be idle after that for as long as it likes: a
//! connection that is silent under nothing but such streams is no hung service.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The most streams on one connection, including abandoned ones that are not
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

    /// A call was added: a unary one, unless it opens a stream.
    pub(super) fn entered(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// A unary call becomes a stream. `false`: there are too many streams. `limit`:
    /// how many calls the peer takes at once.
    pub(super) fn opens_stream(&self, limit: usize) -> bool {
        let most = MAX_STREAMS.min(share(limit));
        if self.streams.fetch_add(1, Ordering::Relaxed) >= most {
            self.streams.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// A stream goes on as another kind.
    pub(super) fn changed(&self, from: Kind, to: Kind) {
        let count = |kind| match kind {
            Kind::Unary | Kind::Opening => None,
            Kind::Listening => Some(&self.listening),
            Kind::Abandoned => Some(&self.abandoned),
        };
        if let Some(count) = count(to) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(count) = count(from) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A call of this kind is over.
    pub(super) fn left(&self, kind: Kind) {
        if kind != Kind::Unary {
            self.changed(kind, Kind::Opening);
            self.streams.fetch_sub(1, Ordering::Relaxed);
        }
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many of a peer's concurrent calls may be streams: they last long, and
/// unary calls need room too.
fn share(limit: usize) -> usize {
    limit - limit / 4
}

/// The kind of a call, as far as a connection is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unary,
    /// A stream without a response yet.
    Opening,
    /// A stream whose response has begun.
    Listening,
    /// A stream that is to be reset.
    Abandoned,
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
