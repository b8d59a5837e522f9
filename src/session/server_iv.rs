//! The IVs that the gateway chooses, for the clients that expect it to.
//!
//! Such a client is told a random string right behind the greeting, from which
//! both sides derive the IV of the session's encryption. The string is made from
//! the session's id with a key that nobody knows: random to all others, another
//! one for each connection, and made again when it is wanted. So a session keeps
//! nothing for it.

use std::fmt;

use aws_lc_rs::hmac;
use bytes::BytesMut;
use prost::Message as _;

use crate::envelope::cipher::{self, Iv};
use crate::envelope::codec;
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
    fn text(&self, session_id: &str) -> String {
        use fmt::Write as _;
        let tag = hmac::sign(&self.0, session_id.as_bytes());
        let mut text = String::with_capacity(2 * RANDOM);
        for byte in tag.as_ref().iter().take(RANDOM) {
            // Writing into a string does not fail.
            let _written = write!(text, "{byte:02x}");
        }
        text
    }

    /// What a session's client is told.
    pub(super) fn announcement(&self, session_id: &str) -> BytesMut {
        let body = AfterConnectBody { aes_iv: self.text(session_id) };
        codec::push(PushEvent::AfterConnect as i32, &body.encode_to_vec())
    }

    /// A session's IV.
    pub(super) fn iv(&self, session_id: &str) -> Iv {
        cipher::iv_of(self.text(session_id).as_bytes())
    }
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
    fn a_session_is_told_the_string_of_its_iv_and_no_two_have_the_same() {
        let ivs = ServerIvs::default();
        let told = |ivs: &ServerIvs, id| {
            let body = PushBody::decode(ivs.announcement(id).freeze()).unwrap();
            assert_eq!(body.event, 3);
            AfterConnectBody::decode(body.data).unwrap().aes_iv
        };
        let text = told(&ivs, "s1");
        assert_eq!(text.len(), 32);
        assert_eq!(cipher::iv_of(text.as_bytes()), ivs.iv("s1"));
        assert_ne!(text, told(&ivs, "s2"));
        assert_ne!(text, told(&ServerIvs::default(), "s1"), "nobody can know it");
    }
}
