//! Why a session ended, for its client, its log and those that watch.

use std::borrow::Cow;

use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::envelope::Close;

/// The close code of a close frame without one (RFC 6455, section 7.4.1).
const NO_STATUS: u16 = 1005;
/// The close code of a session that ended without a close frame.
const ABNORMAL: u16 = 1006;

/// Why the loop was left.
#[derive(Debug)]
pub(super) enum Ended {
    /// The gateway closes the session.
    Closed(Close),
    /// The client sent a close frame, or just ended its side.
    ByClient(Option<CloseFrame>),
    /// The connection broke.
    Lost(Error),
}

impl Ended {
    /// The close code and its reason, for those that watch sessions.
    pub(super) fn told(&self) -> (u16, Cow<'_, str>) {
        match self {
            Self::Closed(close) => (close.code(), close.reason().into()),
            Self::ByClient(Some(frame)) => (frame.code.into(), frame.reason.as_str().into()),
            Self::ByClient(None) => (NO_STATUS, Cow::Borrowed("")),
            Self::Lost(error) => (ABNORMAL, error.to_string().into()),
        }
    }

    /// What an end of reading means.
    pub(super) fn by_reading(error: Option<Error>) -> Self {
        match error {
            None | Some(Error::ConnectionClosed | Error::AlreadyClosed) => Self::ByClient(None),
            Some(Error::Capacity(CapacityError::MessageTooLong { .. })) => Close::TooBig.into(),
            Some(Error::Utf8(_)) => Close::InvalidText.into(),
            Some(Error::Protocol(error)) if is_lost(&error) => Self::Lost(Error::Protocol(error)),
            Some(Error::Protocol(_) | Error::Capacity(_)) => Close::FramingError.into(),
            Some(error) => Self::Lost(error),
        }
    }
}

impl From<Close> for Ended {
    fn from(close: Close) -> Self {
        Self::Closed(close)
    }
}

fn is_lost(error: &ProtocolError) -> bool {
    matches!(error, ProtocolError::ResetWithoutClosingHandshake)
}
