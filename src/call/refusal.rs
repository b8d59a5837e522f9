//! Why requests lead to no call.

use tonic::Code as Status;

use crate::protocol::Code;

/// The reason why a request leads to no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The message is not a request of the protocol.
    NoRequest,
    /// No route has that name.
    UnknownMethod,
    /// The upstream's descriptors are not known yet.
    Unresolved,
    /// The method needs a login.
    NotLoggedIn,
    /// The login has expired.
    LoginExpired,
    /// `auth.each_request` has refused it.
    LoginRefused,
    /// `auth.each_request` is not available.
    LoginUnjudged,
    /// Encryption is required.
    NotEncrypted,
    /// The data is not the method's request message.
    Malformed,
}

impl Refusal {
    /// The code of the reply, and its gRPC status.
    pub(super) fn code(self) -> (Code, Status) {
        match self {
            Self::Unresolved | Self::LoginUnjudged => (Code::RETRY_ERROR, Status::Unavailable),
            Self::NotLoggedIn | Self::LoginExpired | Self::LoginRefused => {
                (Code::AUTH_ERROR, Status::Unauthenticated)
            }
            Self::UnknownMethod => (Code::REQUEST_ERROR, Status::Unimplemented),
            Self::NotEncrypted => (Code::REQUEST_ERROR, Status::FailedPrecondition),
            Self::NoRequest | Self::Malformed => (Code::REQUEST_ERROR, Status::InvalidArgument),
        }
    }

    /// The label in metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::NoRequest => "no_request",
            Self::UnknownMethod => "unknown_method",
            Self::Unresolved => "unresolved",
            Self::NotLoggedIn => "not_logged_in",
            Self::LoginExpired => "login_expired",
            Self::LoginRefused => "login_refused",
            Self::LoginUnjudged => "login_unjudged",
            Self::NotEncrypted => "not_encrypted",
            Self::Malformed => "malformed",
        }
    }
}
