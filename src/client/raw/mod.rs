//! A session without ceremony: a logged-in socket, and the means to work with it
//! frame by frame.
//!
//! For load generators, which drive very many sessions, or drive them very fast,
//! and must spend less on it than the gateway does: no task, no channel, no queue
//! and no buffer of a session's own. [`open`] shakes hands and logs in; [`frames`]
//! is WebSocket on the wire, [`message`] the messages inside. Reading and writing,
//! and their times, are the user's concern.

pub mod frames;
mod handshake;
pub mod message;
mod upgrade;

pub use handshake::{RawSession, Refused, open};
