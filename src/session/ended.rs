//! Why a session ended, for its client, its log and its watchers.

use std::borrow::Cow;
use std::io;

use super::socket::ReadError;
use crate::close::{ABNORMAL, Close, NO_STATUS};
use crate::websocket::{CloseFrame, Violation};

/// The reason why the session's loop ended.
#[derive(Debug)]
pub enum Ended {
    /// The gateway closes the session.
    Closed(Close),
    /// The client sent a close frame.
    ByClient(Option<CloseFrame>),
    /// The connection broke.
    Lost(io::Error),
}

impl Ended {
    /// The close code and its reason, for watchers of sessions.
    pub(super) fn told(&self) -> (u16, Cow<'_, str>) {
        match self {
            Self::Closed(close) => (close.code(), close.reason().into()),
            Self::ByClient(Some(frame)) => (frame.code, (&*frame.reason).into()),
            Self::ByClient(None) => (NO_STATUS, Cow::Borrowed("")),
            Self::Lost(error) => (ABNORMAL, error.to_string().into()),
        }
    }

    /// The stream ended without a close frame.
    pub(super) fn without_goodbye() -> Self {
        let text = "the client ended the connection without a close frame";
        Self::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, text))
    }
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Violation(Violation::TooBig(_)) => Close::TooBig.into(),
            ReadError::Violation(Violation::NotUtf8) => Close::InvalidText.into(),
            ReadError::Violation(Violation::Framing(rule)) => {
                tracing::debug!(rule, "a client broke the WebSocket protocol");
                Close::FramingError.into()
            }
            ReadError::Io(error) => Self::Lost(error),
        }
    }
}

impl From<Close> for Ended {
    fn from(close: Close) -> Self {
        Self::Closed(close)
    }
}
