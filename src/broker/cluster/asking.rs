//! What backends ask of this gateway is asked of the others as well.

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

/// More users than these are not asked for one by one, but all gateways for
/// all of them.
const MANY_USERS: usize = 128;
/// What is around a question in a message, in bytes, at most.
const ENVELOPE: usize = 64;
/// How long kicks and lists wait for answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// To whom a question goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Route {
    /// For each user to those that hold it.
    Users,
    /// To all.
    All,
}

impl Route {
    /// Where a question about a target goes.
    pub(in crate::broker) fn of(target: &Target) -> Self {
        let users = target.named_users().len();
        // Named sessions may be another user's by now, and anywhere.
        if users == 0 || users > MANY_USERS || target.names_sessions() {
            Self::All
        } else {
            Self::Users
        }
    }
}

/// Not every gateway of the cluster could be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not every gateway of the cluster could be asked; missing: {}", .missing.join(", "))]
pub struct Incomplete {
    /// Gateways, users or sessions of which it is not known, in words.
    pub missing: Vec<String>,
    /// What was done all the same: sessions that were kicked.
    pub kicked: usize,
}

/// Pushes that are not yet where they are going: in the outboxes of all
/// gateways.
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

/// Those named that are not at this gateway.
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
    /// What became known while the question was asked.
    first: Vec<News>,
}

impl Cluster {
    /// Pushes to sessions of other gateways. `here`: what became of it here.
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
        // As many as there are sessions, and read by who pushed.
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

    /// Kicks sessions of other gateways, and says how many.
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

    /// Asks others. `absent`: those named that are not here.
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
        let (survey, first) = match Route::of(target) {
            Route::Users => self.ask_holders(target, &ask, pending.number, &absent.users),
            Route::All => {
                let can_be_split = !target.named_users().is_empty() && !target.names_sessions();
                if can_be_split && self.is_too_long(&ask) {
                    self.ask_holders(target, &ask, pending.number, &absent.users)
                } else {
                    self.ask_all(ask, pending.number, absent)
                }
            }
        };
        Gathering { cluster: Arc::clone(self), survey, pending, departures, deadline, first }
    }

    fn is_too_long(&self, ask: &Ask) -> bool {
        ask.encoded_len() + ENVELOPE > self.link.max_payload()
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
            // They are sorted, as all that is named is.
            let is_here = absent_users.binary_search(user).is_err();
            Question::user(Arc::clone(user), is_here, is_somebody_overdue)
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

    /// Asks every gateway.
    fn ask_all(&self, ask: Ask, number: u64, absent: Absent) -> (Survey, Vec<News>) {
        let (members, are_known) = (self.members.all(), self.members.are_known());
        let is_nobody_known = members.is_empty();
        let Absent { users, sessions } = absent;
        let mut survey =
            Survey::new(vec![Question::everybody(members, are_known, sessions, users)]);
        if is_nobody_known && are_known {
            let first = survey.hear(0, None, Instant::now(), |_| None);
            return (survey, first);
        }
        let reply = self.subjects.reply(number, 0);
        let message = said(self.node, said::What::Ask(ask));
        if self.link.say(self.subjects.all(), Some(reply), message) {
            self.counted.asked_all.inc();
            return (survey, Vec::new());
        }
        self.counted.unasked.inc();
        let mut first = survey.hear_nothing(0);
        if is_nobody_known {
            // Whoever they are.
            first.push(News::UnknownNode("others: no connection to NATS".into()));
        }
        (survey, first)
    }
}

impl Gathering {
    /// What becomes known next; `None`: nothing more.
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
                    // The sender lives as long as what is pending.
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
        News::Session(_) | News::Kicked(_) => return None,
    };
    Some(Receipt { outcome, subject })
}

/// What is not known, in words.
pub(in crate::broker) fn unknown(news: &News) -> Option<String> {
    match news {
        News::UnknownUser(user) => Some(format!("user {user}")),
        News::UnknownSession(name) => Some(format!("session {name}")),
        News::UnknownNode(name) => Some(format!("gateway {name}")),
        _ => None,
    }
}
