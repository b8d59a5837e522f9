//! Messages of clients, and their bytes, both ways.
//!
//! Every worker counts its own: they are added up on a read, so that no worker
//! waits for a cache line that another one writes to. The overhead of WebSocket,
//! TLS and TCP is not counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Traffic of the sessions of one worker.
#[derive(Debug, Default)]
// Two cache lines, since processors fetch them in pairs.
#[repr(align(128))]
pub struct Traffic {
    received: Direction,
    sent: Direction,
}

#[derive(Debug, Default)]
struct Direction {
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// Messages and their bytes since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Binary messages.
    pub messages: u64,
    /// Their payloads, encrypted where the session is.
    pub bytes: u64,
}

impl Traffic {
    /// A message of so many bytes has come.
    pub(super) fn received(&self, bytes: usize) {
        self.received.count(bytes);
    }

    /// A message of so many bytes is on its way to the socket.
    pub(super) fn sent(&self, bytes: usize) {
        self.sent.count(bytes);
    }

    /// The volumes received and sent so far.
    pub fn volumes(&self) -> (Volume, Volume) {
        (self.received.volume(), self.sent.volume())
    }
}

impl Direction {
    /// To be called on the worker's own thread.
    fn count(&self, bytes: usize) {
        add(&self.messages, 1);
        add(&self.bytes, bytes as u64);
    }

    fn volume(&self) -> Volume {
        Volume {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// Only the worker's own thread writes, so nothing comes between the two halves.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl std::ops::AddAssign for Volume {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}
