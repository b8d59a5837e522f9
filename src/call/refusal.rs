//! Requests that lead to no call.

use std::borrow::Cow;

use tonic::Code as Status;

use super::Context;
use crate::metrics::labels;
use crate::protocol::{Code, Failure, RequestHead};

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
        context.refusals.count(self.refusal);
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
