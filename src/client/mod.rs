//! The other end of the wire: a client of the session protocol, over WebSocket.
//!
//! [`Session::connect`] opens a session and describes the device, with encryption
//! if asked; [`Session::login`] names the user; [`Session::call`] calls methods,
//! any number at once; [`Session::pushes`] are the messages that the gateway sends
//! by itself. Messages are bytes here: their types and their form as JSON are the
//! user's concern. Lost sessions are not opened again.
//!
//! [`raw`] is the same without comfort, for load. [`push::connect`] is apart from
//! that: a backend's connection to the Push API.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use bridgehead::client::{Options, Session};
//!
//! let session = Session::connect(Options::new("ws://127.0.0.1:8080/ws")).await?;
//! session.login("zoe", "token").await?;
//! let friends = session.call("/v1/relation/getFriendList", bytes::Bytes::new()).await?;
//! # drop(friends);
//! # Ok(())
//! # }
//! ```

mod agreement;
mod closed;
mod connection;
mod options;
mod place;
pub mod push;
pub mod raw;
mod recognise;
mod session;
mod socket;
mod tls;

pub use closed::Closed;
pub use connection::{Push, Pushes};
pub use options::Options;
pub use place::{DialError, Transport, is_plain};
pub use session::{CallError, ConnectError, Refusal, Session};
pub use tls::{Tls, TlsError};

#[cfg(test)]
mod tests;
