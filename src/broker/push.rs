//! A push, as the broker takes it.

use std::time::Duration;

use bytes::Bytes;

use crate::outbox::Confirm;
use crate::registry::Target;

/// A push that a backend has requested.
#[derive(Debug)]
pub struct Push {
    /// The recipients.
    pub target: Target,
    /// `PushBody.event`.
    pub event: i32,
    /// `PushBody.data`.
    pub data: Bytes,
    /// How sure the backend wants to be.
    pub confirm: Confirm,
    /// How long receipts are waited for, from now on.
    pub deadline: Duration,
}
