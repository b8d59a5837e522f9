//! The server's side of the WebSocket protocol (RFC 6455), without I/O: bytes
//! in, messages out, and frames written into a buffer.
//!
//! Own code rather than a library, because a gateway holds very many connections
//! that do nothing at the moment: here such a connection has no buffer at all.
//! Libraries keep at least one for reading, grown by any burst, for as long as
//! the connection lives; and a `Reader` takes all received bytes in one piece,
//! where they read into the rest of their buffer. It is checked against
//! tungstenite, which the client of this crate uses: by property tests, and by a
//! fuzz target.
//!
//! - `frame`: the header of a frame, read and written; the mask
//! - `reader`: from bytes to messages
//!
//! Not here: the opening handshake (`edge`), reading and writing sockets, and the
//! handling of messages (`session`). No extension is offered, so none is
//! understood.

pub mod frame;
mod reader;

pub use reader::{CloseFrame, Message, Reader, Violation};
