//! A receipt on its way to a backend, written straight into the buffer of its
//! connection.
//!
//! A push to everybody has as many receipts as there are sessions, and they
//! cost more than all else that the push does beside writing to sockets. As
//! generated messages each would be ten strings, allocated to be copied once.

use std::sync::Arc;

use bytes::BufMut;

use crate::broker::told::{put_session, put_text, text_len};
use crate::broker::{Outcome, Receipt, Subject};
use crate::outbox::Confirm;
use crate::proto::push::push_receipt::Outcome as Told;
use crate::wire::{put_len, put_len_prefix, put_varint_field};

/// The push that receipts are of.
#[derive(Debug)]
pub(super) struct Of {
    /// The backend's id of it.
    pub(super) id: String,
    /// The requested confirmation.
    pub(super) confirm: Confirm,
    /// This gateway's name.
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
            Subject::Session(presence) => put_session(out, 4, presence, &self.of.node),
            Subject::Elsewhere(session) => put_len(out, 4, session),
            Subject::Node(node) => {
                put_len_prefix(out, 4, text_len(5, node.as_bytes()));
                put_text(out, 5, node.as_bytes());
            }
            Subject::NoSession(name) => {
                put_len_prefix(out, 4, text_len(1, name.as_bytes()));
                put_text(out, 1, name.as_bytes());
            }
        }
    }

    /// The outcome in the backend's receipt.
    pub(super) fn outcome(&self) -> Told {
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use prost::Message as _;

    use super::*;
    use crate::broker::told;
    use crate::outbox::Outbox;
    use crate::proto::push as generated;
    use crate::registry::{Presence, SessionId};

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
            generation: 0,
            outbox: Outbox::new(1).0,
        })
    }

    /// Decodes an encoded receipt with prost.
    fn told_of(outcome: Outcome, confirm: Confirm, subject: Subject) -> generated::PushReceipt {
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
            let read = told_of(Outcome::Confirmed, Confirm::Written, subject);
            let expected = generated::PushReceipt {
                push_id: "id".into(),
                outcome: Told::Written.into(),
                user_id: String::new(),
                session: Some(told::session(&presence, "node-1")),
            };
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn receipts_of_the_absent_name_them() {
        let read = told_of(Outcome::Offline, Confirm::Queued, Subject::User("u".into()));
        assert_eq!((read.outcome(), &*read.user_id, read.session), (Told::Offline, "u", None));
        for name in ["s", ""] {
            let subject = Subject::NoSession(name.into());
            let read = told_of(Outcome::Closed, Confirm::Queued, subject);
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
            assert_eq!(told_of(Outcome::Confirmed, confirm, subject).outcome(), outcome);
        }
        for (from, to) in
            [(Outcome::Overflowed, Told::Overflowed), (Outcome::Expired, Told::Expired)]
        {
            let subject = Subject::Session(presence("ios", false));
            assert_eq!(told_of(from, Confirm::Acknowledged, subject).outcome(), to);
        }
    }
}
