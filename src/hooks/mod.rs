//! RPCs of existing services that are told of sessions as they come and go.
//!
//! What is called is a [`Hook`]; the [`Hooks`] of a configuration are replaced
//! by a reload. Each worker has a [`Dispatcher`], which renders the request
//! message when something happens to a session, and delivers it in the
//! background: nothing here ever holds up a session, or fails one.
//!
//! - The hooks of one session are called one after the other, in the order of
//!   what happened (`dispatcher`).
//! - Whatever goes wrong is tried again, with backoff, until the news is a
//!   minute old; then it is given up with a line in the log (`delivery`).
//! - What waits is bounded, and so are the calls under way. What finds no room
//!   is dropped, counted and logged (`losses`).
//!
//! So a hook may be called more than once for the same event, or, in bad times,
//! not at all. Who logs in is `auth`'s to say.

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

/// What can be told of a session.
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

/// An RPC that is told of one kind of event. A clone is cheap and shares
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

    /// The placeholders that the hook's request may use: those of a login, when
    /// the session began, and for its end how that came.
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
    /// A hook that calls what `callout` says, through `call`. Its placeholders
    /// must be [those of the event](Event::placeholders).
    pub fn new(callout: Callout, call: Call) -> Self {
        Self(Some(Arc::new(Rpc { callout, call, slots: Semaphore::new(MAX_CALLS) })))
    }

    /// A hook that cannot be called yet: the RPC's descriptors are not known.
    /// What it should be told is dropped, and logged as such.
    pub fn pending() -> Self {
        Self(None)
    }
}

#[cfg(test)]
mod tests;
