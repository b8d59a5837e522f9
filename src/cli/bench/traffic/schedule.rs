//! Requests at a fixed rate: when each is due, and on which connection.
//!
//! The schedule never waits. A request that is due while the gateway, or this
//! process, is busy is late, and its latency shows it: it counts from the moment at
//! which it was due.

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

/// Requests at equal distances, on one connection after the other. Times are in
/// nanoseconds since a beginning that the user of this knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli::bench) struct Schedule {
    /// When the first is due.
    start: u64,
    /// Requests in a second.
    rate: f64,
    connections: u64,
    /// How many there are at all.
    total: u64,
}

/// How many requests are due in so many nanoseconds, the one at their beginning
/// among them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a count that is not negative and far below 2⁵³"
)]
pub(in crate::cli::bench) fn due_within(span: u64, rate: f64) -> u64 {
    (span as f64 * rate / SECOND).ceil() as u64
}

impl Schedule {
    pub(in crate::cli::bench) fn new(start: u64, rate: f64, connections: u64, total: u64) -> Self {
        Self { start, rate, connections: connections.max(1), total }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// When a request is due; `None` behind the last.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "exact to the nanosecond for a hundred days"
    )]
    pub(super) fn due(&self, nth: u64) -> Option<u64> {
        (nth < self.total).then(|| self.start + (nth as f64 * SECOND / self.rate) as u64)
    }

    /// The connection that a request is for.
    pub(super) fn connection(&self, nth: u64) -> usize {
        usize::try_from(nth % self.connections).unwrap_or_default()
    }

    /// When the next request of a connection is due that has sent so many.
    pub(super) fn next_of(&self, connection: usize, sent: u64) -> Option<u64> {
        self.due(connection as u64 + sent * self.connections)
    }

    /// How many requests a connection has.
    pub(super) fn count_of(&self, connection: usize) -> u64 {
        self.total.saturating_sub(connection as u64).div_ceil(self.connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_equal_distances_on_one_connection_after_the_other() {
        let schedule = Schedule::new(5_000, 1e6, 3, 7);
        let due: Vec<_> = (0..8).map(|nth| schedule.due(nth)).collect();
        let expected = [5_000, 6_000, 7_000, 8_000, 9_000, 10_000, 11_000];
        assert_eq!(due[..7], expected.map(Some));
        assert_eq!(due[7], None);
        for nth in 0..7 {
            let connection = schedule.connection(nth);
            assert_eq!(schedule.next_of(connection, nth / 3), schedule.due(nth));
        }
        assert_eq!([0, 1, 2].map(|nth| schedule.count_of(nth)), [3, 2, 2]);
        assert_eq!(schedule.next_of(0, 3), None);
        assert_eq!(Schedule::new(0, 1.0, 10, 4).count_of(7), 0);
    }

    /// Coordinated omission would be that a request is due only from the answer to
    /// the one before.
    #[test]
    fn a_connection_that_is_late_has_all_of_its_requests_still_due_at_their_times() {
        let schedule = Schedule::new(0, 1_000.0, 1, 1_000);
        let stalled_until = 500_000_000;
        let mut late = Vec::new();
        while let Some(due) =
            schedule.next_of(0, late.len() as u64).filter(|due| *due < stalled_until)
        {
            late.push(stalled_until - due);
        }
        assert_eq!(late.len(), 500);
        assert_eq!((late[0], late[499]), (500_000_000, 1_000_000));
    }

    #[test]
    fn rates_add_up_over_a_long_time() {
        let schedule = Schedule::new(0, 12_345.6, 100, u64::MAX);
        assert_eq!(schedule.due(123_456 * 3_600), Some(36_000_000_000_000));
        assert_eq!(due_within(10_000_000_000, 12_345.6), 123_456);
        assert_eq!(due_within(1, 1.0), 1);
        assert_eq!(due_within(0, 1.0), 0);
        assert_eq!(due_within(1_000_000_000, 3.0), 3);
    }
}
