//! Outcomes of events, by hook.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Event;

/// The outcome of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The hook has taken it.
    Delivered = 0,
    /// It was tried until the event was too old.
    GivenUp = 1,
    /// It was not even tried.
    Dropped = 2,
}

impl Outcome {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Delivered, Self::GivenUp, Self::Dropped];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
            Self::Dropped => "dropped",
        }
    }
}

/// Events by hook and outcome, of one worker.
#[derive(Debug, Default)]
pub(super) struct Counts {
    connected: [AtomicU64; 3],
    disconnected: [AtomicU64; 3],
}

impl Counts {
    pub(super) fn add(&self, event: Event, outcome: Outcome) {
        self.of(event)[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self, event: Event, outcome: Outcome) -> u64 {
        self.of(event)[outcome as usize].load(Ordering::Relaxed)
    }

    fn of(&self, event: Event) -> &[AtomicU64; 3] {
        match event {
            Event::Connected => &self.connected,
            Event::Disconnected => &self.disconnected,
        }
    }
}
