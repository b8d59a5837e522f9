//! Requests that lead to no call.

use std::borrow::Cow;

use tonic::Code as Status;

use super::Context;
use crate::protocol::{Code, Failure, RequestHead};

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
    fn code(self) -> (Code, Status) {
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
    fn label(self) -> &'static str {
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

/// A request that leads to no call.
#[derive(Debug)]
pub struct Refused {
    refusal: Refusal,
    /// For the log, and for the client where its protocol has room for it.
    text: Cow<'static, str>,
}

impl Refused {
    /// Refuses a request.
    pub fn new(refusal: Refusal, text: impl Into<Cow<'static, str>>) -> Self {
        Self { refusal, text: text.into() }
    }

    /// The data is not the method's request message.
    pub fn malformed(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Refusal::Malformed, text)
    }

    /// The reason.
    pub fn refusal(&self) -> Refusal {
        self.refusal
    }

    /// Counts and logs the refusal, and gives the failure for the client.
    pub fn settle(self, context: &Context, session: &str, head: &RequestHead) -> Failure {
        let code = self.code();
        context.metrics.requests.refuse(self.refusal.label(), code.number());
        if let Some(left_out) = context.refusals.is_due(self.refusal) {
            tracing::info!(
                session,
                request = head.logged_id(),
                method = head.logged_method(),
                %code,
                reason = &*self.text,
                left_out,
                "request refused; the next such line in a minute"
            );
            return self.failure();
        }
        tracing::debug!(
            target: "bridgehead::access",
            session,
            request = head.logged_id(),
            method = head.logged_method(),
            %code,
            reason = &*self.text,
            "refused"
        );
        self.failure()
    }

    /// The failure for the client.
    pub fn failure(self) -> Failure {
        let (code, status) = self.refusal.code();
        Failure::new(code, status, self.text)
    }

    /// The code of the reply.
    pub(super) fn code(&self) -> Code {
        self.refusal.code().0
    }

    /// The reason in words.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}
