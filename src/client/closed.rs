//! How a session ended.

use std::fmt;

use crate::close::meaning;

/// Why there is no session any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// The gateway closed it.
    ByGateway {
        /// The close code; `None` when the close frame had none.
        code: Option<u16>,
        /// The gateway's own words; may be empty.
        reason: String,
    },
    /// This side closed it.
    ByClient,
    /// The connection broke without a word.
    Lost(String),
    /// A frame that does not decrypt: the two sides do not share a key.
    Undecryptable,
    /// A frame that is nothing a gateway sends.
    Garbled(String),
}

impl Closed {
    /// The close code, where the gateway sent one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::ByGateway { code, .. } => *code,
            _ => None,
        }
    }

    /// The gateway's own words; empty where there are none.
    pub fn reason(&self) -> &str {
        match self {
            Self::ByGateway { reason, .. } => reason,
            _ => "",
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByGateway { code: None, .. } => {
                f.write_str("the gateway closed the session without saying why")
            }
            Self::ByGateway { code: Some(code), reason } => {
                write!(f, "the gateway closed the session with {code}")?;
                match (meaning(*code), reason.as_str()) {
                    ("", "") => Ok(()),
                    ("", reason) => write!(f, ": {reason}"),
                    (meaning, "") => write!(f, ": {meaning}"),
                    (meaning, reason) => write!(f, ": {meaning} ({reason})"),
                }
            }
            Self::ByClient => f.write_str("the session was closed on this side"),
            Self::Lost(why) => write!(f, "the connection was lost: {why}"),
            Self::Undecryptable => f.write_str(
                "the gateway's frames do not decrypt: the public key is not that of its private key",
            ),
            Self::Garbled(why) => write!(f, "the gateway sent something unintelligible: {why}"),
        }
    }
}

impl std::error::Error for Closed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_are_explained() {
        let closed = Closed::ByGateway { code: Some(3002), reason: "platform `x`".to_owned() };
        let text = closed.to_string();
        assert!(text.contains("3002: the platform is missing"), "{text}");
        assert!(text.ends_with("(platform `x`)"), "{text}");
    }

    #[test]
    fn both_time_outs_of_3007_are_named() {
        let closed = Closed::ByGateway { code: Some(3007), reason: "login timeout".to_owned() };
        let text = closed.to_string();
        assert!(text.contains("handshake_timeout") && text.contains("login_timeout"), "{text}");
    }

    #[test]
    fn a_code_of_somebody_elses_is_told_as_it_is() {
        let closed = Closed::ByGateway { code: Some(4999), reason: String::new() };
        assert_eq!(closed.to_string(), "the gateway closed the session with 4999");
    }
}
