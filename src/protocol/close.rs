//! Why a session ends, as the client sees it: the close codes.
//!
//! Codes below 3000 are those of RFC 6455, section 7.4.1, and its registry;
//! the others are the session protocol's own.

/// Bytes of a close frame's reason: what RFC 6455 leaves of a control frame.
pub const MAX_REASON: usize = 123;

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
    /// 3003: packageId missing, where that tells devices apart.
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
