//! RPCs of existing services that are notified when sessions begin and end.
//!
//! Each RPC is a [`Hook`]; the [`Hooks`] of a configuration are replaced by a
//! reload. Each worker has a [`Dispatcher`], which renders the request message
//! when something happens to a session, and delivers it in the background:
//! nothing here ever holds up a session, or fails one.
//!
//! - The hooks of one session are called one after the other, in the order of the
//!   events (`dispatcher`).
//! - A failed delivery is tried again, with backoff, until the event is a minute
//!   old; then it is given up with a line in the log (`delivery`).
//! - The waiting events are bounded, and so are the calls under way. An event
//!   that finds no room is dropped, counted and logged (`losses`).
//!
//! So a hook may be called more than once for the same event, or, in bad times,
//! not at all. Logins are decided by `auth`.

mod counts;
mod delivery;
mod dispatcher;
mod losses;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use counts::Outcome;
pub use dispatcher::Dispatcher;

use crate::auth::Login;
use crate::callout::{Call, Callout};

/// The placeholders for the beginning of a session: in RFC 3339 form, which fits
/// a `google.protobuf.Timestamp` as well, and in milliseconds of Unix time.
const WHEN: [&str; 2] = ["connected_at", "connected_at_ms"];

/// Calls of one hook that may be under way at once, over all workers. They
/// share the upstream's connections with the requests of clients, and must not
/// use them up when a service hangs.
const MAX_CALLS: usize = 64;

/// An event of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// It has logged in.
    Connected,
    /// It had logged in, and has ended.
    Disconnected,
}

/// The hooks of one configuration.
#[derive(Default)]
pub struct Hooks {
    connected: Option<Hook>,
    disconnected: Option<Hook>,
}

/// An RPC that is notified of one kind of event. A clone is cheap and shares
/// everything.
#[derive(Clone)]
pub struct Hook(Option<Arc<Rpc>>);

struct Rpc {
    callout: Callout,
    call: Call,
    /// A permit for each call that may begin.
    slots: Semaphore,
}

impl Event {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Connected, Self::Disconnected];

    /// The hook's name in the configuration, and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
        }
    }

    /// The placeholders that the hook's request may use: the ones of a login, the
    /// beginning of the session, and for its end the time and the reason.
    pub fn placeholders(self) -> Vec<&'static str> {
        let own: &[_] = match self {
            Self::Connected => &[],
            Self::Disconnected => {
                &["disconnected_at", "disconnected_at_ms", "close_code", "reason"]
            }
        };
        Login::placeholders().chain(WHEN).chain(own.iter().copied()).collect()
    }
}

impl Hooks {
    /// The configured hooks.
    pub fn new(connected: Option<Hook>, disconnected: Option<Hook>) -> Self {
        Self { connected, disconnected }
    }

    fn of(&self, event: Event) -> Option<&Hook> {
        match event {
            Event::Connected => self.connected.as_ref(),
            Event::Disconnected => self.disconnected.as_ref(),
        }
    }
}

impl Hook {
    /// A hook that makes the call described by `callout`, through `call`. Its
    /// placeholders must be [the event's](Event::placeholders).
    pub fn new(callout: Callout, call: Call) -> Self {
        Self(Some(Arc::new(Rpc { callout, call, slots: Semaphore::new(MAX_CALLS) })))
    }

    /// A hook that cannot be called yet: the RPC's descriptors are not known. Its
    /// events are dropped, and logged as such.
    pub fn pending() -> Self {
        Self(None)
    }
}

#[cfg(test)]
mod tests;
