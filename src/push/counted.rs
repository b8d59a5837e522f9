//! What is counted of the push API, with the handles looked for once.

use std::time::Instant;

use prometheus::{Histogram, IntCounter, IntGauge};
use tonic::{Code, Status};

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
    in_progress: IntGauge,
    watches: IntGauge,
    unauthenticated: IntCounter,
    invalid: IntCounter,
}

/// Something that goes on until this is dropped.
pub(super) struct Ongoing(IntGauge);

impl Counted {
    pub(super) fn new(metrics: &Pushes) -> Self {
        let seconds = |it: usize| metrics.seconds.with_label_values(&[CONFIRMS[it]]);
        Self {
            pushes: std::array::from_fn(|it| metrics.pushes.with_label_values(&[CONFIRMS[it]])),
            seconds: std::array::from_fn(seconds),
            receipts: OUTCOMES.map(|(_, label)| metrics.receipts.with_label_values(&[label])),
            kicked: metrics.kicked.clone(),
            in_progress: metrics.in_progress.clone(),
            watches: metrics.watches.clone(),
            unauthenticated: metrics.refused.with_label_values(&["unauthenticated"]),
            invalid: metrics.refused.with_label_values(&["invalid"]),
        }
    }

    /// A push begins.
    pub(super) fn push(&self, confirm: Confirm) -> Ongoing {
        self.pushes[place(confirm)].inc();
        Ongoing::begin(&self.in_progress)
    }

    /// A call is refused, unless its request is good.
    pub(super) fn checked<T>(&self, request: Result<T, Status>) -> Result<T, Status> {
        request.inspect_err(|refused| match refused.code() {
            Code::Unauthenticated => self.unauthenticated.inc(),
            _ => self.invalid.inc(),
        })
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

    /// A watch begins.
    pub(super) fn watch(&self) -> Ongoing {
        Ongoing::begin(&self.watches)
    }
}

impl Ongoing {
    fn begin(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Ongoing {
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
