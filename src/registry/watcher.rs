//! A watcher of sessions, as the registry sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tokio::sync::{Notify, mpsc};

use super::presence::Presence;
use super::target::Target;

/// Something that happened to a session.
#[derive(Debug, Clone)]
pub struct Event {
    /// The change.
    pub change: Change,
    /// The session.
    pub presence: Arc<Presence>,
    /// The time of the change.
    pub at: SystemTime,
}

/// A change of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It has logged in.
    Connected,
    /// It is over, or has logged in as another user or device.
    Disconnected {
        /// The close code; 1006 without a close frame, 0 where the session goes
        /// on as another user or device.
        code: u16,
        /// The reason, for people.
        reason: Arc<str>,
    },
}

/// A watcher as the registry sees it.
pub(super) struct Watcher {
    pub(super) target: Target,
    pub(super) queue: mpsc::Sender<Event>,
    pub(super) behind: AtomicBool,
    /// Notified when the watcher falls behind: nothing enters its queue any more.
    pub(super) fell_behind: Notify,
}

impl Watcher {
    /// Whether the watcher's target selects a session.
    pub(super) fn wants(&self, presence: &Presence) -> bool {
        self.target.selects(presence)
    }

    /// Queues an event for the watcher; `false`: it has fallen behind.
    pub(super) fn tell(&self, event: &Event) -> bool {
        if self.behind.load(Ordering::Acquire) {
            return false;
        }
        if self.wants(&event.presence) && self.queue.try_send(event.clone()).is_err() {
            self.behind.store(true, Ordering::Release);
            self.fell_behind.notify_one();
            return false;
        }
        true
    }
}
