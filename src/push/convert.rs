//! From what the broker says to the messages of the Push API, except for
//! receipts (`receipt`).

use std::sync::Arc;
use std::time::SystemTime;

use crate::proto::push::session_event::Kind;
use crate::proto::push::{Session, SessionEvent};
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
