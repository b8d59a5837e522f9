//! What was said and heard, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often something has happened since the start.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So often.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The messages of one gateway.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Questions about a user (pushes, kicks, lists) that this gateway asked.
    pub questions_about_users: Count,
    /// The same to all gateways.
    pub questions_to_all: Count,
    /// Questions about users that others asked this gateway.
    pub questions_about_users_heard: Count,
    /// Questions to all that others asked.
    pub questions_to_all_heard: Count,
    /// Answers of this gateway.
    pub answers: Count,
    /// Logins at other gateways that this one was told of.
    pub logins_heard: Count,
    /// What could not be asked, for want of a connection.
    pub unasked: Count,
}
