//! The protocols of clients: bytes to meaning and back.
//!
//! - [`message`]: a client's messages and the replies to them, in no protocol.
//! - [`event`]: pushes, in no protocol.
//! - [`codec`]: the protocol of one session, by which it reads and writes.
//! - [`payload`]: messages of a WebSocket.
//! - [`seed`]: the first protocol: its frames, its reserved methods, its encryption.
//! - [`code`]: the codes of replies; [`Close`]: the close codes of sessions.
//!
//! All of it is pure: bytes in, bytes out. Sessions, calls and deliveries use
//! the vocabulary; they never see a protocol's bytes.

pub mod code;
pub mod codec;
pub mod event;
#[cfg(test)]
mod lines;
pub mod message;
pub mod payload;
pub mod seed;

pub use crate::close::Close;
pub use code::Code;
pub use codec::{Codec, Protocol, Shared};
pub use event::Event;
pub use message::{
    Author, Control, Credentials, Description, Failure, Incoming, Malformed, Outcome, Reply,
    Request, RequestHead, Text, Verdict,
};
pub use payload::{Payload, Unreadable};
