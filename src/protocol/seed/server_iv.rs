//! The IVs that the gateway chooses, for the clients that expect it to.
//!
//! Such a client gets a random string right behind the greeting, from which both
//! sides derive the IV of the session's encryption. The string is made from the
//! session's id with a key that never leaves the process: unpredictable,
//! different for each connection, and recomputed on demand. So a session keeps no
//! more than the IV.

use std::fmt;

use aws_lc_rs::hmac;
use bytes::BytesMut;
use prost::Message as _;

use super::codec;
use crate::proto::session::{AfterConnectBody, PushEvent};

/// Bytes of the string, half as many as it has characters.
const RANDOM: usize = 16;

/// Makes the strings of one worker's sessions.
pub struct ServerIvs(hmac::Key);

impl Default for ServerIvs {
    fn default() -> Self {
        let secret: [u8; 32] = rand::random();
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret))
    }
}

impl ServerIvs {
    /// The string of a session.
    pub(super) fn text(&self, session_id: &str) -> String {
        let tag = hmac::sign(&self.0, session_id.as_bytes());
        base16ct::lower::encode_string(tag.as_ref().get(..RANDOM).unwrap_or_default())
    }
}

/// The message that brings the string to the client.
pub(super) fn announcement(text: &str) -> BytesMut {
    let body = AfterConnectBody { aes_iv: text.to_owned() };
    codec::push(PushEvent::AfterConnect as i32, &body.encode_to_vec())
}

impl fmt::Debug for ServerIvs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIvs").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::session::PushBody;

    #[test]
    fn a_session_gets_a_string_of_its_own_that_nobody_can_guess() {
        let ivs = ServerIvs::default();
        let text = ivs.text("s1");
        let body = PushBody::decode(announcement(&text).freeze()).unwrap();
        assert_eq!(body.event, 3);
        assert_eq!(AfterConnectBody::decode(body.data).unwrap().aes_iv, text);
        assert_eq!(text.len(), 32);
        assert_eq!(text, ivs.text("s1"));
        assert_ne!(text, ivs.text("s2"));
        assert_ne!(text, ServerIvs::default().text("s1"), "the key differs");
    }
}
