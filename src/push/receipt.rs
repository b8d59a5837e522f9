//! A receipt on its way to a backend, written straight into the buffer of its
//! connection.
//!
//! A push to everybody has as many receipts as there are sessions, and they
//! cost more than all else that the push does beside writing to sockets. As
//! generated messages each would be ten strings, allocated to be copied once.

use std::sync::Arc;

use bytes::BufMut;
use prost::Message as _;
use prost_types::Timestamp;

use crate::broker::{Outcome, Receipt, Subject};
use crate::outbox::Confirm;
use crate::proto::push::push_receipt::Outcome as Told;
use crate::registry::Presence;
use crate::wire::{len_prefix_len, put_len, put_len_prefix, put_varint_field};

/// The push that receipts are of.
#[derive(Debug)]
pub(super) struct Of {
    /// What the backend calls it.
    pub(super) id: String,
    /// How far its event was to come.
    pub(super) confirm: Confirm,
    /// What this gateway is called.
    pub(super) node: Arc<str>,
}

/// A `bridgehead.push.v1.PushReceipt`.
#[derive(Debug)]
pub(crate) struct PushReceipt {
    pub(super) receipt: Receipt,
    pub(super) of: Arc<Of>,
}

impl PushReceipt {
    /// Appends the message, as proto3 writes it.
    pub(super) fn encode(&self, out: &mut impl BufMut) {
        put_text(out, 1, self.of.id.as_bytes());
        put_varint_field(out, 2, self.outcome() as u64);
        match &self.receipt.subject {
            Subject::User(user) => put_text(out, 3, user.as_bytes()),
            Subject::Session(presence) => put_session(out, presence, &self.of.node),
            Subject::NoSession(name) => {
                put_len_prefix(out, 4, text_len(1, name.as_bytes()));
                put_text(out, 1, name.as_bytes());
            }
        }
    }

    fn outcome(&self) -> Told {
        match (self.receipt.outcome, self.of.confirm) {
            (Outcome::Confirmed, Confirm::Queued) => Told::Queued,
            (Outcome::Confirmed, Confirm::Written) => Told::Written,
            (Outcome::Confirmed, Confirm::Acknowledged) => Told::Acknowledged,
            (Outcome::Offline, _) => Told::Offline,
            (Outcome::Overflowed, _) => Told::Overflowed,
            (Outcome::Closed, _) => Told::Closed,
            (Outcome::Expired, _) => Told::Expired,
        }
    }
}

/// Appends the field `session`: what `convert::session` makes, as prost writes it.
fn put_session(out: &mut impl BufMut, presence: &Presence, node: &str) {
    let texts: [(u32, &[u8]); 8] = [
        (1, &presence.session_id.digits()),
        (2, presence.user_id.as_bytes()),
        (3, presence.platform.as_bytes()),
        (4, presence.device_id.as_bytes()),
        (5, node.as_bytes()),
        (6, presence.remote_ip.as_bytes()),
        (7, presence.app_version.as_bytes()),
        (8, presence.language.as_bytes()),
    ];
    let connected_at = Timestamp::from(presence.connected_at);
    let time_len = connected_at.encoded_len();
    let len = texts.iter().map(|(number, text)| text_len(*number, text)).sum::<usize>()
        + 2 * usize::from(presence.encrypted)
        + len_prefix_len(10, time_len)
        + time_len;
    put_len_prefix(out, 4, len);
    for (number, text) in texts {
        put_text(out, number, text);
    }
    if presence.encrypted {
        put_varint_field(out, 9, 1);
    }
    put_len_prefix(out, 10, time_len);
    connected_at.encode_raw(out);
}

/// proto3 leaves empty texts out.
fn put_text(out: &mut impl BufMut, number: u32, text: &[u8]) {
    if !text.is_empty() {
        put_len(out, number, text);
    }
}

fn text_len(number: u32, text: &[u8]) -> usize {
    if text.is_empty() { 0 } else { len_prefix_len(number, text.len()) + text.len() }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::outbox::Outbox;
    use crate::proto::push as generated;
    use crate::push::convert;
    use crate::registry::SessionId;

    fn presence(platform: &str, encrypted: bool) -> Arc<Presence> {
        Arc::new(Presence {
            session_id: SessionId::random(),
            user_id: "\u{fc}ser".repeat(100).into(),
            platform: platform.into(),
            device_id: "device".into(),
            app_version: "".into(),
            language: "de".into(),
            remote_ip: "2001:db8::1".into(),
            encrypted,
            connected_at: SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 5),
            outbox: Outbox::new(1).0,
        })
    }

    /// What prost reads of what is written here.
    fn told(outcome: Outcome, confirm: Confirm, subject: Subject) -> generated::PushReceipt {
        let of = Arc::new(Of { id: "id".into(), confirm, node: "node-1".into() });
        let mut bytes = Vec::new();
        let receipt = PushReceipt { receipt: Receipt { outcome, subject }, of };
        receipt.encode(&mut bytes);
        let read = generated::PushReceipt::decode(&*bytes).unwrap();
        assert_eq!(read.encode_to_vec(), bytes, "as prost writes it");
        read
    }

    #[test]
    fn a_receipt_of_a_session_tells_all_about_it() {
        for (platform, encrypted) in [("ios", true), ("", false)] {
            let presence = presence(platform, encrypted);
            let subject = Subject::Session(Arc::clone(&presence));
            let read = told(Outcome::Confirmed, Confirm::Written, subject);
            let expected = generated::PushReceipt {
                push_id: "id".into(),
                outcome: Told::Written.into(),
                user_id: String::new(),
                session: Some(convert::session(&presence, "node-1")),
            };
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn receipts_of_the_absent_name_them() {
        let read = told(Outcome::Offline, Confirm::Queued, Subject::User("u".into()));
        assert_eq!((read.outcome(), &*read.user_id, read.session), (Told::Offline, "u", None));
        for name in ["s", ""] {
            let subject = Subject::NoSession(name.into());
            let read = told(Outcome::Closed, Confirm::Queued, subject);
            assert_eq!((read.outcome(), &*read.user_id), (Told::Closed, ""));
            let unknown = generated::Session { session_id: name.into(), ..Default::default() };
            assert_eq!(read.session, Some(unknown));
        }
    }

    #[test]
    fn a_confirmed_push_is_told_as_it_was_wanted() {
        for (confirm, outcome) in [
            (Confirm::Queued, Told::Queued),
            (Confirm::Written, Told::Written),
            (Confirm::Acknowledged, Told::Acknowledged),
        ] {
            let subject = Subject::Session(presence("ios", false));
            assert_eq!(told(Outcome::Confirmed, confirm, subject).outcome(), outcome);
        }
        for (from, to) in
            [(Outcome::Overflowed, Told::Overflowed), (Outcome::Expired, Told::Expired)]
        {
            let subject = Subject::Session(presence("ios", false));
            assert_eq!(told(from, Confirm::Acknowledged, subject).outcome(), to);
        }
    }
}
