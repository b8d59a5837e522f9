//! The result of judging a login.

use std::time::SystemTime;

use crate::metrics::LoginOutcome;

/// The result of judging a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The client has proven its identity.
    Accepted {
        /// When the proof expires, if it does; includes the leeway for clocks that
        /// differ.
        expires_at: Option<SystemTime>,
    },
    /// The client has not proven its identity.
    Refused {
        /// A short reason that may be sent to the client.
        reason: String,
    },
    /// No verdict was possible. This is temporary: the client may try again.
    Unavailable {
        /// The cause, for the log. Not for the client.
        cause: String,
    },
}

impl Verdict {
    /// The outcome in metrics.
    pub fn outcome(&self) -> LoginOutcome {
        match self {
            Self::Accepted { .. } => LoginOutcome::Accepted,
            Self::Refused { .. } => LoginOutcome::Refused,
            Self::Unavailable { .. } => LoginOutcome::Unavailable,
        }
    }

    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }
}
