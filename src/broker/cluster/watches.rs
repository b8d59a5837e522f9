//! The watches of this gateway that are open at other gateways.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::proto::cluster::Events;
use crate::proto::push;

/// The watches that are open.
#[derive(Default)]
pub(super) struct Watches {
    pub(super) next: AtomicU64,
    pub(super) open: Mutex<HashMap<u64, Open>>,
}

pub(super) struct Open {
    pub(super) target: push::Target,
    pub(super) events: mpsc::Sender<Events>,
}

impl Watches {
    /// Gives events to a watch; `false`: there is no watch of that number any more.
    pub(super) fn arrived(&self, watch: u64, events: Events) -> bool {
        let open = self.open.lock();
        let Some(open) = open.get(&watch) else { return false };
        // The watch notices events that do not fit by their number.
        let _sent = open.events.try_send(events);
        true
    }
}
