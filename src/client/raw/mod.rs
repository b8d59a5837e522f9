//! A session without ceremony: a logged-in socket, and what is needed to work
//! with it frame by frame.
//!
//! For whoever drives very many sessions, or drives them very fast, and has
//! to spend less on it than the gateway does: no task, no channel, no queue
//! and no buffer of a session's own. [`open`] shakes hands and logs in;
//! [`frames`] is WebSocket on the wire, [`message`] is what is inside. Who
//! reads and writes, and when, is for whoever uses this.

pub mod frames;
mod handshake;
pub mod message;
mod upgrade;

pub use handshake::{RawSession, Refused, open};
