//! The first protocol: protobuf envelopes in binary messages, encrypted with
//! AES once a session has asked for it.
//!
//! - [`Seed`]: one session's codec.
//! - [`codec`]: reads a `RequestBody`, writes a `PushBody` and its contents.
//! - [`methods`]: the methods that the gateway answers itself; [`key_offer`]: the
//!   key in one of them.
//! - [`cipher`]: AES over whole frames; [`rsa`]: the transport of the client's
//!   key; [`pem`]: the files of RSA keys; [`server_iv`]: the IVs that the gateway
//!   chooses.

pub mod cipher;
pub mod codec;
pub mod key_offer;
pub mod methods;
pub mod pem;
pub mod rsa;
pub mod server_iv;

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

pub use cipher::{Cipher, Undecryptable};
pub use codec::NotARequest;
pub use key_offer::{KeyExchange, KeyOffer, WrappedIv};
pub use pem::KeyError;
pub use rsa::{PrivateKey, PublicKey, Secret};
pub use server_iv::ServerIvs;

use self::cipher::Iv;
use super::{Author, Close, Code, Event, Failure, Incoming, Outcome, Payload, Reply, Unreadable};
use crate::websocket::frame::Opcode;

/// The first message of every session: text, and never encrypted.
pub const GREETING: &str = "connected";

/// The codec of one session.
#[derive(Debug, Default)]
pub struct Seed {
    cipher: Option<Cipher>,
    /// The gateway's own IV, where it chooses the IV. Boxed: most sessions have none.
    server_iv: Option<Box<Iv>>,
}

impl Seed {
    /// A session whose client chooses the IV of its encryption.
    pub fn new() -> Self {
        Self::default()
    }

    /// A session whose client gets the IV from the gateway.
    pub fn with_server_iv(ivs: &ServerIvs, session_id: &str) -> Self {
        let iv = cipher::iv_of(ivs.text(session_id).as_bytes());
        Self { cipher: None, server_iv: Some(Box::new(iv)) }
    }

    pub(super) fn greeting(&self, ivs: &ServerIvs, session_id: &str) -> Vec<Payload> {
        let bytes = Bytes::from_static(GREETING.as_bytes());
        let mut greeting = vec![Payload { opcode: Opcode::Text, bytes }];
        if self.server_iv.is_some() {
            let text = ivs.text(session_id);
            greeting.push(binary(server_iv::announcement(&text).freeze()));
        }
        greeting
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.cipher.is_some()
    }

    /// Encrypts all later frames, and expects encrypted ones.
    pub fn switch(&mut self, cipher: Cipher) {
        self.cipher = Some(cipher);
    }

    /// Decrypts and decodes a frame. Under a key an undecodable frame ends the
    /// session just as an undecryptable one does; a difference between the two
    /// would be a padding oracle.
    pub(super) fn read(&self, frame: Bytes) -> Result<Incoming, Unreadable> {
        let request = match &self.cipher {
            None => codec::open(&frame).map_err(|_| Unreadable::Strike)?,
            Some(cipher) => {
                let fatal = Unreadable::Fatal(Close::ProtocolError);
                let plain = cipher.open(frame).map_err(|_| fatal.clone())?;
                codec::open(&plain).map_err(|_| fatal)?
            }
        };
        let iv = self.server_iv.as_deref().copied();
        Ok(methods::incoming(request, iv))
    }

    /// A text message is never a request.
    pub(super) fn refuse_text(&self) -> Unreadable {
        match self.cipher {
            None => Unreadable::Strike,
            Some(_) => Unreadable::Fatal(Close::ProtocolError),
        }
    }

    pub(super) fn reply(&self, reply: &Reply) -> Payload {
        let head = &reply.head;
        let write = |code, data: &[u8]| codec::answer(&head.req_id, &head.method, code, data);
        let plain = match &reply.outcome {
            Outcome::Response(message) => write(Code::SUCCESS, message),
            Outcome::Verdict(verdict) => write(verdict.code, &verdict.field),
            Outcome::Failure(failure) => {
                let text = text_of(failure);
                write(failure.code, &codec::refusal(failure.code, text.as_deref()))
            }
        };
        binary(self.seal(plain))
    }

    fn seal(&self, plain: BytesMut) -> Bytes {
        match &self.cipher {
            None => plain.freeze(),
            Some(cipher) => cipher.seal(plain),
        }
    }

    /// Only the encryption copies a push.
    pub(super) fn push(&self, event: &Event) -> Payload {
        let plain = event.seed.get_or_init(|| codec::push(event.number, &event.data).freeze());
        binary(match &self.cipher {
            None => plain.clone(),
            Some(cipher) => cipher.seal_copy(plain),
        })
    }
}

fn binary(bytes: Bytes) -> Payload {
    Payload { opcode: Opcode::Binary, bytes }
}

/// The text of a failure, as far as the protocol has one.
fn text_of(failure: &Failure) -> Option<Cow<'_, str>> {
    match (failure.code, failure.author) {
        // There is none for RequestError, unless the service's own is exposed.
        (Code::REQUEST_ERROR, Author::Gateway) => None,
        (Code::ALERT_ERROR, _) => Some(Cow::Owned(alert(&failure.text))),
        _ => Some(Cow::Borrowed(&failure.text)),
    }
}

/// An alert in the form that clients expect: JSON, unless the text is that already.
fn alert(text: &str) -> String {
    if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok() {
        return text.to_owned();
    }
    serde_json::json!({ "title": "", "msg": text, "actions": [] }).to_string()
}
