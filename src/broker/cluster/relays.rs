//! The watches of other gateways that are open here.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The longest interval between messages, so that a loss is noticed.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// Between messages of a snapshot, so that others have their turn.
pub(super) const PAUSE: Duration = Duration::from_millis(1);

/// The watches of other gateways.
pub(super) struct Relays {
    pub(super) open: Mutex<HashMap<(u64, u64), AbortHandle>>,
    pub(super) is_over: watch::Sender<bool>,
}

impl Default for Relays {
    fn default() -> Self {
        Self { open: Mutex::default(), is_over: watch::channel(false).0 }
    }
}

impl Relays {
    /// A gateway does not watch any more.
    pub(super) fn end(&self, node: u64, watch: u64) {
        if let Some(relay) = self.open.lock().remove(&(node, watch)) {
            relay.abort();
        }
    }

    /// Gateways are not there any more.
    pub(super) fn forget(&self, is_there: impl Fn(u64) -> bool) {
        self.open.lock().retain(|(node, _), relay| {
            let is_there = is_there(*node);
            if !is_there {
                relay.abort();
            }
            is_there
        });
    }

    /// Sends all watches the events until now, and the end.
    pub(super) async fn finish(&self) {
        self.is_over.send_replace(true);
        while self.open.lock().values().any(|relay| !relay.is_finished()) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
