//! The order of pushes within a cluster.
//!
//! What this gateway says under one subject arrives everywhere in that order.
//! Pushes to users and pushes to all go under different subjects, and could
//! overtake each other on their way to a session that gets both. So where a
//! backend changes from the one kind to the other, the push waits until those
//! before it have arrived.

use std::time::Duration;

use tokio::time::timeout;

use super::cluster::{Flight, InFlight, Route};

/// A gateway that takes longer than this to take a push in is not waited for.
const PATIENCE: Duration = Duration::from_millis(250);

/// Pushes whose order counts: those of one stream.
#[derive(Debug, Default)]
pub struct Lane {
    /// Which way the last one went, and those that are still on it.
    last: Option<(Route, Flight)>,
}

impl Lane {
    /// Waits for those that another could overtake.
    pub(super) async fn enter(&mut self, route: Route) -> InFlight {
        if let Some((last, flight)) = &self.last {
            if *last == route {
                return flight.enter();
            }
            // Too slow is no reason to hold up everybody else.
            let _landed = timeout(PATIENCE, flight.land()).await;
        }
        let (_, flight) = self.last.insert((route, Flight::default()));
        flight.enter()
    }
}
