//! A push: one event, shared by all sessions that get it.

use std::sync::OnceLock;

use bytes::Bytes;

/// An event for clients. Each protocol encodes it once, for all of its sessions.
#[derive(Debug)]
pub struct Event {
    /// The event's number: `PushBody.event`.
    pub number: i32,
    /// The event's data, as the backend gave it.
    pub data: Bytes,
    pub(super) seed: OnceLock<Bytes>,
}

impl Event {
    /// An event that no protocol has encoded yet.
    pub fn new(number: i32, data: Bytes) -> Self {
        Self { number, data, seed: OnceLock::new() }
    }
}
