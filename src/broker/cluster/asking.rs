//! Forwards requests of backends to the other gateways.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::asks::Pending;
use super::survey::{News, Question, Survey};
use super::{Cluster, said};
use crate::broker::local::Pushed;
use crate::broker::{Outcome, Push, Receipt, Subject};
use crate::outbox::Confirm;
use crate::proto::cluster::ask::What;
use crate::proto::cluster::{self, Ask, Kick, List};
use crate::proto::{cluster::said, push};
use crate::registry::Target;

/// For more users than this there is not one question per user, but one to all
/// gateways for all users.
const MANY_USERS: usize = 128;
/// The same if the event, sent once per user, is larger than this in total.
const MUCH_DATA: usize = 4 * 1024 * 1024;
/// Overhead of a message around its question, in bytes, at most.
const ENVELOPE: usize = 64;
/// Bytes for the users in each part of a question, at least.
const MIN_ROOM: usize = 32 * 1024;
/// How long kicks and lists wait for answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// The recipients of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Route {
    /// For each user, the gateways that hold it.
    Users,
    /// All gateways.
    All,
}

impl Route {
    /// The route of a question about a target, with `data` bytes to push to each.
    pub(in crate::broker) fn of(target: &Target, data: usize) -> Self {
        let users = target.named_users().len();
        let is_much = users > MANY_USERS || (users > 1 && users.saturating_mul(data) > MUCH_DATA);
        // Named sessions may be another user's by now, and anywhere.
        if users == 0 || is_much || target.names_sessions() { Self::All } else { Self::Users }
    }
}

/// Not every gateway of the cluster could be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not every gateway of the cluster could be asked; missing: {}", .missing.join(", "))]
pub struct Incomplete {
    /// Gateways, users or sessions with an unknown result, in words.
    pub missing: Vec<String>,
    /// Sessions that were kicked nevertheless.
    pub kicked: usize,
}

/// Pushes in flight: not yet in the outboxes of all gateways.
#[derive(Debug, Clone)]
pub(in crate::broker) struct Flight(Arc<watch::Sender<usize>>);

/// One of them.
#[derive(Debug)]
pub(in crate::broker) struct InFlight(Arc<watch::Sender<usize>>);

impl Default for Flight {
    fn default() -> Self {
        Self(Arc::new(watch::channel(0).0))
    }
}

impl Flight {
    pub(in crate::broker) fn enter(&self) -> InFlight {
        self.0.send_modify(|count| *count += 1);
        InFlight(Arc::clone(&self.0))
    }

    /// Waits until all have arrived.
    pub(in crate::broker) async fn land(&self) {
        let mut count = self.0.subscribe();
        // The sender is here.
        let _landed = count.wait_for(|count| *count == 0).await;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Named users and sessions that are not at this gateway.
#[derive(Default)]
struct Absent {
    users: Vec<Arc<str>>,
    sessions: Vec<Box<str>>,
}

/// A question under way.
pub(in crate::broker) struct Gathering {
    cluster: Arc<Cluster>,
    survey: Survey,
    pending: Pending,
    departures: watch::Receiver<u64>,
    deadline: Instant,
    /// Results that became known while the question was sent.
    first: Vec<News>,
}

impl Cluster {
    /// Pushes to sessions of other gateways. `here`: the result at this gateway.
    /// The receipts come in time for the deadline.
    pub(in crate::broker) fn push(
        self: &Arc<Self>,
        push: &Push,
        here: &mut Pushed,
        in_flight: InFlight,
    ) -> mpsc::UnboundedReceiver<Receipt> {
        let what = What::Push(cluster::Push {
            event: push.event,
            data: push.data.clone(),
            confirm: match push.confirm {
                Confirm::Written => push::Confirm::Written,
                Confirm::Queued => push::Confirm::Queued,
                Confirm::Acknowledged => push::Confirm::Acknowledged,
            }
            .into(),
        });
        let absent = Absent {
            users: std::mem::take(&mut here.absent_users),
            sessions: std::mem::take(&mut here.absent_sessions),
        };
        let mut gathering = self.ask(&push.target, what, push.deadline, absent);
        // At most one per session, and read by the pushing caller.
        let (receipts, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut in_flight = Some(in_flight);
            loop {
                let next = tokio::select! {
                    next = gathering.next() => next,
                    () = receipts.closed() => return,
                };
                if gathering.survey.is_named() {
                    in_flight = None;
                }
                let Some(news) = next else { break };
                for receipt in news.into_iter().filter_map(receipt) {
                    if receipts.send(receipt).is_err() {
                        return;
                    }
                }
            }
            drop(in_flight);
        });
        told
    }

    /// Kicks sessions of other gateways, and returns their number.
    pub(in crate::broker) async fn kick(
        self: &Arc<Self>,
        target: &Target,
        reason: &str,
    ) -> Result<usize, Incomplete> {
        let what = What::Kick(Kick { reason: reason.to_owned() });
        let mut gathering = self.ask(target, what, PATIENCE, Absent::default());
        let (mut kicked, mut missing) = (0, Vec::new());
        while let Some(news) = gathering.next().await {
            for news in news {
                match news {
                    News::Kicked(more) => kicked += more as usize,
                    news => missing.extend(unknown(&news)),
                }
            }
        }
        if missing.is_empty() { Ok(kicked) } else { Err(Incomplete { missing, kicked }) }
    }

    /// Asks for the sessions of other gateways.
    pub(in crate::broker) fn list(self: &Arc<Self>, target: &Target) -> Gathering {
        self.ask(target, What::List(List {}), PATIENCE, Absent::default())
    }

    /// Asks the other gateways. `absent`: named users and sessions that are not here.
    fn ask(
        self: &Arc<Self>,
        target: &Target,
        what: What,
        patience: Duration,
        absent: Absent,
    ) -> Gathering {
        let pending = self.asks.open();
        let departures = self.members.departures();
        let deadline = Instant::now() + patience;
        let ask = Ask {
            target: Some(target.into()),
            asked_at: self.local.registry().clock().now(),
            patience_ms: u32::try_from(patience.as_millis()).unwrap_or(u32::MAX),
            what: Some(what),
        };
        let data = match &ask.what {
            Some(What::Push(push)) => push.data.len(),
            _ => 0,
        };
        let (survey, first) = match Route::of(target, data) {
            Route::Users => self.ask_holders(target, &ask, pending.number, &absent.users),
            Route::All => self.ask_all(ask, pending.number, absent),
        };
        Gathering { cluster: Arc::clone(self), survey, pending, departures, deadline, first }
    }

    /// Asks the holders of each user.
    fn ask_holders(
        &self,
        target: &Target,
        ask: &Ask,
        number: u64,
        absent_users: &[Arc<str>],
    ) -> (Survey, Vec<News>) {
        let users = target.named_users();
        let is_somebody_overdue = self.members.is_somebody_overdue();
        let question = |user: &Arc<str>| {
            // They are sorted, like all names of a target.
            let is_here = absent_users.binary_search(user).is_err();
            let others = self.holders.others(user).nodes.into_iter();
            let known = others.filter_map(|node| Some((node, self.members.name(node)?))).collect();
            Question::user(Arc::clone(user), is_here, known, is_somebody_overdue)
        };
        let mut survey = Survey::new(users.iter().map(question).collect());
        let mut first = Vec::new();
        for (part, user) in (0..).zip(users) {
            let ask = Ask { target: Some((&target.of_user(user)).into()), ..ask.clone() };
            let reply = self.subjects.reply(number, part);
            let message = said(self.node, said::What::Ask(ask));
            if self.link.say(self.subjects.user(user), Some(reply), message) {
                self.counted.asked_holders.inc();
            } else {
                self.counted.unasked.inc();
                first.extend(survey.hear_nothing(part));
            }
        }
        (survey, first)
    }

    /// Asks every gateway: with one question, or where that would be too long for a
    /// message, with several, each about some of the users.
    fn ask_all(&self, ask: Ask, number: u64, absent: Absent) -> (Survey, Vec<News>) {
        let (members, are_known) = (self.members.all(), self.members.are_known());
        let is_nobody_known = members.is_empty();
        let Absent { users, sessions } = absent;
        let parts = split(ask, self.link.max_payload());
        let mut absent_users = users.into_iter().peekable();
        let mut absent_sessions = Some(sessions);
        let questions = parts.iter().map(|part| {
            // Both are sorted: the absent users, and the users of this part.
            let last = part.target.as_ref().and_then(|target| target.user_ids.last());
            let is_of_part =
                |user: &Arc<str>| parts.len() == 1 || last.is_some_and(|last| **user <= **last);
            let users = std::iter::from_fn(|| absent_users.next_if(is_of_part)).collect();
            let sessions = absent_sessions.take().unwrap_or_default();
            Question::everybody(members.clone(), are_known, sessions, users)
        });
        let mut survey = Survey::new(questions.collect());
        let mut first = Vec::new();
        if is_nobody_known && are_known {
            for part in (0..).take(parts.len()) {
                first.extend(survey.hear(part, None, Instant::now(), |_| None));
            }
            return (survey, first);
        }
        for (nth, part) in (0..).zip(parts) {
            let reply = self.subjects.reply(number, nth);
            let message = said(self.node, said::What::Ask(part));
            if self.link.say(self.subjects.all(), Some(reply), message) {
                self.counted.asked_all.inc();
                continue;
            }
            self.counted.unasked.inc();
            first.extend(survey.hear_nothing(nth));
            if is_nobody_known && nth == 0 {
                // Other gateways, though none is known.
                first.push(News::UnknownOthers(if self.link.is_up() {
                    "the other gateways (the message is too long for NATS, or too many wait for it)"
                } else {
                    "the other gateways (no connection to NATS)"
                }));
            }
        }
        (survey, first)
    }
}

/// Questions about some of the users each, where one about all of them, or the
/// answer to it, would be longer than a message may be.
fn split(mut ask: Ask, max_payload: usize) -> Vec<Ask> {
    let Some(target) = &mut ask.target else { return vec![ask] };
    // Where sessions are named as well, which of them are absent has one answer.
    if target.user_ids.is_empty() || !target.session_ids.is_empty() {
        return vec![ask];
    }
    let users = std::mem::take(&mut target.user_ids);
    // Half is left for the other fields of an answer.
    let besides = max_payload.saturating_sub(ask.encoded_len() + ENVELOPE);
    let room = besides.min(max_payload / 2);
    let len_of = |user: &String| user.len() + 6; // with its tag and its length
    if room < MIN_ROOM {
        // The rest of the message is too long already: it cannot be sent.
        ask.target.get_or_insert_default().user_ids = users;
        return vec![ask];
    }
    let part = |user_ids| {
        let mut part = ask.clone();
        part.target.get_or_insert_default().user_ids = user_ids;
        part
    };
    let (mut parts, mut some, mut len) = (Vec::new(), Vec::new(), 0);
    for user in users {
        let more = len_of(&user);
        if len + more > room && !some.is_empty() {
            parts.push(part(std::mem::take(&mut some)));
            len = 0;
        }
        len += more;
        some.push(user);
    }
    parts.push(part(some));
    parts
}

impl Gathering {
    /// The next results; `None`: there are no more.
    ///
    /// # Cancel safety
    ///
    /// May be dropped; nothing is lost.
    pub(in crate::broker) async fn next(&mut self) -> Option<Vec<News>> {
        loop {
            if !self.first.is_empty() {
                return Some(std::mem::take(&mut self.first));
            }
            if self.survey.is_done() {
                return None;
            }
            let passes_at = self.survey.passes_at();
            let passing = async {
                match passes_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let members = &self.cluster.members;
            self.first = tokio::select! {
                biased;
                arrival = self.pending.next() => {
                    // The sender lives as long as `pending`.
                    let arrival = arrival?;
                    let now = Instant::now();
                    self.survey.hear(arrival.part, arrival.answer, now, |node| members.name(node))
                }
                // The sender lives as long as the cluster.
                _departed = self.departures.changed() => {
                    let is_there = |node| members.name(node).is_some();
                    self.survey.lose(is_there, Instant::now())
                }
                () = passing => self.survey.pass(Instant::now()),
                () = sleep_until(self.deadline) => self.survey.give_up(),
            };
        }
    }
}

fn receipt(news: News) -> Option<Receipt> {
    let (outcome, subject) = match news {
        News::Outcome(session, outcome) => (outcome, Subject::Elsewhere(session)),
        News::Offline(user) => (Outcome::Offline, Subject::User(user)),
        News::NoSession(name) => (Outcome::Closed, Subject::NoSession(name)),
        News::UnknownUser(user) => (Outcome::Expired, Subject::User(user)),
        News::UnknownSession(name) => (Outcome::Expired, Subject::NoSession(name)),
        News::UnknownNode(name) => (Outcome::Expired, Subject::Node(name)),
        News::UnknownOthers(who) => (Outcome::Expired, Subject::Node(who.into())),
        News::Session(_) | News::Kicked(_) => return None,
    };
    Some(Receipt { outcome, subject })
}

/// The subject of an unknown result, in words.
pub(in crate::broker) fn unknown(news: &News) -> Option<String> {
    match news {
        News::UnknownUser(user) => Some(format!("user {user}")),
        News::UnknownSession(name) => Some(format!("session {name}")),
        News::UnknownNode(name) => Some(format!("gateway {name}")),
        News::UnknownOthers(who) => Some((*who).to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(users: usize, data: usize) -> Ask {
        let users = (0..users).map(|nth| format!("user-{nth:06}"));
        let push = cluster::Push { data: vec![0; data].into(), ..cluster::Push::default() };
        Ask {
            target: Some((&Target::everyone().users(users).platforms(["ios"])).into()),
            what: Some(What::Push(push)),
            ..Ask::default()
        }
    }

    fn users(ask: &Ask) -> &[String] {
        &ask.target.as_ref().unwrap().user_ids
    }

    #[test]
    fn a_question_that_fits_is_asked_as_it_is() {
        for (count, data) in [(0, 900_000), (1, 900_000), (5_000, 100_000)] {
            let ask = ask(count, data);
            assert_eq!(split(ask.clone(), 1024 * 1024), [ask]);
        }
        let mut of_sessions = ask(100_000, 10);
        of_sessions.target.as_mut().unwrap().session_ids = vec!["s".into()];
        assert_eq!(split(of_sessions.clone(), 1024), [of_sessions]);
    }

    #[test]
    fn a_question_that_is_too_long_is_asked_in_parts() {
        for (count, data) in [(100_000, 10), (20_000, 960 * 1024)] {
            let ask = ask(count, data);
            let parts = split(ask.clone(), 1024 * 1024);
            assert!(parts.len() > 1);
            for part in &parts {
                assert!(part.encoded_len() + ENVELOPE <= 1024 * 1024);
                assert_eq!(part.target.as_ref().unwrap().platforms, ["ios"]);
                assert_eq!(part.what, ask.what);
            }
            let all: Vec<_> = parts.iter().flat_map(users).collect();
            assert!(all.into_iter().eq(users(&ask)));
        }
    }

    #[test]
    fn a_user_too_long_for_any_message_is_asked_about_alone() {
        let mut ask = ask(3, 0);
        ask.target.as_mut().unwrap().user_ids[1] = "x".repeat(1_000_000);
        let parts = split(ask, 1024 * 1024);
        assert_eq!(parts.iter().map(|part| users(part).len()).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn what_cannot_be_said_is_not_cut_into_crumbs() {
        let ask = ask(100_000, 1024 * 1024);
        assert_eq!(split(ask.clone(), 1024 * 1024), [ask]);
    }

    #[test]
    fn much_data_for_several_users_is_said_once() {
        let target = |users: usize| Target::everyone().users((0..users).map(|n| n.to_string()));
        assert_eq!(Route::of(&target(1), usize::MAX), Route::Users);
        assert_eq!(Route::of(&target(128), 1024), Route::Users);
        assert_eq!(Route::of(&target(128), 960 * 1024), Route::All);
        assert_eq!(Route::of(&target(129), 0), Route::All);
    }
}
