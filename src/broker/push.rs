//! A push, as the broker takes it.

use std::time::Duration;

use bytes::Bytes;

use crate::outbox::Confirm;
use crate::registry::Target;

/// What a backend wants to be sent.
#[derive(Debug)]
pub struct Push {
    /// To whom.
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
