//! The sessions of this gateway: pushes, kicks and lists. Requests of backends
//! and of other gateways take the same delivery path.

use std::sync::Arc;

use crate::protocol::{Close, Event};
use crate::registry::{Presence, Registry, Selection, Target};

use super::Push;
use super::receipts::{Collector, Settling};

/// Sessions that get a push in one go, before other tasks have their turn.
const BATCH: usize = 256;

/// How often a session may log in as another user while it is being kicked.
const LOGINS: usize = 8;

/// Reaches the sessions of this gateway.
pub struct Local {
    node: Arc<str>,
    registry: Arc<Registry>,
}

/// The result of a push at this gateway.
pub(super) struct Pushed {
    /// Pending deliveries.
    pub(super) settling: Settling,
    /// The named users without a session here that the target would select.
    pub(super) absent_users: Vec<Arc<str>>,
    /// The named sessions that are not here.
    pub(super) absent_sessions: Vec<Box<str>>,
}

impl Local {
    /// For the sessions in `registry`. `node` is this gateway's name.
    pub fn new(node: impl Into<Arc<str>>, registry: Arc<Registry>) -> Self {
        Self { node: node.into(), registry }
    }

    /// This gateway's name.
    pub fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// The sessions.
    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Puts an event into the outbox of every session that the target selects.
    /// When this returns all have it.
    ///
    /// A slow client does not delay others: its outbox overflows, and its receipt
    /// says so. The event is encoded once, and its bytes are shared.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the future may be dropped: all sessions get the event
    /// nevertheless. A push that begins when this has returned comes behind it
    /// at every session.
    pub(super) async fn push(&self, push: &Push) -> Pushed {
        let event = Arc::new(Event::new(push.event, push.data.clone()));
        let confirm = push.confirm;
        let selection = self.registry.select(&push.target);
        let Selection { present, absent_users, absent_sessions } = selection;
        let (mut collector, settling) = Collector::new(present);
        if collector.len() <= BATCH {
            collector.send(0..collector.len(), &event, confirm);
        } else {
            // A task of its own, so that it completes even if the caller is dropped.
            let sending = tokio::spawn(async move {
                let mut workers_follow = true;
                for start in (0..collector.len()).step_by(BATCH) {
                    let end = collector.len().min(start + BATCH);
                    collector.send(start..end, &event, confirm);
                    tokio::task::yield_now().await;
                    // Once too slow, they are not waited for any more: sessions
                    // of others should not get their push later for it.
                    workers_follow = workers_follow
                        && (end == collector.len() || collector.let_workers_follow().await);
                }
            });
            if let Err(error) = sending.await {
                tracing::error!(%error, "a push was not sent to all");
            }
        }
        Pushed { settling, absent_users, absent_sessions }
    }

    /// Closes the sessions that a target selects, and returns their number.
    pub fn kick(&self, target: &Target, reason: &str) -> usize {
        let selected = self.registry.select(target).present;
        let why = Close::Kicked(reason.into());
        selected.into_iter().filter(|presence| self.evict(target, presence, &why)).count()
    }

    /// Ends a session that was selected. One that has logged in as another user
    /// meanwhile is the same session, and ended as well if it is still meant.
    fn evict(&self, target: &Target, selected: &Arc<Presence>, why: &Close) -> bool {
        let mut presence = Arc::clone(selected);
        for _ in 0..LOGINS {
            if self.registry.evict(&presence, why) {
                return true;
            }
            match self.registry.still_selected(target, presence.session_id) {
                Some(now) if !Arc::ptr_eq(&now, &presence) => presence = now,
                _ => return false,
            }
        }
        false
    }

    /// The sessions that a target selects.
    pub fn list(&self, target: &Target) -> Vec<Arc<Presence>> {
        self.registry.select(target).present
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::outbox::{Outbox, Reader};
    use crate::registry::{OneSessionPer, SessionId};

    fn presence(session_id: SessionId, user: &str) -> (Presence, Reader) {
        let (outbox, reader) = Outbox::new(100);
        let presence = Presence {
            session_id,
            user_id: user.into(),
            platform: "ios".into(),
            device_id: "d".into(),
            app_version: "".into(),
            language: "".into(),
            remote_ip: "127.0.0.1".into(),
            encrypted: false,
            connected_at: SystemTime::now(),
            generation: 0,
            outbox,
        };
        (presence, reader)
    }

    #[test]
    fn a_session_that_becomes_another_user_while_it_is_kicked_is_kicked_if_it_is_still_meant() {
        let registry = Registry::new(OneSessionPer::None);
        let local = Local::new("n", Arc::clone(&registry));
        let id = SessionId::random();
        let (first, _reader) = presence(id, "a");
        let outbox = Arc::clone(&first.outbox);
        let mut membership = registry.join(first);
        let selected = Arc::clone(membership.presence());
        let (second, _other) = presence(id, "b");
        membership.renew(Presence { outbox, ..second }).unwrap();

        let why = Close::Kicked("why".into());
        assert!(!local.evict(&Target::default().users(["a"]), &selected, &why));
        assert!(local.evict(&Target::default().sessions([id.to_string()]), &selected, &why));
        assert!(registry.is_empty());
        assert!(!local.evict(&Target::everyone(), &selected, &why), "once");
    }
}
