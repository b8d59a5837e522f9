//! Events that cannot even be queued: counted, and logged now and then.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::Event;

/// The time between two reports.
const PAUSE: Duration = Duration::from_secs(10);

/// Why an event is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Loss {
    #[error("too many events wait to be delivered")]
    Full,
    #[error("the descriptors of the hook's RPC are not known yet")]
    Pending,
    #[error("a value of the session does not fit the request message")]
    NoFit,
    #[error("the gateway is stopping")]
    Stopping,
}

/// Counts dropped events. The first loss is logged at once, later ones together
/// after a while; none is left out.
#[derive(Default)]
pub(super) struct Losses(Mutex<Tally>);

#[derive(Default)]
struct Tally {
    /// Not logged yet.
    dropped: BTreeMap<(Event, Loss), Dropped>,
    /// A task is running that logs further losses.
    reporting: bool,
}

struct Dropped {
    events: u64,
    /// The session of the last one.
    session: Box<str>,
}

impl Losses {
    /// Counts an event.
    pub(super) fn count(self: &Arc<Self>, event: Event, loss: Loss, session: &str) {
        let mut tally = self.0.lock();
        let entry = tally.dropped.entry((event, loss));
        let dropped = entry.or_insert_with(|| Dropped { events: 0, session: Box::default() });
        dropped.events += 1;
        dropped.session = session.into();
        if mem::replace(&mut tally.reporting, true) {
            return;
        }
        report(&mem::take(&mut tally.dropped));
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(Arc::clone(self).keep_reporting())),
            Err(_) => tally.reporting = false,
        }
    }

    /// Logs the new losses, until there are none.
    async fn keep_reporting(self: Arc<Self>) {
        loop {
            sleep(PAUSE).await;
            let mut tally = self.0.lock();
            let dropped = mem::take(&mut tally.dropped);
            tally.reporting = !dropped.is_empty();
            drop(tally);
            if dropped.is_empty() {
                return;
            }
            report(&dropped);
        }
    }
}

impl Drop for Losses {
    fn drop(&mut self) {
        report(&self.0.get_mut().dropped);
    }
}

fn report(dropped: &BTreeMap<(Event, Loss), Dropped>) {
    for ((event, loss), Dropped { events, session }) in dropped {
        tracing::warn!(
            hook = event.name(),
            dropped = events,
            session = &**session,
            reason = %loss,
            "hook events dropped"
        );
    }
}
