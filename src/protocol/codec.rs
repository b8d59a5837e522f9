//! The protocol of one session: reads the client's messages, writes the
//! session's.

use bytes::Bytes;

use super::seed::{Cipher, Seed, ServerIvs};
use super::{Event, Incoming, Payload, Reply, Unreadable};

/// The protocol of a session, chosen where its connection is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The first protocol.
    Seed {
        /// Whether the gateway chooses the IV of the encryption.
        server_iv: bool,
    },
    /// The protocol of tests.
    #[cfg(test)]
    Lines,
}

/// State that the sessions of one worker share by protocol.
#[derive(Debug, Default)]
pub struct Shared {
    server_ivs: ServerIvs,
}

/// The protocol of one session, and its state.
#[derive(Debug)]
pub enum Codec {
    /// The first protocol.
    Seed(Seed),
    /// The protocol of tests.
    #[cfg(test)]
    Lines,
}

impl Codec {
    /// The codec of a new session.
    pub fn open(protocol: Protocol, shared: &Shared, session_id: &str) -> Self {
        match protocol {
            Protocol::Seed { server_iv: false } => Self::Seed(Seed::new()),
            Protocol::Seed { server_iv: true } => {
                Self::Seed(Seed::with_server_iv(&shared.server_ivs, session_id))
            }
            #[cfg(test)]
            Protocol::Lines => Self::Lines,
        }
    }

    /// The messages that begin a session.
    pub fn greeting(&self, shared: &Shared, session_id: &str) -> Vec<Payload> {
        match self {
            Self::Seed(seed) => seed.greeting(&shared.server_ivs, session_id),
            #[cfg(test)]
            Self::Lines => Vec::new(),
        }
    }

    /// Reads a binary message.
    pub fn read(&self, message: Bytes) -> Result<Incoming, Unreadable> {
        match self {
            Self::Seed(seed) => seed.read(message),
            #[cfg(test)]
            Self::Lines => super::lines::read(&message),
        }
    }

    /// Reads a text message.
    pub fn read_text(&self) -> Result<Incoming, Unreadable> {
        match self {
            Self::Seed(seed) => Err(seed.refuse_text()),
            #[cfg(test)]
            Self::Lines => Err(Unreadable::Strike),
        }
    }

    /// Writes a reply.
    pub fn reply(&self, reply: &Reply) -> Payload {
        match self {
            Self::Seed(seed) => seed.reply(reply),
            #[cfg(test)]
            Self::Lines => super::lines::reply(reply),
        }
    }

    /// Writes a push. Its encoding is shared with all sessions of the protocol.
    pub fn push(&self, event: &Event) -> Payload {
        match self {
            Self::Seed(seed) => seed.push(event),
            #[cfg(test)]
            Self::Lines => super::lines::push(event),
        }
    }

    /// Encrypts all later messages, and expects encrypted ones.
    pub fn switch(&mut self, cipher: Cipher) {
        match self {
            Self::Seed(seed) => seed.switch(cipher),
            // No other protocol offers a key.
            #[cfg(test)]
            Self::Lines => {}
        }
    }

    /// Whether the protocol encrypts the session itself.
    pub fn is_encrypted(&self) -> bool {
        match self {
            Self::Seed(seed) => seed.is_encrypted(),
            #[cfg(test)]
            Self::Lines => false,
        }
    }
}
