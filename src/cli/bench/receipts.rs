//! Receipts of the Push API: one for each push and session, and when it came.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::arrivals::Bits;
use super::clients::Users;
use super::figures::histogram;
use crate::proto::push::PushReceipt;
use crate::proto::push::push_receipt::Outcome;

/// Gathers the receipts of all rounds.
pub(super) struct Receipts {
    users: Users,
    readers: usize,
    /// The expected outcome of a receipt.
    wanted: Outcome,
    rounds: Vec<Round>,
    /// Of sessions that read, in nanoseconds.
    pub(super) latencies: Histogram<u64>,
    /// Of sessions that read.
    pub(super) outcomes: Outcomes,
    /// Of stalled sessions.
    pub(super) stalled: Outcomes,
    /// Of sessions that are not of this run.
    pub(super) others: u64,
    /// More than one for the same session and push.
    pub(super) duplicated: u64,
}

/// How many there were of each.
pub(super) type Outcomes = BTreeMap<&'static str, u64>;

struct Round {
    pushed: Instant,
    /// Sessions that there was a receipt for.
    sessions: Bits,
    of_readers: usize,
    all: usize,
    last: Duration,
}

impl Receipts {
    pub(super) fn new(users: Users, readers: usize, wanted: Outcome) -> Self {
        Self {
            users,
            readers,
            wanted,
            rounds: Vec::new(),
            latencies: histogram(),
            outcomes: Outcomes::new(),
            stalled: Outcomes::new(),
            others: 0,
            duplicated: 0,
        }
    }

    /// The next round is pushed now. Returns the id of its push.
    pub(super) fn begin(&mut self) -> String {
        self.rounds.push(Round {
            pushed: Instant::now(),
            sessions: Bits::default(),
            of_readers: 0,
            all: 0,
            last: Duration::ZERO,
        });
        (self.rounds.len() - 1).to_string()
    }

    /// A receipt has come.
    pub(super) fn note(&mut self, receipt: &PushReceipt) {
        let user = receipt.session.as_ref().map_or(&receipt.user_id, |session| &session.user_id);
        let round = receipt.push_id.parse().ok().and_then(|nth: usize| self.rounds.get_mut(nth));
        let (Some(session), Some(round)) = (self.users.number(user), round) else {
            self.others += 1;
            return;
        };
        if !round.sessions.insert(session) {
            self.duplicated += 1;
            return;
        }
        round.all += 1;
        if session < self.readers {
            round.of_readers += 1;
            round.last = round.pushed.elapsed();
            let nanos = u64::try_from(round.last.as_nanos()).unwrap_or(u64::MAX);
            self.latencies.saturating_record(nanos);
        }
        let of = if session < self.readers { &mut self.outcomes } else { &mut self.stalled };
        *of.entry(receipt.outcome().as_str_name()).or_default() += 1;
    }

    /// Whether every session that reads has its receipt of the latest round.
    pub(super) fn have_all_of_readers(&self) -> bool {
        self.rounds.last().is_none_or(|round| round.of_readers >= self.readers)
    }

    /// Receipts of readers that did not come.
    pub(super) fn missing(&self) -> u64 {
        self.rounds.iter().map(|round| (self.readers - round.of_readers) as u64).sum()
    }

    /// The same, of stalled sessions.
    pub(super) fn missing_of_stalled(&self, sessions: usize) -> u64 {
        let of_stalled = |round: &Round| (sessions - self.readers) - (round.all - round.of_readers);
        self.rounds.iter().map(|round| of_stalled(round) as u64).sum()
    }

    /// Receipts of readers with another outcome than the expected one.
    pub(super) fn unwanted(&self) -> u64 {
        let wanted = self.wanted.as_str_name();
        self.outcomes.iter().filter(|(name, _)| **name != wanted).map(|(_, count)| count).sum()
    }

    /// How long after its push a round's last receipt of a session that reads came.
    pub(super) fn last_of(&self, round: usize) -> Duration {
        self.rounds.get(round).map_or(Duration::ZERO, |round| round.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::push::Session;

    fn receipts() -> Receipts {
        Receipts::new(Users::numbered("u", 3), 2, Outcome::Written)
    }

    fn receipt(push_id: &str, user: &str, outcome: Outcome) -> PushReceipt {
        let session = Session { user_id: user.into(), ..Session::default() };
        PushReceipt {
            push_id: push_id.into(),
            outcome: outcome.into(),
            session: Some(session),
            ..PushReceipt::default()
        }
    }

    #[test]
    fn each_session_gets_one_receipt_for_each_push() {
        let mut receipts = receipts();
        let id = receipts.begin();
        receipts.note(&receipt(&id, "u0", Outcome::Written));
        assert!(!receipts.have_all_of_readers());
        receipts.note(&receipt(&id, "u2", Outcome::Expired));
        assert!(!receipts.have_all_of_readers(), "one that is stalled is not waited for");
        receipts.note(&receipt(&id, "u1", Outcome::Written));
        assert!(receipts.have_all_of_readers());
        assert_eq!(receipts.outcomes, Outcomes::from([("WRITTEN", 2)]));
        assert_eq!(receipts.stalled, Outcomes::from([("EXPIRED", 1)]));
        assert_eq!((receipts.missing(), receipts.missing_of_stalled(3)), (0, 0));
        assert_eq!((receipts.duplicated, receipts.others, receipts.unwanted()), (0, 0, 0));
    }

    #[test]
    fn what_is_wrong_with_receipts_is_counted() {
        let mut receipts = receipts();
        let id = receipts.begin();
        receipts.note(&receipt(&id, "u0", Outcome::Written));
        receipts.note(&receipt(&id, "u0", Outcome::Written));
        receipts.note(&receipt(&id, "alice", Outcome::Written));
        receipts.note(&receipt("7", "u1", Outcome::Written));
        assert_eq!((receipts.duplicated, receipts.others), (1, 2));
        assert_eq!((receipts.missing(), receipts.missing_of_stalled(3)), (1, 1));
        receipts.note(&receipt(&id, "u1", Outcome::Closed));
        assert_eq!((receipts.missing(), receipts.unwanted()), (0, 1));
    }

    #[test]
    fn a_user_who_is_not_there_is_a_session_that_was_lost() {
        let mut receipts = receipts();
        let push_id = receipts.begin();
        let outcome = Outcome::Offline.into();
        receipts.note(&PushReceipt { push_id, outcome, user_id: "u1".into(), session: None });
        assert_eq!(receipts.outcomes, Outcomes::from([("OFFLINE", 1)]));
    }
}
