//! Which users are here, what other gateways know of it, and which of them hold
//! the same users.
//!
//! A gateway listens under a subject for each of its users, so a push travels
//! only to gateways that hold the user. Every login is said under that subject:
//! - the other gateways that hold the user close the sessions that it replaces,
//!   and say so if they have a newer one;
//! - they learn that the user is here as well, and tell this gateway about
//!   themselves. So each can name the others to whoever asks.
//!
//! A login is said again after a while: interest takes its time between the
//! servers of a NATS cluster, and two gateways that begin to listen at the same
//! moment must not miss each other.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::Cluster;
use crate::proto::cluster::{Holds, Left, Login, said::What};
use crate::registry::{Behind, Change, Elsewhere, Event, Presence, Target, Watch};

/// After this a login is said again, and from then on a holder knows the others.
const SETTLED: Duration = Duration::from_secs(2);
/// Users that are looked at in one go.
const BATCH: usize = 256;

/// The users that are here.
#[derive(Default)]
pub(super) struct Holders {
    users: Mutex<HashMap<Arc<str>, Holder>>,
}

struct Holder {
    sessions: usize,
    since: Instant,
    /// Other gateways that have said that they hold the user.
    others: Vec<u64>,
    listening: AbortHandle,
}

/// What is known about the other holders of a user.
pub(super) struct Others {
    /// Who they are.
    pub(super) nodes: Vec<u64>,
    /// There may be others.
    pub(super) is_unsettled: bool,
}

impl Holders {
    /// The other gateways that hold a user.
    pub(super) fn others(&self, user: &str) -> Others {
        let users = self.users.lock();
        users.get(user).map_or(Others { nodes: Vec::new(), is_unsettled: false }, |holder| Others {
            nodes: holder.others.clone(),
            is_unsettled: holder.since.elapsed() < SETTLED,
        })
    }

    /// Another gateway holds a user. `true`: so does this one.
    pub(super) fn add(&self, user: &str, node: u64) -> bool {
        let mut users = self.users.lock();
        let Some(holder) = users.get_mut(user) else { return false };
        if !holder.others.contains(&node) {
            holder.others.push(node);
        }
        true
    }

    /// Another gateway does not hold a user any more.
    pub(super) fn remove(&self, user: &str, node: u64) {
        if let Some(holder) = self.users.lock().get_mut(user) {
            holder.others.retain(|known| *known != node);
            if holder.others.is_empty() {
                holder.others = Vec::new();
            }
        }
    }

    /// A gateway is not there any more.
    pub(super) fn forget(&self, is_there: impl Fn(u64) -> bool) {
        for holder in self.users.lock().values_mut() {
            holder.others.retain(|node| is_there(*node));
        }
    }

    /// Users that are here.
    pub(super) fn len(&self) -> usize {
        self.users.lock().len()
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
                () = lost => {}
            }
        }
    }

    async fn follow_until_behind(self: &Arc<Self>) -> Behind {
        let (present, mut watch) = self.local.registry().watch(Target::everyone());
        self.begin_with(&present).await;
        let mut logins = VecDeque::new();
        loop {
            match self.next(&mut watch, &mut logins).await {
                Ok(event) => self.follow(&event, &mut logins).await,
                Err(behind) => return behind,
            }
        }
    }

    /// The next event. Says logins again meanwhile.
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
            {
                self.say_login(&presence);
            }
        }
    }

    fn is_still_here(&self, presence: &Arc<Presence>) -> bool {
        let known = self.local.registry().still_selected(&Target::everyone(), presence.session_id);
        known.is_some_and(|known| Arc::ptr_eq(&known, presence))
    }

    async fn follow(
        self: &Arc<Self>,
        event: &Event,
        logins: &mut VecDeque<(Instant, Arc<Presence>)>,
    ) {
        let presence = &event.presence;
        match event.change {
            Change::Connected => {
                self.came(&presence.user_id).await;
                self.say_login(presence);
                logins.push_back((Instant::now() + SETTLED, Arc::clone(presence)));
            }
            Change::Disconnected { .. } => self.went(&presence.user_id),
        }
    }

    /// Holds what is known against the sessions that are there, and says
    /// every login again: nobody has heard them, or not all have.
    async fn begin_with(self: &Arc<Self>, present: &[Arc<Presence>]) {
        let mut counts: HashMap<&Arc<str>, usize> = HashMap::new();
        for presence in present {
            *counts.entry(&presence.user_id).or_default() += 1;
        }
        self.holders.users.lock().retain(|user, holder| match counts.get(user) {
            Some(count) => {
                holder.sessions = *count;
                true
            }
            None => {
                holder.listening.abort();
                false
            }
        });
        for (nth, presence) in present.iter().enumerate() {
            let is_known = self.holders.users.lock().contains_key(&presence.user_id);
            if !is_known {
                self.came(&presence.user_id).await;
                let count = counts.get(&presence.user_id).copied().unwrap_or(1);
                if let Some(holder) = self.holders.users.lock().get_mut(&presence.user_id) {
                    holder.sessions = count;
                }
            }
            self.say_login(presence);
            if nth % BATCH == BATCH - 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// A session of a user has come.
    async fn came(self: &Arc<Self>, user: &Arc<str>) {
        if let Some(holder) = self.holders.users.lock().get_mut(user) {
            holder.sessions += 1;
            return;
        }
        let Some(mut heard) = self.link.listen(self.subjects.user(user)).await else { return };
        let (cluster, of) = (Arc::downgrade(self), Arc::clone(user));
        let listening = tokio::spawn(async move {
            use futures_util::StreamExt;
            while let Some(message) = heard.next().await {
                let Some(cluster) = cluster.upgrade() else { return };
                cluster.hear_of_user(&of, message).await;
            }
        });
        let holder = Holder {
            sessions: 1,
            since: Instant::now(),
            others: Vec::new(),
            listening: listening.abort_handle(),
        };
        self.holders.users.lock().insert(Arc::clone(user), holder);
    }

    /// A session of a user has gone.
    fn went(&self, user: &Arc<str>) {
        let mut users = self.holders.users.lock();
        let Some(holder) = users.get_mut(user) else { return };
        holder.sessions -= 1;
        if holder.sessions == 0 {
            holder.listening.abort();
            users.remove(user);
            let left = Left { user_id: user.to_string() };
            self.say(self.subjects.user(user), What::Left(left));
        }
    }

    fn say_login(&self, presence: &Presence) {
        let login = Login {
            user_id: presence.user_id.to_string(),
            session_id: presence.session_id.to_text(),
            platform: presence.platform.to_string(),
            device_id: presence.device_id.to_string(),
            generation: presence.generation,
        };
        self.say(self.subjects.user(&presence.user_id), What::Login(login));
    }

    /// A user of this gateway has logged in at another one.
    pub(super) fn hear_login(&self, node: u64, login: &Login) {
        self.traffic.logins_heard.add();
        if self.holders.add(&login.user_id, node) {
            let holds = Holds { user_id: login.user_id.clone() };
            self.say(self.subjects.node(node), What::Holds(holds));
        }
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
