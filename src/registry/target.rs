//! The sessions that a backend addresses.

use std::borrow::Borrow;
use std::sync::Arc;

use super::presence::{Presence, SessionId};
use crate::proto::push;

/// Conditions that all must hold. Without any, every session is meant: whether a
/// backend may leave them all out is decided by the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    users: Values<Arc<str>>,
    platforms: Values<Box<str>>,
    devices: Values<Box<str>>,
    sessions: Values<SessionId>,
    /// Names that no session can have, as they were given.
    impossible: Values<Box<str>>,
    excepted: Values<SessionId>,
}

/// A sorted set.
type Values<T> = Vec<T>;

impl Target {
    /// Every session.
    pub fn everyone() -> Self {
        Self::default()
    }

    /// Only sessions of these users, if there are any.
    #[must_use]
    pub fn users(mut self, users: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        self.users = values(users);
        self
    }

    /// Only sessions of these platforms, if there are any.
    #[must_use]
    pub fn platforms(mut self, platforms: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        self.platforms = values(platforms);
        self
    }

    /// Only sessions of these devices, if there are any.
    #[must_use]
    pub fn devices(mut self, devices: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        self.devices = values(devices);
        self
    }

    /// Only these sessions, if there are any.
    #[must_use]
    pub fn sessions<T: AsRef<str>>(mut self, sessions: impl IntoIterator<Item = T>) -> Self {
        for session in sessions {
            let session = session.as_ref();
            match session.parse() {
                Ok(id) => self.sessions.push(id),
                Err(_) => self.impossible.push(session.into()),
            }
        }
        self.sessions = values(self.sessions);
        self.impossible = values(self.impossible);
        self
    }

    /// Not these sessions.
    #[must_use]
    pub fn except<T: AsRef<str>>(mut self, sessions: impl IntoIterator<Item = T>) -> Self {
        // A name that no session can have excepts none.
        let excepted = sessions.into_iter().filter_map(|id| id.as_ref().parse::<SessionId>().ok());
        self.excepted = values(excepted);
        self
    }

    /// The same for sessions of one user alone.
    #[must_use]
    pub fn of_user(&self, user: &Arc<str>) -> Self {
        Self { users: vec![Arc::clone(user)], ..self.clone() }
    }

    /// Whether a session is meant that was looked up [by](Self::by) a name, apart
    /// from the excepted ones. Sessions named together with their users have been
    /// found by their ids alone.
    pub(super) fn includes_found(&self, presence: &Presence) -> bool {
        match self.by() {
            By::Sessions(_) => self.includes(presence),
            By::Users(_) => {
                allows::<_, str>(&self.platforms, &presence.platform)
                    && allows::<_, str>(&self.devices, &presence.device_id)
            }
            By::Devices(_) | By::Nothing => allows::<_, str>(&self.platforms, &presence.platform),
        }
    }

    /// Whether a session is meant, apart from the excepted ones.
    fn includes(&self, presence: &Presence) -> bool {
        allows::<_, str>(&self.users, &presence.user_id)
            && allows::<_, str>(&self.platforms, &presence.platform)
            && allows::<_, str>(&self.devices, &presence.device_id)
            && !self.names_only_impossible_sessions()
            && allows(&self.sessions, &presence.session_id)
    }

    /// Whether a session is excepted.
    pub(super) fn excepts(&self, presence: &Presence) -> bool {
        self.excepted.binary_search(&presence.session_id).is_ok()
    }

    /// Whether a session is meant.
    pub fn selects(&self, presence: &Presence) -> bool {
        self.includes(presence) && !self.excepts(presence)
    }

    pub(super) fn by(&self) -> By<'_> {
        if !self.sessions.is_empty() || self.names_only_impossible_sessions() {
            By::Sessions(&self.sessions)
        } else if !self.users.is_empty() {
            By::Users(&self.users)
        } else if !self.devices.is_empty() {
            By::Devices(&self.devices)
        } else {
            By::Nothing
        }
    }

    /// Whether its sessions are looked for under several users or devices.
    pub(super) fn names_several_owners(&self) -> bool {
        match self.by() {
            By::Users(users) => users.len() > 1,
            By::Devices(devices) => devices.len() > 1,
            By::Sessions(_) | By::Nothing => false,
        }
    }

    /// The users it names.
    pub fn named_users(&self) -> &[Arc<str>] {
        &self.users
    }

    /// Whether it names sessions.
    pub fn names_sessions(&self) -> bool {
        !self.sessions.is_empty() || !self.impossible.is_empty()
    }

    /// The names it gives that no session can have.
    pub(super) fn impossible_sessions(&self) -> &[Box<str>] {
        &self.impossible
    }

    fn names_only_impossible_sessions(&self) -> bool {
        self.sessions.is_empty() && !self.impossible.is_empty()
    }
}

impl From<push::Target> for Target {
    /// From another program's message. Whether an empty one is allowed is not
    /// decided here.
    fn from(given: push::Target) -> Self {
        Self::everyone()
            .users(given.user_ids)
            .platforms(given.platforms)
            .devices(given.device_ids)
            .sessions(given.session_ids)
            .except(given.except_session_ids)
    }
}

impl From<&Target> for push::Target {
    fn from(target: &Target) -> Self {
        let texts =
            |values: &[Box<str>]| -> Vec<_> { values.iter().map(ToString::to_string).collect() };
        let ids =
            |values: &[SessionId]| -> Vec<_> { values.iter().map(|id| id.to_text()).collect() };
        Self {
            user_ids: target.users.iter().map(ToString::to_string).collect(),
            platforms: texts(&target.platforms),
            device_ids: texts(&target.devices),
            session_ids: [ids(&target.sessions), texts(&target.impossible)].concat(),
            except_session_ids: ids(&target.excepted),
            everyone: true,
        }
    }
}

/// The condition that finds the sessions soonest.
pub(super) enum By<'a> {
    Sessions(&'a [SessionId]),
    Users(&'a [Arc<str>]),
    Devices(&'a [Box<str>]),
    /// All of them have to be looked at.
    Nothing,
}

fn values<T: Ord>(given: impl IntoIterator<Item = impl Into<T>>) -> Values<T> {
    let mut values: Vec<T> = given.into_iter().map(Into::into).collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn allows<T: Borrow<Q>, Q: Ord + ?Sized>(values: &Values<T>, value: &Q) -> bool {
    values.is_empty() || values.binary_search_by(|known| known.borrow().cmp(value)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_the_same_when_it_was_said_to_another_program() {
        let id = SessionId::random().to_text();
        for target in [
            Target::everyone(),
            Target::everyone().users(["b", "a"]).platforms(["ios"]).except([&id]),
            Target::everyone().devices(["d"]).sessions([&*id, "nonsense"]),
        ] {
            assert_eq!(Target::from(push::Target::from(&target)), target);
        }
    }
}
