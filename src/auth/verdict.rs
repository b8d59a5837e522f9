//! What becomes of a login.

use std::time::SystemTime;

use crate::metrics::LoginOutcome;

/// What has become of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The client is who it says it is.
    Accepted {
        /// When that ceases to be true, where the proof says so; the leeway for
        /// clocks that differ is in it.
        expires_at: Option<SystemTime>,
    },
    /// The client is not, or has not proven it.
    Refused {
        /// Why, in a few words that the client may be told.
        reason: String,
    },
    /// Nobody could tell. This passes: the client may try again.
    Unavailable {
        /// What went wrong, for the log. Not for the client.
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
