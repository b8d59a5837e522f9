//! Why a session ends, as the client sees it: the close codes.
//!
//! [`Close`] has the codes that the gateway sends, and their reasons. [`KNOWN`]
//! has all codes that a session may end with: metrics take their labels from it,
//! and `client` its explanations.
//!
//! Codes below 3000 are those of RFC 6455, section 7.4.1, and its registry;
//! the others are the session protocol's own.

/// Bytes of a close frame's reason: the rest of a control frame in RFC 6455.
pub const MAX_REASON: usize = 123;

/// The code of a close frame without one.
pub const NO_STATUS: u16 = 1005;
/// The code of a session that ended without a close frame.
pub const ABNORMAL: u16 = 1006;

/// A close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The number.
    pub code: u16,
    /// The number, as text.
    pub label: &'static str,
    /// The explanation for the user of a client, with the keys of the
    /// configuration that matter; empty where the reason is enough.
    pub meaning: &'static str,
}

macro_rules! known {
    ($($code:literal $meaning:literal,)+) => {
        [$(Known { code: $code, label: stringify!($code), meaning: $meaning }),+]
    };
}

/// The gateway's own codes, and the usual ones of clients.
pub const KNOWN: [Known; 21] = known! {
    1000 "finished",
    1001 "it is stopping; connect again",
    1002 "a violation of the WebSocket protocol",
    1003 "",
    1005 "",
    1006 "",
    1007 "",
    1008 "a frame that it cannot read, or abuse",
    1009 "a message over its size limit (edge.max_message)",
    1011 "",
    1012 "",
    1013 "it is full; connect again later",
    3000 "the login was refused, has expired (auth.grace), or was revoked (auth.recheck)",
    3001 "encryption failed: it has no private key (session.private_key), or one of another \
          length than the public key's",
    3002 "the platform is missing or none of those it knows (session.platforms), or \
          setCxnParams was refused",
    3003 "the device id is missing, or setCxnParams was refused",
    3004 "replaced by a newer connection of the same device",
    3005 "kicked by a service",
    3006 "too slow: frames piled up unread (session.outbox)",
    3007 "no valid setCxnParams in time (session.handshake_timeout), or no login \
          (session.login_timeout)",
    3008 "idle: no frame and no pong in time (session.pong_timeout)",
};

/// The explanation of a close code; empty where there is none.
pub fn meaning(code: u16) -> &'static str {
    KNOWN.iter().find(|known| known.code == code).map_or("", |known| known.meaning)
}

/// Why the gateway closes a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Close {
    /// 1001: the gateway is draining; connect again. Calls under way are
    /// answered first.
    GoingAway,
    /// 1001: the gateway stops now; connect again.
    Stopping,
    /// 1002: the client broke the WebSocket protocol itself (RFC 6455).
    FramingError,
    /// 1007: a text frame that is not UTF-8 (RFC 6455).
    InvalidText,
    /// 1008: a frame that cannot be decrypted, or protocol abuse. Says no
    /// more than that, so that it is no oracle.
    ProtocolError,
    /// 1009: a message over the size limit.
    TooBig,
    /// 1013: the gateway is full; connect again later.
    Full(&'static str),
    /// 3000: authentication failed. The request was answered with `AuthError` first.
    AuthenticationFailed,
    /// 3000: the login has expired, and the client has not logged in again in time.
    LoginExpired,
    /// 3000: the login was judged again, and does not hold any more.
    LoginRevoked,
    /// 3001: no RSA key configured, or a ciphertext of the wrong length.
    EncryptionUnavailable(&'static str),
    /// 3002: platform missing or unknown.
    Platform,
    /// 3002: the setCxnParams with the platform was refused, for this reason.
    PlatformRefused(&'static str),
    /// 3003: the setCxnParams with the device's id was refused, for this reason.
    DeviceIdRefused(&'static str),
    /// 3003: deviceId missing.
    DeviceId,
    /// 3003: packageId missing, where it distinguishes devices.
    PackageId,
    /// 3004: the same device, platform or user has logged in anew.
    Replaced,
    /// 3005: kicked by a backend, for this reason: at most
    /// [`MAX_REASON`] bytes, the rest is cut off.
    Kicked(Box<str>),
    /// 3006: too slow; its outbox overflowed.
    TooSlow,
    /// 3007: no valid setCxnParams, or no login, in time.
    HandshakeTimeout(&'static str),
    /// 3008: no pong and no frame in time.
    Idle,
}

impl Close {
    /// The close code.
    pub const fn code(&self) -> u16 {
        match self {
            Self::GoingAway | Self::Stopping => 1001,
            Self::FramingError => 1002,
            Self::InvalidText => 1007,
            Self::ProtocolError => 1008,
            Self::TooBig => 1009,
            Self::Full(_) => 1013,
            Self::AuthenticationFailed | Self::LoginExpired | Self::LoginRevoked => 3000,
            Self::EncryptionUnavailable(_) => 3001,
            Self::Platform | Self::PlatformRefused(_) => 3002,
            Self::DeviceId | Self::PackageId | Self::DeviceIdRefused(_) => 3003,
            Self::Replaced => 3004,
            Self::Kicked(_) => 3005,
            Self::TooSlow => 3006,
            Self::HandshakeTimeout(_) => 3007,
            Self::Idle => 3008,
        }
    }

    /// The close frame's reason: at most 123 bytes.
    pub fn reason(&self) -> &str {
        match self {
            Self::GoingAway | Self::Stopping => "going away",
            Self::FramingError | Self::ProtocolError => "protocol error",
            Self::InvalidText => "invalid text",
            Self::TooBig => "message too big",
            Self::AuthenticationFailed => "authentication failed",
            Self::LoginExpired => "login expired",
            Self::LoginRevoked => "login revoked",
            Self::Platform => "platform missing or unknown",
            Self::DeviceId => "deviceId missing",
            Self::PackageId => "packageId missing",
            Self::Replaced => "replaced by a newer connection",
            Self::Kicked(why) if why.is_empty() => "kicked",
            Self::Kicked(why) => &why[..why.floor_char_boundary(MAX_REASON)],
            Self::TooSlow => "too slow",
            Self::Full(why)
            | Self::EncryptionUnavailable(why)
            | Self::PlatformRefused(why)
            | Self::DeviceIdRefused(why)
            | Self::HandshakeTimeout(why) => why,
            Self::Idle => "idle",
        }
    }

    /// Whether calls in flight are answered before the session is closed.
    pub const fn waits_for_calls(&self) -> bool {
        matches!(self, Self::GoingAway)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variant to test after this one, beginning with `Kicked`. A `match`, so that
    /// a variant that is added cannot be left out.
    const fn next(close: &Close) -> Option<Close> {
        Some(match close {
            Close::GoingAway => Close::Stopping,
            Close::Stopping => Close::FramingError,
            Close::FramingError => Close::InvalidText,
            Close::InvalidText => Close::ProtocolError,
            Close::ProtocolError => Close::TooBig,
            Close::TooBig => Close::Full(""),
            Close::Full(_) => Close::AuthenticationFailed,
            Close::AuthenticationFailed => Close::LoginExpired,
            Close::LoginExpired => Close::LoginRevoked,
            Close::LoginRevoked => Close::EncryptionUnavailable(""),
            Close::EncryptionUnavailable(_) => Close::Platform,
            Close::Platform => Close::PlatformRefused(""),
            Close::PlatformRefused(_) => Close::DeviceIdRefused(""),
            Close::DeviceIdRefused(_) => Close::DeviceId,
            Close::DeviceId => Close::PackageId,
            Close::PackageId => Close::Replaced,
            Close::Replaced => return None,
            Close::Kicked(_) => Close::TooSlow,
            Close::TooSlow => Close::HandshakeTimeout(""),
            Close::HandshakeTimeout(_) => Close::Idle,
            Close::Idle => Close::GoingAway,
        })
    }

    #[test]
    fn every_code_that_the_gateway_sends_is_known() {
        let all = std::iter::successors(Some(Close::Kicked("".into())), next);
        let codes: Vec<_> = all.map(|close| close.code()).collect();
        assert_eq!(codes.len(), 21);
        for code in codes {
            assert!(KNOWN.iter().any(|known| known.code == code), "{code} is not in KNOWN");
        }
    }

    #[test]
    fn known_codes_are_in_order() {
        assert!(KNOWN.is_sorted_by(|a, b| a.code < b.code));
        for code in [NO_STATUS, ABNORMAL] {
            assert!(KNOWN.iter().any(|known| known.code == code));
        }
        assert_eq!(KNOWN.map(|known| known.label.parse()), KNOWN.map(|known| Ok(known.code)));
    }
}
