//! The order of pushes within a cluster.
//!
//! Messages of this gateway under one subject arrive everywhere in order.
//! Pushes to users and pushes to all go under different subjects, and could
//! overtake each other on their way to a session that gets both. So where a
//! backend changes from the one kind to the other, the push waits until those
//! before it have arrived.

use std::time::Duration;

use tokio::time::timeout;

use super::cluster::{Flight, InFlight, Route};

/// A gateway that takes longer than this to take a push in is not waited for.
const PATIENCE: Duration = Duration::from_millis(250);

/// The pushes of one stream, whose order counts.
#[derive(Debug, Default)]
pub struct Lane {
    /// The route of the last push, and the pushes still in flight on it.
    last: Option<(Route, Flight)>,
}

impl Lane {
    /// Waits for the pushes that this one could overtake.
    pub(super) async fn enter(&mut self, route: Route) -> InFlight {
        if let Some((last, flight)) = &self.last {
            if *last == route {
                return flight.enter();
            }
            // Slow pushes must not hold up all others.
            let _landed = timeout(PATIENCE, flight.land()).await;
        }
        let (_, flight) = self.last.insert((route, Flight::default()));
        flight.enter()
    }
}
