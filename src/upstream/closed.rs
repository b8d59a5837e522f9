//! Why a connection takes no new calls.

use h2::Reason;

/// Why a connection takes no new calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Closed {
    /// The peer said goodbye (GOAWAY without an error): calls in flight finish.
    Goodbye,
    /// It broke.
    Broken(String),
}

impl From<h2::Error> for Closed {
    fn from(error: h2::Error) -> Self {
        if error.is_go_away() && error.reason() == Some(Reason::NO_ERROR) {
            Self::Goodbye
        } else {
            Self::Broken(error.to_string())
        }
    }
}
