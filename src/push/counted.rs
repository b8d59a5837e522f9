//! What is counted of the push API, with the handles looked for once.

use std::time::Instant;

use prometheus::{Histogram, IntCounter, IntGauge};

use crate::metrics::Pushes;
use crate::outbox::Confirm;
use crate::proto::push::push_receipt::Outcome;

const CONFIRMS: [&str; 3] = ["queued", "written", "acknowledged"];
const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Queued, "queued"),
    (Outcome::Written, "written"),
    (Outcome::Acknowledged, "acknowledged"),
    (Outcome::Offline, "offline"),
    (Outcome::Overflowed, "overflowed"),
    (Outcome::Closed, "closed"),
    (Outcome::Expired, "expired"),
];

/// Counts pushes and their receipts.
pub(super) struct Counted {
    /// By confirmation.
    pushes: [IntCounter; 3],
    seconds: [Histogram; 3],
    /// By outcome.
    receipts: [IntCounter; 7],
    pub(super) kicked: IntCounter,
    watches: IntGauge,
}

/// A watch that is open, until this is dropped.
pub(super) struct Watched(IntGauge);

impl Counted {
    pub(super) fn new(metrics: &Pushes) -> Self {
        let seconds = |it: usize| metrics.seconds.with_label_values(&[CONFIRMS[it]]);
        Self {
            pushes: std::array::from_fn(|it| metrics.pushes.with_label_values(&[CONFIRMS[it]])),
            seconds: std::array::from_fn(seconds),
            receipts: OUTCOMES.map(|(_, label)| metrics.receipts.with_label_values(&[label])),
            kicked: metrics.kicked.clone(),
            watches: metrics.watches.clone(),
        }
    }

    pub(super) fn push(&self, confirm: Confirm) {
        self.pushes[place(confirm)].inc();
    }

    /// A receipt of a push that began at `began`.
    pub(super) fn receipt(&self, outcome: Outcome, confirm: Confirm, began: Instant) {
        let is_it = |(known, _): &(Outcome, _)| *known == outcome;
        if let Some(at) = OUTCOMES.iter().position(is_it) {
            self.receipts[at].inc();
        }
        if matches!(outcome, Outcome::Queued | Outcome::Written | Outcome::Acknowledged) {
            self.seconds[place(confirm)].observe(began.elapsed().as_secs_f64());
        }
    }

    pub(super) fn watch(&self) -> Watched {
        self.watches.inc();
        Watched(self.watches.clone())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Where a confirmation stands in the lists above.
fn place(confirm: Confirm) -> usize {
    match confirm {
        Confirm::Queued => 0,
        Confirm::Written => 1,
        Confirm::Acknowledged => 2,
    }
}
