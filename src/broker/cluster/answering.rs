//! Handles requests of other gateways like those of this gateway's own backends.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_nats::Subject;
use bytes::Bytes;
use prost::Message as _;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Cluster, outcomes};
use crate::broker::local::Pushed;
use crate::broker::receipts::Settling;
use crate::broker::{Outcome, Push, told};
use crate::outbox::Confirm;
use crate::proto::cluster::ask::What;
use crate::proto::cluster::{Answer, Ask, Push as Pushing};
use crate::proto::push;
use crate::registry::{Presence, Target};

/// Encoded sessions in one answer, in bytes, more or less.
const MAX_SESSIONS: usize = 128 * 1024;
/// Outcomes in one answer.
const MAX_OUTCOMES: usize = 16 * 1024;
/// For so few sessions, outcomes are sent together with the names, if they are
/// known soon.
const FEW: usize = 8;
const SOON: Duration = Duration::from_millis(2);
/// No gateway asks with less patience than this. A request that is older than
/// its patience is not carried out any more.
const MIN_PATIENCE: Duration = Duration::from_secs(5);

/// The answers to one question.
struct Answers {
    cluster: Arc<Cluster>,
    reply: Subject,
    number: u32,
}

impl Cluster {
    /// Carries out a question. It is done when this returns; the outcomes of a push
    /// are sent meanwhile and later. `user`: the question is about a user that is
    /// thought to be here.
    pub(super) async fn answer(
        self: &Arc<Self>,
        asker: u64,
        ask: Ask,
        user: Option<&Arc<str>>,
        reply: Option<Subject>,
    ) {
        // A question for everyone has an explicit target, too.
        let (Some(reply), Some(what), Some(target)) = (reply, ask.what, ask.target) else { return };
        let patience = Duration::from_millis(ask.patience_ms.into());
        let age = self.local.registry().clock().now().saturating_sub(ask.asked_at);
        if Duration::from_micros(age) > patience.max(MIN_PATIENCE) {
            tracing::warn!(?age, "what another gateway asks comes too late");
            return;
        }
        let target = Target::from(target);
        let mut answers = Answers { cluster: Arc::clone(self), reply, number: 0 };
        match what {
            What::Push(push) => {
                let Some(push) = pushed(push, target, patience) else { return };
                let deadline = Instant::now() + push.deadline;
                let pushed = self.local.push(&push).await;
                let first = self.first(asker, user, &pushed);
                // Answered in a task, so that the next question does not wait.
                tokio::spawn(answers.of_push(first, pushed, deadline));
            }
            What::Kick(kick) => {
                let kicked = self.local.kick(&target, &kick.reason);
                let kicked = u32::try_from(kicked).unwrap_or(u32::MAX);
                answers.send(Answer {
                    kicked,
                    is_named: true,
                    is_last: true,
                    ..self.about(asker, user)
                });
            }
            What::List(_) => {
                let sessions = self.local.list(&target);
                let first = self.about(asker, user);
                let mut last = answers.name(first, &sessions).await;
                last.is_last = true;
                answers.send(last);
            }
        }
    }

    /// The known holders of a user besides this gateway and the asker.
    fn about(&self, asker: u64, user: Option<&Arc<str>>) -> Answer {
        let Some(user) = user else { return Answer::default() };
        let mut others = self.holders.others(user);
        others.nodes.retain(|node| *node != asker);
        Answer { co_holders: others.nodes, is_unsettled: others.is_unsettled, ..Answer::default() }
    }

    fn first(&self, asker: u64, user: Option<&Arc<str>>, pushed: &Pushed) -> Answer {
        let absent_users = match user {
            Some(_) => Vec::new(),
            None => pushed.absent_users.iter().map(ToString::to_string).collect(),
        };
        Answer {
            is_user_here: user.is_some_and(|user| !pushed.absent_users.contains(user)),
            absent_users,
            absent_sessions: pushed.absent_sessions.iter().map(ToString::to_string).collect(),
            ..self.about(asker, user)
        }
    }
}

fn pushed(push: Pushing, target: Target, deadline: Duration) -> Option<Push> {
    let confirm = match push::Confirm::try_from(push.confirm) {
        Ok(push::Confirm::Written) => Confirm::Written,
        Ok(push::Confirm::Queued) => Confirm::Queued,
        Ok(push::Confirm::Acknowledged) => Confirm::Acknowledged,
        // From a later version; its asker will notice that no answer comes.
        Err(_) => return None,
    };
    Some(Push { target, event: push.event, data: push.data, confirm, deadline })
}

impl Answers {
    fn send(&mut self, mut answer: Answer) {
        answer.node = self.cluster.node;
        answer.name = self.cluster.local.node().to_string();
        answer.number = self.number;
        self.number += 1;
        self.cluster.counted.answers.inc();
        self.cluster.link.say(self.reply.clone(), None, answer.encode_to_vec().into());
    }

    /// Names sessions, and returns the last part of them, which is not sent yet.
    async fn name(&mut self, first: Answer, sessions: &[Arc<Presence>]) -> Answer {
        // Includes the names of absent users and sessions.
        let mut len = first.encoded_len();
        let mut answer = first;
        for presence in sessions {
            if len > MAX_SESSIONS {
                self.send(std::mem::take(&mut answer));
                len = 0;
                tokio::task::yield_now().await;
            }
            let session: Bytes = told::encoded_session(presence, self.cluster.local.node());
            len += session.len();
            answer.sessions.push(session);
        }
        answer.is_named = true;
        answer
    }

    async fn of_push(mut self, first: Answer, pushed: Pushed, deadline: Instant) {
        let mut settling = pushed.settling;
        let sessions = Arc::clone(settling.sessions());
        let mut answer = self.name(first, &sessions).await;
        let mut early = None;
        if (1..=FEW).contains(&sessions.len()) {
            early = timeout(SOON, settling.next()).await.ok().flatten();
        }
        if early.is_none() && settling.len() > 0 {
            self.send(std::mem::take(&mut answer));
        }
        let mut next = early;
        loop {
            while let Some((slot, outcome)) = next {
                answer.outcomes.push(outcomes::pack(slot, outcome));
                next = if answer.outcomes.len() < MAX_OUTCOMES {
                    known(&mut settling).await
                } else {
                    None
                };
            }
            answer.is_last = settling.len() == 0;
            let is_last = answer.is_last;
            if is_last || !answer.outcomes.is_empty() || answer.is_named {
                self.send(std::mem::take(&mut answer));
            }
            if is_last {
                return;
            }
            next = tokio::select! {
                next = settling.next() => next,
                // The asker knows the deadline as well.
                () = sleep_until(deadline) => return,
            };
        }
    }
}

/// The next outcome, if it is known by now.
async fn known(settling: &mut Settling) -> Option<(u32, Outcome)> {
    std::future::poll_fn(|cx| match settling.poll_next(cx) {
        Poll::Ready(next) => Poll::Ready(next),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
