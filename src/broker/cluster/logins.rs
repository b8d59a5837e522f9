//! The users of this gateway: announcing them to the other gateways, and knowing
//! which of those hold the same users.
//!
//! A gateway listens under a subject for each of its users, so a push travels
//! only to gateways that hold the user. Every login is announced under that
//! subject:
//! - the other gateways that hold the user close the sessions that it replaces,
//!   and say so if they have a newer one;
//! - they learn that the user is here as well, and tell this gateway about
//!   themselves. So each can name the others to an asker.
//!
//! All changes of a user's holders are announced under the user's subject, in
//! the order in which they happened: the table stays locked meanwhile. Otherwise
//! a gateway that gives way to a login could be thought to hold the user still,
//! because its "I do too" came behind its goodbye.
//!
//! A login is announced again after a while: interest takes its time between the
//! servers of a NATS cluster, and two gateways that begin to listen at the same
//! moment must not miss each other.
//!
//! A gateway begins to listen before the login is answered ([`Expected`]): a
//! client that has its answer can be reached from every gateway.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::asks::Arrival;
use super::holders::{Holder, SETTLED};
use super::listening::Listening;
use super::{Cluster, said};
use crate::proto::cluster::{Answer, Holds, Left, Login, said::What};
use crate::registry::{Behind, Change, Elsewhere, Event, Presence, Target, Watch};

/// Logins announced in one go, and the pause before the next ones: it leaves
/// room in NATS and its queue for other messages.
const BATCH: usize = 256;
const PAUSE: Duration = Duration::from_millis(2);
/// How long a login waits for NATS.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long to listen for an expected user that may be here by now.
const LINGER: Duration = Duration::from_secs(1);

/// Keeps the gateway listening for a user until shortly after it is dropped.
pub struct Expected {
    cluster: Arc<Cluster>,
    user: Arc<str>,
}

impl Drop for Expected {
    fn drop(&mut self) {
        let (cluster, user) = (Arc::clone(&self.cluster), Arc::clone(&self.user));
        self.cluster.runtime.spawn(async move {
            // By then its session is known to be here, if there is one.
            sleep(LINGER).await;
            cluster.change(&user, |holder| holder.expected = holder.expected.saturating_sub(1));
        });
    }
}

impl Cluster {
    /// Follows the sessions of this gateway, whenever there is a connection.
    pub(super) async fn follow_sessions(self: Arc<Self>) {
        let mut up = self.link.follow();
        loop {
            if up.wait_for(|is_up| *is_up).await.is_err() {
                return;
            }
            let lost = async {
                // An error means that the link is gone: lost as well.
                let _lost = up.wait_for(|is_up| !*is_up).await;
            };
            tokio::select! {
                Behind = self.follow_until_behind() => {}
                () = self.begin_again.notified() => {}
                () = lost => {}
            }
        }
    }

    async fn follow_until_behind(self: &Arc<Self>) -> Behind {
        let (present, mut watch) = self.local.registry().watch(Target::everyone());
        let mut logins = self.begin_with(present).await;
        loop {
            match self.next(&mut watch, &mut logins).await {
                Ok(event) => self.follow(&event, &mut logins),
                Err(behind) => return behind,
            }
        }
    }

    /// The next event. Announces logins again meanwhile.
    async fn next(
        &self,
        watch: &mut Watch,
        logins: &mut VecDeque<(Instant, Arc<Presence>)>,
    ) -> Result<Event, Behind> {
        loop {
            let Some((at, _)) = logins.front() else { return watch.next().await };
            tokio::select! {
                event = watch.next() => return event,
                () = sleep_until(*at) => {}
            }
            if let Some((_, presence)) = logins.pop_front()
                && self.is_still_here(&presence)
                && !self.say_login(&presence)
            {
                logins.push_back((Instant::now() + SETTLED, presence));
            }
        }
    }

    fn is_still_here(&self, presence: &Arc<Presence>) -> bool {
        let known = self.local.registry().still_selected(&Target::everyone(), presence.session_id);
        known.is_some_and(|known| Arc::ptr_eq(&known, presence))
    }

    fn follow(self: &Arc<Self>, event: &Event, logins: &mut VecDeque<(Instant, Arc<Presence>)>) {
        let presence = &event.presence;
        match event.change {
            Change::Connected => {
                self.came(&presence.user_id);
                self.say_login(presence);
                logins.push_back((Instant::now() + SETTLED, Arc::clone(presence)));
            }
            Change::Disconnected { .. } => self.went(&presence.user_id),
        }
    }

    /// Compares the known holders with the present sessions, and announces every
    /// login again: not every gateway has heard them. Returns the logins to be
    /// announced once more: NATS may not have known all users yet.
    async fn begin_with(
        self: &Arc<Self>,
        present: Vec<Arc<Presence>>,
    ) -> VecDeque<(Instant, Arc<Presence>)> {
        for holder in self.holders.users.lock().values_mut() {
            holder.sessions = 0;
            // Departures meanwhile were not heard; gateways still there will say so.
            holder.others = Vec::new();
            holder.is_alone = false;
            holder.since = Instant::now();
        }
        for presence in &present {
            self.came(&presence.user_id);
        }
        self.holders.users.lock().retain(|user, holder| {
            let is_here = holder.sessions + holder.expected > 0;
            if !is_here {
                holder.listening.abort();
                self.say_left(user);
            }
            is_here
        });
        let mut again = VecDeque::with_capacity(present.len());
        for batch in present.chunks(BATCH) {
            for presence in batch {
                self.say_login(presence);
                again.push_back((Instant::now() + SETTLED, Arc::clone(presence)));
            }
            sleep(PAUSE).await;
        }
        again
    }

    /// A login of a user is about to be answered: begins to listen, if there is
    /// a connection, and waits until NATS knows, but not for long.
    ///
    /// # Cancel safety
    ///
    /// May be dropped; then the user is not expected.
    pub async fn expect(self: &Arc<Self>, user: &str) -> Option<Expected> {
        if !self.link.is_up() {
            return None;
        }
        let user: Arc<str> = user.into();
        let (tell, heard) = oneshot::channel();
        let is_heard = self.hold(&user, |holder| {
            holder.expected += 1;
            if !holder.is_heard {
                holder.waiting.push(tell);
            }
            holder.is_heard
        });
        let expected = Expected { cluster: Arc::clone(self), user };
        if !is_heard {
            // Without NATS a login is as good as with it.
            let _in_time = timeout(PATIENCE, heard).await;
        }
        Some(expected)
    }

    /// Changes the holder of a user. From now on the gateway listens for the user.
    fn hold<T>(self: &Arc<Self>, user: &Arc<str>, change: impl FnOnce(&mut Holder) -> T) -> T {
        let mut users = self.holders.users.lock();
        let holder = users.entry(Arc::clone(user)).or_insert_with(|| {
            let listening = Arc::clone(self).listen_for(Arc::clone(user));
            Holder {
                sessions: 0,
                expected: 0,
                since: Instant::now(),
                is_heard: false,
                is_alone: false,
                waiting: Vec::new(),
                others: Vec::new(),
                listening: self.runtime.spawn(listening).abort_handle(),
            }
        });
        change(holder)
    }

    /// Receives the messages about a user.
    async fn listen_for(self: Arc<Self>, user: Arc<str>) {
        let subject = self.subjects.user(&user);
        let Some(subscriber) = self.link.listen(subject.clone()).await else { return };
        let mut heard = Listening::new(subscriber, &self, &user);
        // Sent after the subscription: with an answer to it, NATS has both.
        let mut first = self.asks.open();
        let mut say_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                // Again, where it was lost with a connection.
                () = sleep_until(say_at) => {
                    let holds = Holds { user_id: user.to_string() };
                    let reply = self.subjects.reply(first.number, 0);
                    let holds = said(self.node, What::Holds(holds));
                    self.link.say(subject.clone(), Some(reply), holds);
                    say_at = Instant::now() + SETTLED;
                }
                message = heard.next() => match message {
                    // Boxed: it takes room while there is something to hear only.
                    Some(message) => Box::pin(self.hear_of_user(&user, message)).await,
                    None => return,
                },
                // Answering gateways have named themselves under the user's subject.
                Some(Arrival { answer, .. }) = first.next() => {
                    self.holders.heard(&user, answer.is_none());
                    break;
                }
            }
        }
        drop(first);
        let (cluster, user) = (Arc::downgrade(&self), user);
        drop(self);
        while let Some(message) = heard.next().await {
            let Some(cluster) = cluster.upgrade() else { return };
            Box::pin(cluster.hear_of_user(&user, message)).await;
        }
    }

    /// Another gateway holds a user as well; with a reply subject it asks for the
    /// other holders, and whether it is heard.
    pub(super) fn hear_holds(&self, node: u64, user: &str, reply: Option<async_nats::Subject>) {
        let Some(reply) = reply else { return self.holders.add(user, node, || {}) };
        self.holders.add(user, node, || self.say_holds(user));
        let answer = Answer { node: self.node, is_last: true, ..Answer::default() };
        self.link.say(reply, None, answer.encode_to_vec().into());
    }

    fn say_holds(&self, user: &str) {
        let holds = Holds { user_id: user.to_owned() };
        self.say(self.subjects.user(user), What::Holds(holds));
    }

    /// A session of a user has come.
    fn came(self: &Arc<Self>, user: &Arc<str>) {
        self.hold(user, |holder| holder.sessions += 1);
    }

    /// A session of a user has gone.
    fn went(&self, user: &Arc<str>) {
        self.change(user, |holder| holder.sessions = holder.sessions.saturating_sub(1));
    }

    fn change(&self, user: &str, change: impl FnOnce(&mut Holder)) {
        self.holders.change(user, change, || self.say_left(user));
    }

    fn say_left(&self, user: &str) {
        let left = Left { user_id: user.to_owned() };
        self.say(self.subjects.user(user), What::Left(left));
    }

    /// `false`: it was not sent.
    fn say_login(&self, presence: &Presence) -> bool {
        let login = Login {
            user_id: presence.user_id.to_string(),
            session_id: presence.session_id.to_text(),
            platform: presence.platform.to_string(),
            device_id: presence.device_id.to_string(),
            generation: presence.generation,
        };
        self.say(self.subjects.user(&presence.user_id), What::Login(login))
    }

    /// A user of this gateway has logged in at another one.
    pub(super) fn hear_login(&self, node: u64, login: &Login) {
        self.counted.logins.inc();
        self.holders.add(&login.user_id, node, || self.say_holds(&login.user_id));
        self.local.registry().clock().hear(login.generation);
        let newer = self.local.registry().give_way(&Elsewhere {
            user_id: &login.user_id,
            platform: &login.platform,
            device_id: &login.device_id,
            generation: login.generation,
            wins_ties: node > self.node,
        });
        for presence in newer {
            self.say_login(&presence);
        }
    }
}
