//! Messages of a WebSocket, as all protocols write and refuse them.

use bytes::Bytes;

use super::Close;
use crate::websocket::frame::Opcode;

/// One message of a WebSocket, to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// [`Opcode::Text`] or [`Opcode::Binary`].
    pub opcode: Opcode,
    /// The message.
    pub bytes: Bytes,
}

/// A message that the protocol does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// Answered with an error. The session goes on, unless it sends many.
    Strike,
    /// Ends the session.
    Fatal(Close),
}
