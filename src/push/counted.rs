//! The metrics of the push API, with handles that are looked up once.

use std::time::Instant;

use prometheus::IntGauge;
use tonic::{Code, Status};

use crate::metrics::{Confirmation, PushRefusal, Pushes, ReceiptOutcome};
use crate::outbox::Confirm;
use crate::proto::push::push_receipt::Outcome;

/// Counts pushes and their receipts.
pub(super) struct Counted(Pushes);

/// Counts an operation as ongoing until it is dropped.
pub(super) struct Ongoing(IntGauge);

impl Counted {
    pub(super) fn new(metrics: &Pushes) -> Self {
        Self(metrics.clone())
    }

    /// A push begins.
    pub(super) fn push(&self, confirm: Confirm) -> Ongoing {
        self.0.pushes.inc(confirmation(confirm));
        Ongoing::begin(&self.0.in_progress)
    }

    /// Counts a refused call, if the request is invalid.
    pub(super) fn checked<T>(&self, request: Result<T, Status>) -> Result<T, Status> {
        request.inspect_err(|refused| {
            self.0.refused.inc(match refused.code() {
                Code::Unauthenticated => PushRefusal::Unauthenticated,
                _ => PushRefusal::Invalid,
            });
        })
    }

    /// A receipt of a push that began at `began`.
    pub(super) fn receipt(&self, outcome: Outcome, confirm: Confirm, began: Instant) {
        let Some(counted) = receipt_outcome(outcome) else { return };
        self.0.receipts.inc(counted);
        if matches!(outcome, Outcome::Queued | Outcome::Written | Outcome::Acknowledged) {
            let seconds = self.0.seconds.of(confirmation(confirm));
            seconds.observe(began.elapsed().as_secs_f64());
        }
    }

    /// Sessions were kicked.
    pub(super) fn kicked(&self, sessions: u64) {
        self.0.kicked.inc_by(sessions);
    }

    /// A watch begins.
    pub(super) fn watch(&self) -> Ongoing {
        Ongoing::begin(&self.0.watches)
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

fn confirmation(confirm: Confirm) -> Confirmation {
    match confirm {
        Confirm::Queued => Confirmation::Queued,
        Confirm::Written => Confirmation::Written,
        Confirm::Acknowledged => Confirmation::Acknowledged,
    }
}

/// `None`: the gateway sends no such receipt.
fn receipt_outcome(outcome: Outcome) -> Option<ReceiptOutcome> {
    Some(match outcome {
        Outcome::Unspecified => return None,
        Outcome::Queued => ReceiptOutcome::Queued,
        Outcome::Written => ReceiptOutcome::Written,
        Outcome::Acknowledged => ReceiptOutcome::Acknowledged,
        Outcome::Offline => ReceiptOutcome::Offline,
        Outcome::Overflowed => ReceiptOutcome::Overflowed,
        Outcome::Closed => ReceiptOutcome::Closed,
        Outcome::Expired => ReceiptOutcome::Expired,
    })
}
