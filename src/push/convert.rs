//! From what the broker says to the messages of the Push API.

use std::sync::Arc;
use std::time::SystemTime;

use crate::broker::{Outcome, Receipt, Subject};
use crate::outbox::Confirm;
use crate::proto::push::push_receipt::Outcome as Told;
use crate::proto::push::session_event::Kind;
use crate::proto::push::{PushReceipt, Session, SessionEvent};
use crate::registry::{Change, Event, Presence};

/// A session of this gateway, which is called `node`.
pub(super) fn session(presence: &Presence, node: &str) -> Session {
    Session {
        session_id: presence.session_id.to_text(),
        user_id: presence.user_id.to_string(),
        platform: presence.platform.to_string(),
        device_id: presence.device_id.to_string(),
        node: node.to_owned(),
        remote_ip: presence.remote_ip.to_string(),
        app_version: presence.app_version.to_string(),
        language: presence.language.to_string(),
        encrypted: presence.encrypted,
        connected_at: Some(presence.connected_at.into()),
    }
}

/// A receipt of the push `id`, which wanted `confirm`.
pub(super) fn receipt(receipt: Receipt, id: &str, confirm: Confirm, node: &str) -> PushReceipt {
    let outcome = match (receipt.outcome, confirm) {
        (Outcome::Confirmed, Confirm::Queued) => Told::Queued,
        (Outcome::Confirmed, Confirm::Written) => Told::Written,
        (Outcome::Confirmed, Confirm::Acknowledged) => Told::Acknowledged,
        (Outcome::Offline, _) => Told::Offline,
        (Outcome::Overflowed, _) => Told::Overflowed,
        (Outcome::Closed, _) => Told::Closed,
        (Outcome::Expired, _) => Told::Expired,
    };
    let (user_id, session) = match receipt.subject {
        Subject::User(user) => (user.to_string(), None),
        Subject::Session(presence) => (String::new(), Some(session(&presence, node))),
        Subject::NoSession(name) => {
            let unknown = Session { session_id: name.into(), ..Session::default() };
            (String::new(), Some(unknown))
        }
    };
    PushReceipt { push_id: id.to_owned(), outcome: outcome.into(), user_id, session }
}

/// Something that happened to a session.
pub(super) fn event(event: Event, node: &str) -> SessionEvent {
    let (kind, close_code, reason) = match event.change {
        Change::Connected => (Kind::Connected, 0, String::new()),
        Change::Disconnected { code, reason } => {
            (Kind::Disconnected, u32::from(code), reason.to_string())
        }
    };
    SessionEvent {
        kind: kind.into(),
        session: Some(session(&event.presence, node)),
        close_code,
        reason,
        at: Some(event.at.into()),
    }
}

/// A session that is there when a watch begins.
pub(super) fn snapshot(presence: &Arc<Presence>, node: &str) -> SessionEvent {
    SessionEvent {
        kind: Kind::Snapshot.into(),
        session: Some(session(presence, node)),
        at: Some(SystemTime::now().into()),
        ..SessionEvent::default()
    }
}

/// The end of the snapshot.
pub(super) fn snapshot_end() -> SessionEvent {
    SessionEvent {
        kind: Kind::SnapshotEnd.into(),
        at: Some(SystemTime::now().into()),
        ..SessionEvent::default()
    }
}
