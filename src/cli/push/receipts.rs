//! Receipts as lines, and their summary.

use std::time::Duration;

use crate::cli::failure::Failure;
use crate::cli::push_api::{Table, cell};
use crate::proto::push::push_receipt::Outcome;
use crate::proto::push::{Confirm, PushReceipt};

/// The columns of `line`.
pub(super) fn columns() -> Table {
    Table::new([12, 12, 8, 16, 0])
}

/// A receipt as a line: its outcome, then its session or user.
pub(super) fn line(receipt: &PushReceipt, columns: &mut Table) -> String {
    let outcome = outcome(receipt);
    let Some(session) = &receipt.session else {
        return columns.row(&[outcome, cell(&receipt.user_id)]);
    };
    columns.row(&[
        outcome,
        cell(&session.user_id),
        cell(&session.platform),
        cell(&session.device_id),
        cell(&session.session_id),
    ])
}

/// The outcome's name; the number of an unknown one of a newer gateway.
fn outcome(receipt: &PushReceipt) -> String {
    Outcome::try_from(receipt.outcome)
        .map_or_else(|_| receipt.outcome.to_string(), |known| known.as_str_name().to_owned())
}

/// How many receipts there were of each outcome.
#[derive(Debug)]
pub(super) struct Summary {
    wanted: Outcome,
    /// In the order in which they first came.
    counts: Vec<(i32, String, usize)>,
}

impl Summary {
    pub(super) fn new(wanted: Confirm) -> Self {
        let wanted = match wanted {
            Confirm::Queued => Outcome::Queued,
            Confirm::Written => Outcome::Written,
            Confirm::Acknowledged => Outcome::Acknowledged,
        };
        Self { wanted, counts: Vec::new() }
    }

    pub(super) fn count(&mut self, receipt: &PushReceipt) {
        match self.counts.iter_mut().find(|(outcome, ..)| *outcome == receipt.outcome) {
            Some((.., count)) => *count += 1,
            None => {
                self.counts.push((receipt.outcome, outcome(receipt).to_lowercase(), 1));
                self.counts.sort_by_key(|(outcome, ..)| *outcome);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// All in a line: `3 acknowledged, 1 offline in 12 ms`.
    pub(super) fn line(&self, took: Duration) -> String {
        let counts: Vec<_> =
            self.counts.iter().map(|(_, name, count)| format!("{count} {name}")).collect();
        let counts = if counts.is_empty() { "no receipts".to_owned() } else { counts.join(", ") };
        format!("{counts} in {} ms", took.as_millis())
    }

    /// Fails unless there was a receipt, and each confirms the requested stage.
    pub(super) fn require(&self) -> Result<(), Failure> {
        if self.counts.is_empty() {
            return Err(Failure::failed("no session is selected"));
        }
        let reached =
            |outcome: i32| (self.wanted as i32..=Outcome::Acknowledged as i32).contains(&outcome);
        let others: usize = self
            .counts
            .iter()
            .filter(|(outcome, ..)| !reached(*outcome))
            .map(|(.., count)| count)
            .sum();
        if others > 0 {
            let wanted = self.wanted.as_str_name().to_lowercase();
            let (receipts, are) = if others == 1 { ("receipt", "is") } else { ("receipts", "are") };
            return Err(Failure::failed(format!("{others} {receipts} {are} not {wanted}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::push::Session;

    fn receipt(outcome: Outcome) -> PushReceipt {
        PushReceipt { outcome: outcome.into(), ..PushReceipt::default() }
    }

    fn summary(wanted: Confirm, outcomes: &[Outcome]) -> Summary {
        let mut summary = Summary::new(wanted);
        for outcome in outcomes {
            summary.count(&receipt(*outcome));
        }
        summary
    }

    #[test]
    fn receipts_stand_below_each_other() {
        let session = Session {
            session_id: "s1".into(),
            user_id: "alice".into(),
            platform: "ios".into(),
            device_id: "phone\x1b".into(),
            ..Session::default()
        };
        let there = PushReceipt { session: Some(session), ..receipt(Outcome::Acknowledged) };
        let gone = PushReceipt { user_id: "bob".into(), ..receipt(Outcome::Offline) };
        let mut columns = columns();
        assert_eq!(
            [line(&there, &mut columns), line(&gone, &mut columns)],
            [r"ACKNOWLEDGED  alice         ios       phone\u{1b}       s1", "OFFLINE       bob",]
        );
    }

    #[test]
    fn an_outcome_of_a_newer_gateway_is_a_number() {
        let newer = PushReceipt { outcome: 99, user_id: "a".into(), ..PushReceipt::default() };
        assert_eq!(line(&newer, &mut columns()), "99            a");
    }

    #[test]
    fn the_summary_counts_outcomes() {
        use Outcome::{Acknowledged, Offline};
        let some =
            summary(Confirm::Acknowledged, &[Offline, Acknowledged, Acknowledged, Acknowledged]);
        let took = Duration::from_micros(12_345);
        assert_eq!(some.line(took), "3 acknowledged, 1 offline in 12 ms");
        assert_eq!(summary(Confirm::Written, &[]).line(took), "no receipts in 12 ms");
    }

    #[test]
    fn what_is_required_is_that_all_got_it() {
        use Outcome::{Acknowledged, Closed, Expired, Offline, Overflowed, Queued, Written};
        assert!(summary(Confirm::Written, &[Written, Written]).require().is_ok());
        assert!(summary(Confirm::Queued, &[Queued, Acknowledged]).require().is_ok());
        for other in [Queued, Offline, Overflowed, Closed, Expired] {
            let (text, is_usage) =
                summary(Confirm::Written, &[Written, other]).require().unwrap_err().text();
            assert_eq!((&*text, is_usage), ("1 receipt is not written\n", false), "{other:?}");
        }
        assert!(summary(Confirm::Written, &[]).require().is_err());
    }
}
