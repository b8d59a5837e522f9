//! Errors in keys, and the limits that some of them are about.

use std::io;

use crate::pem::PemError;

/// RFC 7518, 3.2: a secret is at least as long as the hash.
pub(super) const MIN_SECRET: usize = 32;
/// More random characters are useless: HMAC hashes longer keys first. RSA keys
/// are longer, in every encoding.
pub(super) const MAX_SECRET: usize = 256;
/// A token without a key id is tried with every key.
pub(super) const MAX_KEYS: usize = 100;

/// Errors in keys. No message repeats a byte of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// JSON, but not a key set.
    #[error("is not a JWKS, which looks like {{\"keys\": [{{\"kty\": …}}]}}: {0}")]
    NotAKeySet(String),
    /// A key set without a key that could verify a token.
    #[error("has no key that tokens can be checked with: {0}")]
    NoUsableKey(String),
    /// A key set that would make a check of a token expensive.
    #[error("has {0} keys, and more than {max} are not used", max = MAX_KEYS)]
    TooManyKeys(usize),
    /// PEM, but not of public keys.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A public key of a kind that no supported algorithm uses.
    #[error("public key {0} is not RSA of 2048 to 8192 bits, EC on P-256 or P-384, or Ed25519")]
    UnsupportedKey(usize),
    /// A public key without its first and last line.
    #[error(
        "looks like a public key without its PEM lines: put -----BEGIN PUBLIC KEY----- before it \
         and -----END PUBLIC KEY----- behind it"
    )]
    BareKey,
    /// JSON behind something else.
    #[error(
        "has something before its JSON: leave it out, since JSON has no comments, and begins with `{{`"
    )]
    Prefaced,
    /// Neither JSON nor PEM.
    #[error(
        "is neither a JWKS nor PEM with public keys. If it is an HMAC secret, name it under \
         `auth.jwt.secret` instead of `auth.jwt.keys`"
    )]
    Neither,
    /// Text of two bytes a character.
    #[error("is UTF-16: save it as UTF-8")]
    Utf16,
    /// Not text at all.
    #[error(
        "is not text. A public key in DER becomes PEM with `openssl pkey -pubin -inform DER -in \
         FILE`; a binary secret goes into a JWKS, as {{\"kty\": \"oct\", \"k\": \"<base64url>\"}}"
    )]
    NotText,
    /// A secret that could be guessed.
    #[error(
        "holds a secret of {0} bytes, but HMAC keys need {MIN_SECRET}: try `openssl rand -hex 32`"
    )]
    ShortSecret(usize),
    /// A secret that is too long to be one.
    #[error(
        "holds {0} bytes, which is too long for a secret (up to {max}): try `openssl rand -hex 32`",
        max = MAX_SECRET
    )]
    LongSecret(usize),
    /// A secret with line breaks in it.
    #[error("has several lines, and a secret is one: try `openssl rand -hex 32`")]
    SeveralLines,
    /// Public material instead of a secret.
    #[error(
        "holds {0}, which is not a secret. Public keys are named under `auth.jwt.keys`; a secret is \
         one line of random characters, such as `openssl rand -hex 32` prints"
    )]
    NoSecret(&'static str),
}
