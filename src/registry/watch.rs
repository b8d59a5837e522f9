//! Sessions as they come and go, for whoever watches.
//!
//! A watcher has a bounded queue. One that does not keep up is told so instead
//! of less than everything, and holds up nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc};

use super::Registry;
use super::presence::Presence;
use super::target::Target;

/// Events that may wait for one watcher: more than the sessions of a gateway,
/// so that all of them may go at once. They take memory only while they wait.
const QUEUE: usize = 128 * 1024;

/// Something that happened to a session.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// To which session.
    pub presence: Arc<Presence>,
    /// When.
    pub at: SystemTime,
}

/// What can happen to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It has logged in.
    Connected,
    /// It is over, or has logged in as somebody else.
    Disconnected {
        /// The close code; 1006 without a close frame, 0 where the session
        /// goes on as somebody else.
        code: u16,
        /// What was said about it.
        reason: Arc<str>,
    },
}

/// A watcher that has fallen behind; what it was not told is lost to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the watcher did not keep up")]
pub struct Behind;

/// What happens from now on. Dropping it ends the watch.
pub struct Watch {
    registry: Weak<Registry>,
    watcher: Arc<Watcher>,
    events: mpsc::Receiver<Event>,
}

/// A watcher as the registry sees it.
pub(super) struct Watcher {
    target: Target,
    queue: mpsc::Sender<Event>,
    behind: AtomicBool,
    /// For whom nothing comes into the queue any more.
    fell_behind: Notify,
}

impl Watch {
    pub(super) fn new(registry: &Arc<Registry>, target: Target) -> (Self, Arc<Watcher>) {
        let (queue, events) = mpsc::channel(QUEUE);
        let (behind, fell_behind) = (AtomicBool::new(false), Notify::new());
        let watcher = Arc::new(Watcher { target, queue, behind, fell_behind });
        let registry = Arc::downgrade(registry);
        (Self { registry, watcher: Arc::clone(&watcher), events }, watcher)
    }

    /// The next event. Waits for ever if there is none.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time; no event is lost.
    pub async fn next(&mut self) -> Result<Event, Behind> {
        loop {
            match self.events.try_recv() {
                Ok(event) => return Ok(event),
                // Nothing is put in once the flag is set, so all of it was read.
                Err(TryRecvError::Empty) if self.watcher.behind.load(Ordering::Acquire) => {
                    return Err(Behind);
                }
                Err(_) => {}
            }
            tokio::select! {
                // The watcher, and with it the sender, lives as long as this.
                event = self.events.recv() => return event.ok_or(Behind),
                () = self.watcher.fell_behind.notified() => {}
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.unwatch(&self.watcher);
        }
    }
}

impl Watcher {
    /// Whether the watcher wants to know of a session.
    pub(super) fn wants(&self, presence: &Presence) -> bool {
        self.target.selects(presence)
    }

    /// Tells the watcher; `false`: it has fallen behind.
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
