//! What a session writes: its greeting, and what its outbox holds, sealed on
//! the way to the socket, with the pings that stand between.

use bytes::Bytes;
use bytestring::ByteString;

use crate::envelope::cipher::Cipher;
use crate::outbox::{Frame, Reader, Ticket};
use crate::session::confirmations::Confirmations;
use crate::session::socket::{Outgoing, Source};
use crate::session::traffic::Traffic;

/// The first message of every connection: text, and never encrypted.
pub(super) struct Greeting(pub(super) bool);

impl Source for Greeting {
    fn next(&mut self) -> Option<Outgoing> {
        std::mem::take(&mut self.0).then_some(Outgoing::Text(ByteString::from_static("connected")))
    }

    fn written(&mut self) {}
}

/// What the outbox holds, on its way to the socket, with pings between.
pub(super) struct Queue<'a> {
    pub(super) outbox: &'a Reader,
    pub(super) cipher: Option<&'a Cipher>,
    pub(super) traffic: &'a Traffic,
    pub(super) confirmations: &'a mut Confirmations,
    pub(super) heartbeat: bool,
    /// What was given has been taken, and more may be waiting behind it.
    pub(super) is_behind: bool,
}

impl Source for Queue<'_> {
    fn next(&mut self) -> Option<Outgoing> {
        if std::mem::take(&mut self.heartbeat) {
            return Some(Outgoing::Ping(self.confirmations.heartbeat()));
        }
        // Also where more is always waiting, what was sent gets its ping.
        if std::mem::take(&mut self.is_behind)
            && let Some(payload) = self.confirmations.ping_behind()
        {
            return Some(Outgoing::Ping(payload));
        }
        let Some(frame) = self.outbox.take() else {
            return self.confirmations.ping_behind().map(Outgoing::Ping);
        };
        let (sealed, ticket) = seal(frame, self.cipher, self.traffic);
        if let Some(ticket) = ticket {
            self.confirmations.sent(ticket);
        }
        Some(Outgoing::Binary(sealed))
    }

    fn written(&mut self) {
        self.confirmations.written();
        self.is_behind = true;
    }
}

/// Encrypts a frame where the session does so. A push is shared with other
/// sessions: only the encryption copies it.
pub(super) fn seal(
    frame: Frame,
    cipher: Option<&Cipher>,
    traffic: &Traffic,
) -> (Bytes, Option<Ticket>) {
    let sealed = match (frame, cipher) {
        (Frame::Answer(plain), None) => (plain.freeze(), None),
        (Frame::Answer(plain), Some(cipher)) => (cipher.seal(plain), None),
        (Frame::Push(plain, ticket), None) => (plain, ticket),
        (Frame::Push(plain, ticket), Some(cipher)) => (cipher.seal_copy(&plain), ticket),
    };
    traffic.sent(sealed.0.len());
    sealed
}
