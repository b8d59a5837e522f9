//! The events to be delivered: a queue for each session that has any, and a task
//! that works it off.
//!
//! A session never moves to another worker, so the order of its events is a
//! matter of one dispatcher.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::counts::Counts;
use super::delivery::Delivery;
use super::losses::{Loss, Losses};
use super::{Event, Hook, Hooks, Outcome};
use crate::auth::Login;

/// Size of all waiting events, at most, in bytes.
const MAX_WAITING: usize = 16 * 1024 * 1024;
/// Bytes that an event takes besides its message: mostly the task of its session.
const OVERHEAD: usize = 1024;

/// Delivers the events of one worker's sessions. A clone is another handle to
/// the same.
#[derive(Clone, Default)]
pub struct Dispatcher(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Wakes deliveries that pause between two attempts.
    hurry: Notify,
    losses: Arc<Losses>,
    counts: Counts,
}

#[derive(Default)]
struct Waiting {
    /// By session; one whose last event is being delivered is still there.
    sessions: HashMap<Arc<str>, VecDeque<Delivery>>,
    events: usize,
    bytes: usize,
}

impl Dispatcher {
    /// A session has logged in. Returns at once.
    pub fn connected(&self, hooks: &Hooks, login: &Login<'_>) {
        self.tell(Event::Connected, hooks, login, |name| login.value(name));
    }

    /// A session that had logged in is over, or goes on as another user or
    /// device; `login` is the one of its `connected` event. Returns at once.
    pub fn disconnected(&self, hooks: &Hooks, login: &Login<'_>, close_code: u16, reason: &str) {
        let close_code = close_code.to_string();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let (at, at_ms) = (rfc3339(now), now.to_string());
        self.tell(Event::Disconnected, hooks, login, |name| match name {
            "disconnected_at" => &at,
            "disconnected_at_ms" => &at_ms,
            "close_code" => &close_code,
            "reason" => reason,
            name => login.value(name),
        });
    }

    /// Events that are neither delivered nor given up.
    pub fn undelivered(&self) -> usize {
        self.0.waiting.lock().events
    }

    /// Events with this outcome so far.
    pub fn count(&self, event: Event, outcome: Outcome) -> u64 {
        self.0.counts.get(event, outcome)
    }

    /// Retries failed deliveries now, instead of after their waits.
    pub fn hurry(&self) {
        self.0.hurry.notify_waiters();
    }

    fn tell<'v>(
        &self,
        event: Event,
        hooks: &Hooks,
        login: &Login<'_>,
        value: impl Fn(&str) -> &'v str,
    ) {
        let Some(Hook(rpc)) = hooks.of(event) else { return };
        let told = rpc.as_ref().ok_or(Loss::Pending).and_then(|rpc| {
            let (at, at_ms) = (rfc3339(login.connected_at), login.connected_at.to_string());
            let value = |name: &str| match name {
                "connected_at" => &at,
                "connected_at_ms" => &at_ms,
                name => value(name),
            };
            let message = rpc.callout.request(value).map_err(|_| Loss::NoFit)?;
            self.put(login.session_id, Delivery::new(event, rpc, login.worker, message))
        });
        if let Err(loss) = told {
            self.0.counts.add(event, Outcome::Dropped);
            self.0.losses.count(event, loss, login.session_id);
        }
    }

    fn put(&self, session: &str, delivery: Delivery) -> Result<(), Loss> {
        let runtime = Handle::try_current().map_err(|_| Loss::Stopping)?;
        let mut waiting = self.0.waiting.lock();
        let bytes = waiting.bytes + size(&delivery);
        if bytes > MAX_WAITING {
            return Err(Loss::Full);
        }
        waiting.bytes = bytes;
        waiting.events += 1;
        if let Some(events) = waiting.sessions.get_mut(session) {
            events.push_back(delivery);
        } else {
            let session: Arc<str> = session.into();
            waiting.sessions.insert(Arc::clone(&session), VecDeque::from([delivery]));
            runtime.spawn(Arc::clone(&self.0).work_off(session));
        }
        Ok(())
    }
}

impl Shared {
    /// Delivers the waiting events of a session, and the ones that arrive
    /// meanwhile.
    async fn work_off(self: Arc<Self>, session: Arc<str>) {
        while let Some(delivery) = self.next(&session) {
            let outcome = delivery.deliver(&session, &self.hurry).await;
            self.counts.add(delivery.event(), outcome);
            let mut waiting = self.waiting.lock();
            waiting.events -= 1;
            waiting.bytes -= size(&delivery);
        }
    }

    fn next(&self, session: &str) -> Option<Delivery> {
        let mut waiting = self.waiting.lock();
        let next = waiting.sessions.get_mut(session).and_then(VecDeque::pop_front);
        if next.is_none() {
            waiting.sessions.remove(session);
        }
        next
    }
}

/// A moment as protobuf's JSON form prints a `Timestamp`, so that it fits one.
fn rfc3339(unix_ms: u64) -> String {
    // Beyond the year 9999 there is no text for it.
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms.min(253_402_300_799_999));
    if unix_ms.is_multiple_of(1000) {
        humantime::format_rfc3339_seconds(at).to_string()
    } else {
        humantime::format_rfc3339_millis(at).to_string()
    }
}

fn size(delivery: &Delivery) -> usize {
    delivery.message().len() + OVERHEAD
}
