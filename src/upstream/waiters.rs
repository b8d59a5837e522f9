//! Calls that wait for a connection, or for room on one, in the order in which
//! they came.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

#[derive(Debug, Default)]
pub(super) struct Waiters {
    notify: Notify,
    count: AtomicUsize,
}

impl Waiters {
    /// Whether there is no waiter, so that a newcomer may take room at once.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Joins the queue until the ticket is dropped.
    pub(super) fn join(&self) -> Ticket<'_> {
        self.count.fetch_add(1, Ordering::Relaxed);
        Ticket { waiters: self }
    }

    /// There is room for one more.
    pub(super) fn wake_one(&self) {
        if !self.is_empty() {
            self.notify.notify_one();
        }
    }

    /// Something changed that concerns all.
    pub(super) fn wake_all(&self) {
        self.notify.notify_waiters();
    }
}

/// A place in the queue.
pub(super) struct Ticket<'a> {
    waiters: &'a Waiters,
}

impl<'a> Ticket<'a> {
    /// Resolves at the next wake-up that is meant for this one or for all,
    /// counted from the moment of this call.
    pub(super) fn woken(&self) -> Notified<'a> {
        self.waiters.notify.notified()
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.waiters.count.fetch_sub(1, Ordering::Relaxed);
    }
}
