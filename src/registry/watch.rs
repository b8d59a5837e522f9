//! Sessions as they begin and end, for watchers.
//!
//! A watcher has a bounded queue. A watcher that does not keep up gets an error
//! instead of an incomplete stream, and never blocks a session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc};

use super::Registry;
use super::presence::Presence;
use super::target::Target;
use super::watcher::{Event, Watcher};

/// Events that may wait for one watcher: more than the sessions of a gateway,
/// so that all of them may go at once. They take memory only while they wait.
const QUEUE: usize = 128 * 1024;

/// A watcher that has fallen behind; the missing events are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the watcher did not keep up")]
pub struct Behind;

/// The stream of events from now on. Dropping it ends the watch.
pub struct Watch {
    registry: Weak<Registry>,
    watcher: Arc<Watcher>,
    events: mpsc::Receiver<Event>,
}

impl Registry {
    /// Watches the sessions that a target selects: the ones present now, and then
    /// all their events. No event is missed or duplicated between the two.
    pub fn watch(self: &Arc<Self>, target: Target) -> (Vec<Arc<Presence>>, Watch) {
        let (watch, watcher) = Watch::new(self, target);
        let mut present = Vec::new();
        for mut shard in self.sessions.all() {
            let wanted = shard.table.iter().filter(|presence| watcher.wants(presence));
            present.extend(wanted.map(Arc::clone));
            shard.watchers.push(Arc::clone(&watcher));
        }
        (present, watch)
    }

    fn unwatch(&self, watcher: &Arc<Watcher>) {
        for mut shard in self.sessions.all() {
            shard.watchers.retain(|known| !Arc::ptr_eq(known, watcher));
        }
    }
}

impl Watch {
    fn new(registry: &Arc<Registry>, target: Target) -> (Self, Arc<Watcher>) {
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
