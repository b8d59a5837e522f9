//! Keeps track of a question: answers, missing answers, and results.
//!
//! NATS does not report the number of a message's receivers. So how does the
//! asker know that all have answered?
//!
//! - Without any listener, NATS says so at once.
//! - **A question about a user** goes to the gateways that hold the user. Each
//!   answer names the other holders that its gateway knows from the logins that
//!   it has heard ([`holders`](super::holders)), and these are waited for. A
//!   gateway to which the user has only just come may not know all of them: then
//!   a short silence is waited for as well.
//! - **A question about everybody** goes to all gateways. The
//!   [members](super::members) are waited for.
//! - A gateway that is lost is not waited for any longer, and neither is one
//!   whose messages were lost, nor any at the deadline. Their missing results are
//!   reported as unknown, never as anything else.
//!
//! No I/O and no clock here: a [`Survey`] gets the events and their times.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::outcomes;
use crate::broker::Outcome;
use crate::proto::cluster::Answer;

/// After such a silence no further answer is expected, where not all holders are
/// known.
const SILENCE: Duration = Duration::from_millis(100);

/// A result of a survey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker) enum News {
    /// A session that was selected: an encoded `bridgehead.push.v1.Session`.
    Session(Bytes),
    /// The outcome of a push to one of them.
    Outcome(Bytes, Outcome),
    /// A user without a session at any other gateway.
    Offline(Arc<str>),
    /// A session, by its name, that is at no other gateway.
    NoSession(Box<str>),
    /// So many were kicked.
    Kicked(u32),
    /// Not all can be known about a user.
    UnknownUser(Arc<str>),
    /// A session, by its name, that may be somewhere.
    UnknownSession(Box<str>),
    /// It cannot be known which sessions a gateway has.
    UnknownNode(Arc<str>),
    /// No other gateway could be asked, and none is known: the reason, in words.
    UnknownOthers(&'static str),
}

/// A present gateway: its number and its name.
pub(super) type Member = (u64, Arc<str>);

/// All questions that are asked at once.
pub(super) struct Survey {
    questions: Vec<Question>,
}

/// A part of a survey: about one user or about everybody.
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub(super) struct Question {
    about: About,
    /// Gateways that have not named all of their sessions yet.
    awaited: Vec<Member>,
    heard: Vec<Heard>,
    /// Not all answering gateways may be known.
    is_unsettled: bool,
    is_user_elsewhere: bool,
    /// An answer of a gateway was lost.
    is_doubtful: bool,
    /// If no answer has the user, the user may be somewhere nevertheless: a gateway
    /// has not been heard for a while, or has gone before the first answer.
    may_be_missed: bool,
    /// A gateway has not been heard for a while: where the answering gateways may
    /// not know all holders, it may be one of them.
    is_somebody_overdue: bool,
    last_heard: Option<Instant>,
    /// All sessions of all gateways have been named.
    is_named: bool,
}

/// The subject of a question.
pub(super) enum About {
    /// A user that may be at this gateway as well.
    User {
        /// The user.
        user: Arc<str>,
        /// This gateway has, or excepts, sessions of the user.
        is_here: bool,
    },
    /// Everybody.
    Everybody {
        /// Named sessions that are not here.
        absent_sessions: Vec<Box<str>>,
        /// Named users that are not here.
        absent_users: Vec<Arc<str>>,
    },
}

/// The answers of one gateway.
struct Heard {
    node: u64,
    name: Arc<str>,
    /// The number of its next answer.
    next: u32,
    /// Its sessions; `None`: its outcome was reported.
    sessions: Vec<Option<Bytes>>,
    is_named: bool,
    is_last: bool,
}

impl Question {
    /// Goes to the holders of a user; `awaited` are the known ones.
    /// `is_somebody_overdue`: a gateway that cannot be asked may be one, too.
    pub(super) fn user(
        user: Arc<str>,
        is_here: bool,
        awaited: Vec<Member>,
        is_somebody_overdue: bool,
    ) -> Self {
        let question = Self::new(About::User { user, is_here }, awaited, false);
        Self { may_be_missed: is_somebody_overdue, is_somebody_overdue, ..question }
    }

    /// Goes to all gateways; `members` are the known ones, perhaps not all.
    pub(super) fn everybody(
        members: Vec<Member>,
        are_known: bool,
        absent_sessions: Vec<Box<str>>,
        absent_users: Vec<Arc<str>>,
    ) -> Self {
        Self::new(About::Everybody { absent_sessions, absent_users }, members, !are_known)
    }

    fn new(about: About, awaited: Vec<Member>, is_unsettled: bool) -> Self {
        Self {
            about,
            awaited,
            heard: Vec::new(),
            is_unsettled,
            is_user_elsewhere: false,
            is_doubtful: false,
            may_be_missed: false,
            is_somebody_overdue: false,
            last_heard: None,
            is_named: false,
        }
    }

    fn is_done(&self) -> bool {
        self.is_named && self.heard.iter().all(|heard| heard.is_last)
    }

    fn hear(
        &mut self,
        answer: Answer,
        now: Instant,
        member: impl Fn(u64) -> Option<Arc<str>>,
        news: &mut Vec<News>,
    ) {
        self.last_heard = Some(now);
        let known = self.heard.iter().position(|heard| heard.node == answer.node);
        let at = known.unwrap_or_else(|| {
            self.heard.push(Heard::new(answer.node, &answer.name));
            self.heard.len() - 1
        });
        let heard = &mut self.heard[at];
        if heard.is_last {
            return;
        }
        if heard.next != answer.number {
            self.lose(answer.node, news);
            return;
        }
        heard.next += 1;
        for session in answer.sessions {
            news.push(News::Session(session.clone()));
            heard.sessions.push(Some(session));
        }
        heard.is_named |= answer.is_named;
        heard.is_last = answer.is_last;
        for told in answer.outcomes {
            let (slot, Some(outcome)) = outcomes::unpack(told) else { continue };
            if let Some(session) = heard.sessions.get_mut(slot).and_then(Option::take) {
                news.push(News::Outcome(session, outcome));
            }
        }
        if answer.kicked > 0 {
            news.push(News::Kicked(answer.kicked));
        }
        if heard.is_named {
            self.awaited.retain(|(node, _)| *node != answer.node);
        }
        if let About::Everybody { absent_sessions, absent_users } = &mut self.about
            && answer.number == 0
        {
            // There may be very many of them.
            let not_there: HashSet<&str> =
                answer.absent_sessions.iter().map(String::as_str).collect();
            absent_sessions.retain(|name| not_there.contains(&**name));
            let not_there: HashSet<&str> = answer.absent_users.iter().map(String::as_str).collect();
            absent_users.retain(|user| not_there.contains(&**user));
        }
        self.is_user_elsewhere |= answer.is_user_here;
        self.is_unsettled |= answer.is_unsettled;
        self.is_doubtful |= answer.is_unsettled && self.is_somebody_overdue;
        for node in answer.co_holders {
            let is_known = self.awaited.iter().any(|(known, _)| *known == node)
                || self.heard.iter().any(|heard| heard.node == node && heard.is_named);
            match member(node) {
                _ if is_known => {}
                Some(name) => self.awaited.push((node, name)),
                // The answering gateway does not know yet that it has gone.
                None => self.is_doubtful = true,
            }
        }
    }

    /// There are no listeners.
    fn hear_nobody(&mut self, news: &mut Vec<News>) {
        for (_, name) in std::mem::take(&mut self.awaited) {
            self.doubt(name, news);
        }
        self.name_all(news);
    }

    /// Nothing more is expected of a gateway.
    fn lose(&mut self, node: u64, news: &mut Vec<News>) {
        let mut unknown = None;
        if let Some(at) = self.awaited.iter().position(|(awaited, _)| *awaited == node) {
            unknown = Some(self.awaited.remove(at).1);
        }
        if let Some(heard) = self.heard.iter_mut().find(|heard| heard.node == node)
            && !heard.is_last
        {
            heard.is_last = true;
            let untold = heard.sessions.iter_mut().filter_map(Option::take);
            news.extend(untold.map(|session| News::Outcome(session, Outcome::Expired)));
            if !std::mem::replace(&mut heard.is_named, true) {
                unknown = Some(Arc::clone(&heard.name));
            }
        }
        if let Some(name) = unknown {
            self.doubt(name, news);
        }
    }

    fn doubt(&mut self, name: Arc<str>, news: &mut Vec<News>) {
        self.is_doubtful = true;
        if let About::Everybody { .. } = self.about {
            news.push(News::UnknownNode(name));
        }
    }

    /// When a silence will have been long enough.
    fn silent_at(&self) -> Option<Instant> {
        self.last_heard.map(|heard| heard + SILENCE)
    }

    /// Sees whether all sessions have been named.
    fn settle(&mut self, now: Instant, news: &mut Vec<News>) {
        let is_over = match self.silent_at() {
            // No answer yet: one will come, or NATS reports that there is no listener.
            None => false,
            Some(silent) => !self.is_unsettled || now >= silent,
        };
        let are_named = self.heard.iter().all(|heard| heard.is_named);
        if is_over && are_named && self.awaited.is_empty() {
            self.name_all(news);
        }
    }

    fn name_all(&mut self, news: &mut Vec<News>) {
        if std::mem::replace(&mut self.is_named, true) {
            return;
        }
        match &mut self.about {
            About::User { user, .. } if self.is_doubtful => {
                news.push(News::UnknownUser(Arc::clone(user)));
            }
            About::User { user, is_here } if !*is_here && !self.is_user_elsewhere => {
                let kind = if self.may_be_missed { News::UnknownUser } else { News::Offline };
                news.push(kind(Arc::clone(user)));
            }
            About::User { .. } => {}
            About::Everybody { absent_sessions, absent_users } => {
                let (session, user): (fn(_) -> _, fn(_) -> _) = if self.is_doubtful {
                    (News::UnknownSession, News::UnknownUser)
                } else {
                    (News::NoSession, News::Offline)
                };
                news.extend(std::mem::take(absent_sessions).into_iter().map(session));
                news.extend(std::mem::take(absent_users).into_iter().map(user));
            }
        }
    }

    fn give_up(&mut self, news: &mut Vec<News>) {
        if !self.is_named {
            self.is_doubtful |= self.last_heard.is_none();
        }
        let mut nodes: Vec<u64> = self.awaited.iter().map(|(node, _)| *node).collect();
        nodes.extend(self.heard.iter().map(|heard| heard.node));
        for node in nodes {
            self.lose(node, news);
        }
        self.name_all(news);
    }
}

impl Heard {
    fn new(node: u64, name: &str) -> Self {
        let (sessions, name) = (Vec::new(), name.into());
        Self { node, name, next: 0, sessions, is_named: false, is_last: false }
    }
}

impl Survey {
    pub(super) fn new(questions: Vec<Question>) -> Self {
        Self { questions }
    }

    /// Whether all sessions of all gateways have been named.
    pub(super) fn is_named(&self) -> bool {
        self.questions.iter().all(|question| question.is_named)
    }

    /// Whether nothing more is to come.
    pub(super) fn is_done(&self) -> bool {
        self.questions.iter().all(Question::is_done)
    }

    /// An answer to a part of the question; `None`: there are no listeners.
    /// `member` returns the name of a present gateway.
    pub(super) fn hear(
        &mut self,
        part: u32,
        answer: Option<Answer>,
        now: Instant,
        member: impl Fn(u64) -> Option<Arc<str>>,
    ) -> Vec<News> {
        let mut news = Vec::new();
        if let Some(question) = self.questions.get_mut(part as usize) {
            match answer {
                Some(answer) => question.hear(answer, now, member, &mut news),
                None => question.hear_nobody(&mut news),
            }
            question.settle(now, &mut news);
        }
        news
    }

    /// A part of the question could not be asked.
    pub(super) fn hear_nothing(&mut self, part: u32) -> Vec<News> {
        let mut news = Vec::new();
        if let Some(question) = self.questions.get_mut(part as usize) {
            question.give_up(&mut news);
        }
        news
    }

    /// Gateways are not there any more: nothing more is expected of them.
    pub(super) fn lose(&mut self, is_there: impl Fn(u64) -> bool, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        for question in &mut self.questions {
            let awaited = question.awaited.iter().map(|(node, _)| *node);
            let mut lost: Vec<u64> = awaited.filter(|node| !is_there(*node)).collect();
            let untold = question.heard.iter().filter(|heard| !heard.is_last);
            lost.extend(untold.map(|heard| heard.node).filter(|node| !is_there(*node)));
            if lost.is_empty() && question.last_heard.is_some() {
                continue;
            }
            for node in lost {
                question.lose(node, &mut news);
            }
            if question.last_heard.is_none() {
                // Perhaps no other answer will come.
                question.is_unsettled = true;
                question.may_be_missed = true;
                question.last_heard = Some(now);
            }
            question.settle(now, &mut news);
        }
        news
    }

    /// When to [pass the time](Self::pass) next, if nothing is heard before.
    pub(super) fn passes_at(&self) -> Option<Instant> {
        let waiting = |question: &&Question| !question.is_named && question.is_unsettled;
        self.questions.iter().filter(waiting).filter_map(Question::silent_at).min()
    }

    /// Time has passed.
    pub(super) fn pass(&mut self, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        let unnamed = self.questions.iter_mut().filter(|question| !question.is_named);
        unnamed.for_each(|question| question.settle(now, &mut news));
        news
    }

    /// The deadline has come.
    pub(super) fn give_up(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        self.questions.iter_mut().for_each(|question| question.give_up(&mut news));
        news
    }
}

#[cfg(test)]
mod tests;
