//! Requests that lead to no call: counted, logged, and answered.

use std::borrow::Cow;

use super::Context;
use super::refusal::Refusal;
use crate::protocol::{Code, Failure, RequestHead};

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
