//! What becomes of a login.

use std::time::SystemTime;

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
    /// What it is called where verdicts are counted.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }
}
