//! Why requests lead to no call.

use tonic::Code as Status;

use crate::metrics::labels;
use crate::protocol::Code;

labels! {
    /// The reason why a request leads to no call.
    pub enum Refusal: "reason" {
        /// The message is not a request of the protocol.
        NoRequest = "no_request",
        /// No route has that name.
        UnknownMethod = "unknown_method",
        /// The upstream's descriptors are not known yet.
        Unresolved = "unresolved",
        /// The method needs a login.
        NotLoggedIn = "not_logged_in",
        /// The login has expired.
        LoginExpired = "login_expired",
        /// `auth.each_request` has refused it.
        LoginRefused = "login_refused",
        /// `auth.each_request` is not available.
        LoginUnjudged = "login_unjudged",
        /// Encryption is required.
        NotEncrypted = "not_encrypted",
        /// The data is not the method's request message.
        Malformed = "malformed",
    }
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
}
