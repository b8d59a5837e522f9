//! Which users are here, and which other gateways hold the same users.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// After this time a login is announced again; from then on a holder knows the
/// others.
pub(super) const SETTLED: Duration = Duration::from_secs(2);

/// The users that are here.
#[derive(Default)]
pub(super) struct Holders {
    pub(super) users: Mutex<HashMap<Arc<str>, Holder>>,
}

pub(super) struct Holder {
    pub(super) sessions: usize,
    /// Logins that are about to be answered.
    pub(super) expected: usize,
    pub(super) since: Instant,
    /// NATS delivers messages about the user.
    pub(super) is_heard: bool,
    /// NATS has reported that no other gateway listens for the user, and none
    /// has begun to since.
    pub(super) is_alone: bool,
    /// Notified when `is_heard` becomes true.
    pub(super) waiting: Vec<oneshot::Sender<()>>,
    /// Other gateways that have announced that they hold the user.
    pub(super) others: Vec<u64>,
    pub(super) listening: AbortHandle,
}

/// The known other holders of a user.
pub(super) struct Others {
    /// Their numbers.
    pub(super) nodes: Vec<u64>,
    /// There may be others.
    pub(super) is_unsettled: bool,
}

impl Holder {
    fn is_settled(&self) -> bool {
        self.is_heard && (self.is_alone || self.since.elapsed() > SETTLED)
    }
}

impl Holders {
    /// The other gateways that hold a user.
    pub(super) fn others(&self, user: &str) -> Others {
        let users = self.users.lock();
        users.get(user).map_or(Others { nodes: Vec::new(), is_unsettled: false }, |holder| Others {
            nodes: holder.others.clone(),
            is_unsettled: !holder.is_settled(),
        })
    }

    /// Another gateway holds a user. If this one does as well, `say` announces it
    /// before anything else happens to the user here.
    pub(super) fn add(&self, user: &str, node: u64, say: impl FnOnce()) {
        let mut users = self.users.lock();
        let Some(holder) = users.get_mut(user) else { return };
        holder.is_alone = false;
        if !holder.others.contains(&node) {
            holder.others.push(node);
        }
        say();
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

    /// NATS delivers messages about a user. `is_alone`: this gateway is the only
    /// listener.
    pub(super) fn heard(&self, user: &str, is_alone: bool) {
        if let Some(holder) = self.users.lock().get_mut(user) {
            holder.is_heard = true;
            holder.is_alone = is_alone && holder.others.is_empty();
            for waiting in std::mem::take(&mut holder.waiting) {
                // A receiver that has given up needs no notice.
                let _told = waiting.send(());
            }
        }
    }

    /// Changes a holder. One without sessions and expected logins is removed, and
    /// `say_left` announces that before anything else happens to the user here.
    pub(super) fn change(
        &self,
        user: &str,
        change: impl FnOnce(&mut Holder),
        say_left: impl FnOnce(),
    ) {
        let mut users = self.users.lock();
        let Some(holder) = users.get_mut(user) else { return };
        change(holder);
        if holder.sessions == 0 && holder.expected == 0 {
            holder.listening.abort();
            users.remove(user);
            say_left();
        }
    }

    /// Users that are here.
    pub(super) fn len(&self) -> usize {
        self.users.lock().len()
    }
}
