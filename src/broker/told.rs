//! Sessions and their events as messages of the Push API.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{BufMut, Bytes};
use prost::Message as _;
use prost_types::Timestamp;

use crate::proto::push::session_event::Kind;
use crate::proto::push::{Session, SessionEvent};
use crate::registry::{Change, Event, Presence};
use crate::wire::{len_prefix_len, put_len, put_len_prefix, put_varint_field};

/// A session of this gateway, which is called `node`.
pub fn session(presence: &Presence, node: &str) -> Session {
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

/// An event of a session.
pub fn event(event: Event, node: &str) -> SessionEvent {
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

/// A session that is present when a watch begins.
pub fn snapshot(presence: &Arc<Presence>, node: &str) -> SessionEvent {
    SessionEvent {
        kind: Kind::Snapshot.into(),
        session: Some(session(presence, node)),
        at: Some(SystemTime::now().into()),
        ..SessionEvent::default()
    }
}

/// The end of the snapshot.
pub fn snapshot_end() -> SessionEvent {
    SessionEvent {
        kind: Kind::SnapshotEnd.into(),
        at: Some(SystemTime::now().into()),
        ..SessionEvent::default()
    }
}

/// Appends [`session`] as the field `number` of a message, as prost writes it,
/// but without a copy of each text.
pub fn put_session(out: &mut impl BufMut, number: u32, presence: &Presence, node: &str) {
    let parts = Parts::of(presence, node);
    put_len_prefix(out, number, parts.len());
    parts.put(out);
}

/// The same as a message of its own.
pub fn encoded_session(presence: &Presence, node: &str) -> Bytes {
    let parts = Parts::of(presence, node);
    let mut out = Vec::with_capacity(parts.len());
    parts.put(&mut out);
    out.into()
}

/// The fields of a session's message.
struct Parts<'a> {
    presence: &'a Presence,
    node: &'a str,
    id: [u8; 32],
    connected_at: Timestamp,
}

impl<'a> Parts<'a> {
    fn of(presence: &'a Presence, node: &'a str) -> Self {
        let connected_at = Timestamp::from(presence.connected_at);
        Self { presence, node, id: presence.session_id.digits(), connected_at }
    }

    fn texts(&self) -> [(u32, &[u8]); 8] {
        let presence = self.presence;
        [
            (1, &self.id),
            (2, presence.user_id.as_bytes()),
            (3, presence.platform.as_bytes()),
            (4, presence.device_id.as_bytes()),
            (5, self.node.as_bytes()),
            (6, presence.remote_ip.as_bytes()),
            (7, presence.app_version.as_bytes()),
            (8, presence.language.as_bytes()),
        ]
    }

    fn len(&self) -> usize {
        let time_len = self.connected_at.encoded_len();
        self.texts().iter().map(|(number, text)| text_len(*number, text)).sum::<usize>()
            + 2 * usize::from(self.presence.encrypted)
            + len_prefix_len(10, time_len)
            + time_len
    }

    fn put(&self, out: &mut impl BufMut) {
        for (number, text) in self.texts() {
            put_text(out, number, text);
        }
        if self.presence.encrypted {
            put_varint_field(out, 9, 1);
        }
        put_len_prefix(out, 10, self.connected_at.encoded_len());
        self.connected_at.encode_raw(out);
    }
}

/// Appends a text. proto3 leaves empty ones out.
pub fn put_text(out: &mut impl BufMut, number: u32, text: &[u8]) {
    if !text.is_empty() {
        put_len(out, number, text);
    }
}

/// How many bytes [`put_text`] writes.
pub fn text_len(number: u32, text: &[u8]) -> usize {
    if text.is_empty() { 0 } else { len_prefix_len(number, text.len()) + text.len() }
}
