//! The output of a session: its greeting, and the entries of its outbox, encoded
//! on the way to the socket, with pings between.

use crate::outbox::{Item, Reader, Ticket};
use crate::protocol::{Codec, Payload};
use crate::session::confirmations::Confirmations;
use crate::session::socket::{Outgoing, Source};
use crate::session::traffic::Traffic;
use crate::websocket::frame::Opcode;

/// The first messages of a session.
pub(super) struct Greeting(std::vec::IntoIter<Payload>);

impl Greeting {
    pub(super) fn new(messages: Vec<Payload>, traffic: &Traffic) -> Self {
        // The text in front of the first protocol's messages is none of them.
        for message in messages.iter().filter(|message| message.opcode == Opcode::Binary) {
            traffic.sent(message.bytes.len());
        }
        Self(messages.into_iter())
    }
}

impl Source for Greeting {
    fn next(&mut self) -> Option<Outgoing> {
        self.0.next().map(Outgoing::Message)
    }

    fn written(&mut self) {}
}

/// The entries of the outbox on their way to the socket, with pings between.
pub(super) struct Queue<'a> {
    pub(super) outbox: &'a Reader,
    pub(super) codec: &'a Codec,
    pub(super) traffic: &'a Traffic,
    pub(super) confirmations: &'a mut Confirmations,
    pub(super) heartbeat: bool,
    /// The frames given so far are written, and more may wait behind them.
    pub(super) is_behind: bool,
}

impl Source for Queue<'_> {
    fn next(&mut self) -> Option<Outgoing> {
        if std::mem::take(&mut self.heartbeat) {
            return Some(Outgoing::Ping(self.confirmations.heartbeat()));
        }
        // Sent frames get their ping even if the outbox is never empty.
        if std::mem::take(&mut self.is_behind)
            && let Some(payload) = self.confirmations.ping_behind()
        {
            return Some(Outgoing::Ping(payload));
        }
        let Some(item) = self.outbox.take() else {
            return self.confirmations.ping_behind().map(Outgoing::Ping);
        };
        let (message, ticket) = encode(item, self.codec, self.traffic);
        if let Some(ticket) = ticket {
            self.confirmations.sent(ticket);
        }
        Some(Outgoing::Message(message))
    }

    fn written(&mut self) {
        self.confirmations.written();
        self.is_behind = true;
    }
}

/// Encodes an entry of the outbox in the session's protocol.
pub(super) fn encode(item: Item, codec: &Codec, traffic: &Traffic) -> (Payload, Option<Ticket>) {
    let encoded = match item {
        Item::Reply(reply) => (codec.reply(&reply), None),
        Item::Push(event, ticket) => (codec.push(&event), ticket),
    };
    traffic.sent(encoded.0.bytes.len());
    encoded
}
