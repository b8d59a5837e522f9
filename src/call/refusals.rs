//! Requests that the gateway itself refuses: their counters, and their log. The
//! first protocol has no text for `RequestError`, so its clients do not get the
//! reason: the log does, once a minute for each reason, since any client can send
//! such requests.

use super::refusal::Refusal;
use crate::metrics::{Counters, Metrics};
use crate::seldom::Seldom;

/// The counter of each reason, and the time when it was logged last. Shared by
/// all workers.
pub struct Refusals {
    counted: Counters<Refusal>,
    no_request: Seldom,
    unknown_method: Seldom,
    not_encrypted: Seldom,
    malformed: Seldom,
}

impl Refusals {
    /// With nothing logged yet.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            counted: metrics.requests.refused(|refusal: Refusal| refusal.code().0.number()),
            no_request: Seldom::default(),
            unknown_method: Seldom::default(),
            not_encrypted: Seldom::default(),
            malformed: Seldom::default(),
        }
    }

    /// Counts a refused request.
    pub(super) fn count(&self, refusal: Refusal) {
        self.counted.inc(refusal);
    }

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
