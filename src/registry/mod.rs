//! The presence of users: every logged-in session of this gateway, by user,
//! device and session id.
//!
//! A session is here from its login until it begins to close ([`Membership`]).
//! Joining enforces that the newest session of a device (or platform, or user)
//! is the only one: see [`OneSessionPer`].
//!
//! The registry knows outboxes, into which others put; it sends nothing itself
//! but the order to close. It knows nothing of other gateways.
//!
//! # Locks
//!
//! Three sharded tables hold the same presences. They are locked in the order
//! users, devices, sessions. The lock of a session's user is held over every
//! change to it, so changes to one user's sessions have one order; for a look at
//! all sessions, the sessions' table alone decides.

mod clock;
mod presence;
mod shards;
mod target;
mod watch;
mod watcher;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::MutexGuard;

use crate::close::{ABNORMAL, Close};
use shards::{Shards, Table, remove};
use target::By;
use watcher::Watcher;

pub use clock::Clock;
pub use presence::{NoSessionId, Presence, SessionId};
pub use target::Target;
pub use watch::{Behind, Watch};
pub use watcher::{Change, Event};

/// The earlier sessions that a login ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OneSessionPer {
    /// Sessions of the same user, platform and device.
    #[default]
    Device,
    /// Sessions of the same user and platform.
    Platform,
    /// Sessions of the same user and class of platforms; a platform without a
    /// class is a class of its own. Made by [`class`](Self::class).
    Class(Box<[(Box<str>, usize)]>),
    /// Sessions of the same user.
    User,
    /// None.
    None,
}

impl OneSessionPer {
    /// Sessions of the same user and class; each class is a list of platforms.
    pub fn class<'a>(classes: impl IntoIterator<Item = &'a Vec<String>>) -> Self {
        let of_class = |(class, platforms): (usize, &'a Vec<String>)| {
            platforms.iter().map(move |platform| (platform.as_str().into(), class))
        };
        Self::Class(classes.into_iter().enumerate().flat_map(of_class).collect())
    }

    /// Whether a newer session of the same user ends an older one.
    fn ends(&self, older: &Presence, platform: &str, device_id: &str) -> bool {
        match self {
            Self::Device => &*older.platform == platform && &*older.device_id == device_id,
            Self::Platform => &*older.platform == platform,
            Self::Class(classes) => {
                let of = |platform: &str| classes.iter().find(|(name, _)| **name == *platform);
                &*older.platform == platform
                    || of(platform).is_some_and(|(_, class)| {
                        of(&older.platform).is_some_and(|(_, other)| other == class)
                    })
            }
            Self::User => true,
            Self::None => false,
        }
    }
}

/// A login at another gateway.
#[derive(Debug, Clone, Copy)]
pub struct Elsewhere<'a> {
    /// The user.
    pub user_id: &'a str,
    /// The platform.
    pub platform: &'a str,
    /// The device.
    pub device_id: &'a str,
    /// The time, by that gateway's [`Clock`].
    pub generation: u64,
    /// Whether it is the newer one of two at the very same time.
    pub wins_ties: bool,
}

/// The logged-in sessions of this gateway.
pub struct Registry {
    policy: OneSessionPer,
    clock: Clock,
    users: Shards<Table>,
    devices: Shards<Table>,
    sessions: Shards<Sessions>,
    /// How often a session has logged in anew, perhaps as another user or device.
    renewals: AtomicU64,
}

/// A shard of the sessions' table, with its watchers.
#[derive(Default)]
struct Sessions {
    table: Table,
    watchers: Vec<Arc<Watcher>>,
}

/// The sessions that a target selects.
#[derive(Debug)]
pub struct Selection {
    /// The sessions, each once.
    pub present: Vec<Arc<Presence>>,
    /// The named users without a session that the target would select; one
    /// whose sessions are merely excepted is not among them.
    pub absent_users: Vec<Arc<str>>,
    /// The named sessions that are not there.
    pub absent_sessions: Vec<Box<str>>,
}

/// A session's place in the registry, until this is dropped.
pub struct Membership {
    registry: Arc<Registry>,
    presence: Arc<Presence>,
}

/// The session was ended by a newer session or a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session was ended")]
pub struct Evicted;

impl Registry {
    /// An empty registry.
    pub fn new(policy: OneSessionPer) -> Arc<Self> {
        let (users, devices) = (Shards::new(), Shards::new());
        let clock = Clock::default();
        let (sessions, renewals) = (Shards::new(), AtomicU64::new(0));
        Arc::new(Self { policy, clock, users, devices, sessions, renewals })
    }

    /// The clock that logins here go by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Sessions that are here now.
    pub fn len(&self) -> usize {
        self.sessions.all().map(|shard| shard.table.len()).sum()
    }

    /// Whether no session is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a session that has logged in for the first time, and closes the
    /// sessions that it replaces.
    pub fn join(self: &Arc<Self>, mut presence: Presence) -> Membership {
        let mut users = self.users.lock(self.user_hash(&presence));
        presence.generation = self.clock.next();
        let presence = Arc::new(presence);
        self.admit(&mut users, &presence, None);
        drop(users);
        Membership { registry: Arc::clone(self), presence }
    }

    /// Ends another session: it is removed from the registry at once, and gets
    /// the order to close. `false`: it was not there any more, or was closing
    /// already.
    ///
    /// A session that has logged in anew as the same user is the same.
    pub fn evict(&self, presence: &Presence, why: &Close) -> bool {
        let mut users = self.users.lock(self.user_hash(presence));
        let found = users
            .iter_hash(self.user_hash(presence))
            .find(|known| known.session_id == presence.session_id)
            .map(Arc::clone);
        let Some(found) = found else { return false };
        // One that was closing for another reason is out as well, as that.
        let closed = found.outbox.close(why.clone());
        self.dismiss(&mut users, &found, closed.code(), closed.reason());
        closed == *why
    }

    /// A user has logged in at another gateway: closes the sessions here that
    /// this replaces, as a login here would. Returns the user's newer sessions,
    /// which replace it.
    pub fn give_way(&self, login: &Elsewhere<'_>) -> Vec<Arc<Presence>> {
        let hash = self.users.hash(login.user_id);
        let mut users = self.users.lock(hash);
        let is_rival = |known: &&Arc<Presence>| {
            &*known.user_id == login.user_id
                && self.policy.ends(known, login.platform, login.device_id)
        };
        let is_newer = |known: &Arc<Presence>| {
            known.generation > login.generation
                || (known.generation == login.generation && !login.wins_ties)
        };
        let rivals = users.iter_hash(hash).filter(is_rival).map(Arc::clone);
        let (newer, older): (Vec<_>, Vec<_>) = rivals.partition(is_newer);
        for rival in older {
            let closed = rival.outbox.close(Close::Replaced);
            self.dismiss(&mut users, &rival, closed.code(), closed.reason());
        }
        newer
    }

    /// A session as it is now, if the target still selects it.
    pub fn still_selected(&self, target: &Target, session: SessionId) -> Option<Arc<Presence>> {
        let hash = self.sessions.hash(&session);
        let shard = self.sessions.lock(hash);
        let found = shard.table.find(hash, |known| known.session_id == session)?;
        target.selects(found).then(|| Arc::clone(found))
    }

    /// The sessions that a target selects, at one moment for each of them. Holds
    /// a lock no longer than one shard of the table takes.
    pub fn select(&self, target: &Target) -> Selection {
        let mut found = Found::default();
        let renewals = self.renewals.load(Ordering::Acquire);
        match target.by() {
            By::Sessions(ids) => {
                found.absent_sessions = target.impossible_sessions().to_vec();
                for id in ids {
                    let hash = self.sessions.hash(id);
                    let shard = self.sessions.lock(hash);
                    match shard.table.find(hash, |known| known.session_id == *id) {
                        Some(presence) => _ = found.take(target, [presence]),
                        None => found.absent_sessions.push(id.to_string().into()),
                    }
                }
                found.note_absent_users(target);
            }
            By::Users(users) => {
                for user in users {
                    let hash = self.users.hash(&**user);
                    let table = self.users.lock(hash);
                    let sessions = table.iter_hash(hash).filter(|p| p.user_id == *user);
                    if !found.take(target, sessions) {
                        found.absent_users.push(Arc::clone(user));
                    }
                }
            }
            By::Devices(devices) => {
                for device in devices {
                    let hash = self.devices.hash(&**device);
                    let table = self.devices.lock(hash);
                    let sessions = table.iter_hash(hash).filter(|p| *p.device_id == **device);
                    found.take(target, sessions);
                }
            }
            By::Nothing => {
                // Growing step by step would take up to three times as much.
                found.present.reserve_exact(self.len());
                for shard in self.sessions.all() {
                    found.take(target, shard.table.iter());
                }
            }
        }
        if target.names_several_owners() && self.renewals.load(Ordering::Acquire) != renewals {
            // A session that became another user's between two looks was found twice.
            found.present.sort_unstable_by_key(|presence| presence.session_id);
            found.present.dedup_by_key(|presence| presence.session_id);
            found.note_absent_users(target);
        }
        let Found { present, absent_users, absent_sessions, .. } = found;
        Selection { present, absent_users, absent_sessions }
    }

    /// Brings a session in, in place of its own earlier presence where there
    /// is one. `users` is the locked shard of its user.
    fn admit(&self, users: &mut Table, new: &Arc<Presence>, old: Option<&Arc<Presence>>) {
        let hash = self.user_hash(new);
        let is_rival = |known: &&Arc<Presence>| {
            known.user_id == new.user_id
                && known.session_id != new.session_id
                && self.policy.ends(known, &new.platform, &new.device_id)
        };
        let rivals: Vec<_> = users.iter_hash(hash).filter(is_rival).map(Arc::clone).collect();
        for rival in rivals {
            let closed = rival.outbox.close(Close::Replaced);
            self.dismiss(users, &rival, closed.code(), closed.reason());
        }
        users.insert_unique(hash, Arc::clone(new), |known| self.user_hash(known));

        let hash = self.device_hash(new);
        let old_hash = old.map_or(hash, |old| self.device_hash(old));
        let mut devices = self.devices.lock_both(old_hash, hash);
        if let Some(old) = old {
            remove(devices.first(), old_hash, old, |known| self.device_hash(known));
            // Under the locks of users and devices: a reader that finds the
            // session in its new place sees this as well.
            self.renewals.fetch_add(1, Ordering::Release);
        }
        devices.second().insert_unique(hash, Arc::clone(new), |known| self.device_hash(known));
        drop(devices);

        let hash = self.sessions.hash(&new.session_id);
        let mut shard = self.sessions.lock(hash);
        if let Some(old) = old {
            remove(&mut shard.table, hash, old, |known| self.sessions.hash(&known.session_id));
        }
        let rehash = |known: &Arc<Presence>| self.sessions.hash(&known.session_id);
        shard.table.insert_unique(hash, Arc::clone(new), rehash);
        match old {
            Some(old) if old.is_same(new) => {}
            Some(old) => {
                let reason = "the session has logged in anew".into();
                shard.tell(old, Change::Disconnected { code: 0, reason });
                shard.tell(new, Change::Connected);
            }
            None => shard.tell(new, Change::Connected),
        }
    }

    /// Takes a session out; `false`: this presence is not here. `users` is the
    /// locked shard of its user.
    fn dismiss(
        &self,
        users: &mut Table,
        presence: &Arc<Presence>,
        code: u16,
        reason: &str,
    ) -> bool {
        let hash = self.user_hash(presence);
        if !remove(users, hash, presence, |known| self.user_hash(known)) {
            return false;
        }
        self.forget_device(presence);
        let hash = self.sessions.hash(&presence.session_id);
        let mut shard = self.sessions.lock(hash);
        remove(&mut shard.table, hash, presence, |known| self.sessions.hash(&known.session_id));
        shard.tell(presence, Change::Disconnected { code, reason: reason.into() });
        true
    }

    fn forget_device(&self, presence: &Arc<Presence>) {
        let hash = self.device_hash(presence);
        let mut devices: MutexGuard<'_, Table> = self.devices.lock(hash);
        remove(&mut devices, hash, presence, |known| self.device_hash(known));
    }

    fn user_hash(&self, presence: &Presence) -> u64 {
        self.users.hash(&*presence.user_id)
    }

    fn device_hash(&self, presence: &Presence) -> u64 {
        self.devices.hash(&*presence.device_id)
    }
}

impl Sessions {
    fn tell(&mut self, presence: &Arc<Presence>, change: Change) {
        if self.watchers.is_empty() {
            return;
        }
        let event = Event { change, presence: Arc::clone(presence), at: SystemTime::now() };
        self.watchers.retain(|watcher| watcher.tell(&event));
    }
}

/// The selection so far.
#[derive(Default)]
struct Found {
    present: Vec<Arc<Presence>>,
    excepted: Vec<Arc<Presence>>,
    absent_users: Vec<Arc<str>>,
    absent_sessions: Vec<Box<str>>,
}

impl Found {
    /// Takes the sessions that a target selects among the ones looked up by its
    /// names. `false`: it selects none, and excepts none.
    fn take<'a>(
        &mut self,
        target: &Target,
        sessions: impl IntoIterator<Item = &'a Arc<Presence>>,
    ) -> bool {
        let mut any = false;
        for presence in sessions.into_iter().filter(|found| target.includes_found(found)) {
            let excepts = target.excepts(presence);
            let chosen = if excepts { &mut self.excepted } else { &mut self.present };
            chosen.push(Arc::clone(presence));
            any = true;
        }
        any
    }

    /// Finds out which of the users that a target names have none of the sessions.
    fn note_absent_users(&mut self, target: &Target) {
        let found = self.present.iter().chain(&self.excepted);
        let found: HashSet<&str> = found.map(|presence| &*presence.user_id).collect();
        let is_absent = |user: &&Arc<str>| !found.contains(&***user);
        self.absent_users = target.named_users().iter().filter(is_absent).cloned().collect();
    }
}

impl Membership {
    /// The session as others see it.
    pub fn presence(&self) -> &Arc<Presence> {
        &self.presence
    }

    /// The session has logged in again, perhaps as another user. Pushes find
    /// it as the one or the other at every moment, and once.
    pub fn renew(&mut self, mut presence: Presence) -> Result<(), Evicted> {
        let registry = &self.registry;
        let old = &self.presence;
        let (old_hash, new_hash) = (registry.user_hash(old), registry.user_hash(&presence));
        let mut users = registry.users.lock_both(old_hash, new_hash);
        // As the same as before it is as old as before.
        let is_same = old.is_same(&presence);
        presence.generation = if is_same { old.generation } else { registry.clock.next() };
        let new = Arc::new(presence);
        if !remove(users.first(), old_hash, old, |known| registry.user_hash(known)) {
            return Err(Evicted);
        }
        registry.admit(users.second(), &new, Some(old));
        drop(users);
        self.presence = new;
        Ok(())
    }

    /// Leaves, with the close code and its reason for watchers.
    pub fn leave(self, code: u16, reason: &str) {
        self.end(code, reason);
        // The drop that follows finds nothing to do.
    }

    fn end(&self, code: u16, reason: &str) {
        let hash = self.registry.user_hash(&self.presence);
        let mut users = self.registry.users.lock(hash);
        self.registry.dismiss(&mut users, &self.presence, code, reason);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.end(ABNORMAL, "the connection was lost");
    }
}

#[cfg(test)]
mod tests;
