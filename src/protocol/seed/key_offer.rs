//! The key that a client offers for later frames.

use bytes::Bytes;

use super::cipher::Iv;

/// The key for later frames, as far as a client offers one.
#[derive(Debug, Default)]
pub enum KeyOffer {
    /// None.
    #[default]
    Absent,
    /// All that a key needs.
    Complete(KeyExchange),
    /// A part of it.
    Incomplete,
}

/// A key and an IV on their way to the gateway.
#[derive(Debug)]
pub struct KeyExchange {
    /// The ciphertext of the key's secret.
    pub aes_key: Bytes,
    /// The IV.
    pub iv: WrappedIv,
}

/// The origin of a session's IV.
#[derive(Debug)]
pub enum WrappedIv {
    /// The client's: the ciphertext of its secret.
    Client(Bytes),
    /// The gateway's own.
    Gateway(Iv),
}
