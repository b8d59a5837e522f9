//! One key, and its permitted algorithms.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
};
use jsonwebtoken::{Algorithm, DecodingKey};

pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) kind: Kind,
    /// The only one of the kind's algorithms that the key's issuer wants it
    /// used with.
    pub(super) only: Option<Algorithm>,
    pub(super) decoding: DecodingKey,
}

/// The kind of a key, which determines its algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Hmac,
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// Shows the kind, and nothing of the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {:?})", self.kind, self.id)
    }
}

impl Kind {
    pub(super) fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::Hmac => &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
            Self::Rsa => &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            Self::P256 => &[Algorithm::ES256],
            Self::P384 => &[Algorithm::ES384],
            Self::Ed25519 => &[Algorithm::EdDSA],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hmac => "HMAC",
            Self::Rsa => "RSA",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Ed25519 => "Ed25519",
        })
    }
}

pub(super) fn is_p256(key: &[u8]) -> bool {
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).is_ok()
}

pub(super) fn is_p384(key: &[u8]) -> bool {
    ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key).is_ok()
}

pub(super) fn is_ed25519(key: &[u8]) -> bool {
    ParsedPublicKey::new(&ED25519, key).is_ok()
}
