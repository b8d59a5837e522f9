//! One logged-in session, as others see it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use base16ct::lower;

use crate::outbox::Outbox;

/// The name of a session: 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u128);

/// A text that is no session's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 32 lowercase hexadecimal digits")]
pub struct NoSessionId;

impl SessionId {
    /// A new one.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Its 32 digits, all of ASCII. Written for every receipt, so it had better
    /// be quick.
    pub fn digits(self) -> [u8; 32] {
        let mut text = [0; 32];
        // An error would mean that there is no room for them.
        let _fits = lower::encode(&self.0.to_be_bytes(), &mut text);
        text
    }

    /// The same as [`Display`](fmt::Display), in one piece.
    pub fn to_text(self) -> String {
        str::from_utf8(&self.digits()).unwrap_or_default().to_owned()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SessionId {
    type Err = NoSessionId;

    /// Only the text that [`Display`](fmt::Display) writes, so that a session has
    /// one name.
    fn from_str(text: &str) -> Result<Self, NoSessionId> {
        let mut bytes = [0; 16];
        match lower::decode(text, &mut bytes) {
            Ok(read) if read.len() == 16 => Ok(Self(u128::from_be_bytes(bytes))),
            _ => Err(NoSessionId),
        }
    }
}

/// A logged-in session: its identity and its outbox. Immutable; a session that
/// logs in anew gets a new one.
#[derive(Debug, Clone)]
pub struct Presence {
    /// The session's name.
    pub session_id: SessionId,
    /// The user it is logged in as.
    pub user_id: Arc<str>,
    /// `ios`, `web`, …
    pub platform: Arc<str>,
    /// The device, as the client names it.
    pub device_id: Arc<str>,
    /// The version of the client application; may be empty.
    pub app_version: Arc<str>,
    /// The client's language; may be empty.
    pub language: Arc<str>,
    /// Where the client is, proxies seen through.
    pub remote_ip: Arc<str>,
    /// Whether its frames are encrypted.
    pub encrypted: bool,
    /// When its WebSocket was opened.
    pub connected_at: SystemTime,
    /// When it logged in, by the registry's [`Clock`](super::Clock); set by the
    /// registry.
    pub generation: u64,
    /// Where pushes to it are put.
    pub outbox: Arc<Outbox>,
}

impl Presence {
    /// Whether two presences of one session look the same to watchers.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.user_id == other.user_id
            && self.platform == other.platform
            && self.device_id == other.device_id
            && self.app_version == other.app_version
            && self.language == other.language
            && self.encrypted == other.encrypted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_is_read_as_it_is_written() {
        let id = SessionId(0xab);
        assert_eq!(id.to_string(), "000000000000000000000000000000ab");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in
            ["", "ab", "+00000000000000000000000000000ab", "000000000000000000000000000000AB"]
        {
            assert_eq!(text.parse::<SessionId>(), Err(NoSessionId), "{text}");
        }
    }
}
