//! What travels inside a binary WebSocket frame, and its encryption.
//!
//! - [`codec`]: opens a `RequestBody`, writes a `PushBody` and what is in it.
//! - [`code`]: the codes that answers carry.
//! - [`cipher`]: AES over whole frames, once a session has asked for it.
//! - [`close`]: the codes that a session ends with.
//! - [`rsa`]: how the client's half of the AES key gets here.
//! - [`pem`]: the files that RSA keys live in.
//!
//! All of it is pure: bytes in, bytes out. Which frames a session may send,
//! and what an unreadable one costs it, is the session's to decide; where a
//! method leads is routing's.

pub mod cipher;
pub mod close;
pub mod code;
pub mod codec;
pub mod pem;
pub mod rsa;

pub use cipher::{Cipher, Undecryptable};
pub use close::Close;
pub use code::Code;
pub use codec::{NotARequest, Request, Text};
pub use pem::KeyError;
pub use rsa::{PrivateKey, PublicKey, Secret};
