//! The log of requests that the gateway itself refuses. The first protocol has
//! no text for `RequestError`, so its clients do not get the reason: the log does,
//! once a minute for each reason, since anybody can send such requests.

use super::refusal::Refusal;
use crate::seldom::Seldom;

/// The time when each reason was logged last. Shared by all workers.
#[derive(Debug, Default)]
pub struct Refusals {
    no_request: Seldom,
    unknown_method: Seldom,
    not_encrypted: Seldom,
    malformed: Seldom,
}

impl Refusals {
    /// Whether to log this one, and how many were left out before.
    pub(super) fn is_due(&self, refusal: Refusal) -> Option<u64> {
        match refusal {
            Refusal::NoRequest => self.no_request.is_due(),
            Refusal::UnknownMethod => self.unknown_method.is_due(),
            Refusal::NotEncrypted => self.not_encrypted.is_due(),
            Refusal::Malformed => self.malformed.is_due(),
            // The client gets a text with these.
            Refusal::Unresolved
            | Refusal::NotLoggedIn
            | Refusal::LoginExpired
            | Refusal::LoginRefused
            | Refusal::LoginUnjudged => None,
        }
    }
}
