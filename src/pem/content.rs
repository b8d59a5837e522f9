//! The kind of DER within a section, by the tags of its first values. This is for
//! errors: users of a key or a certificate parse it in full.

use x509_parser::asn1_rs::{Any, Err, FromDer, Tag};

/// The first byte of a sequence. All supported contents are sequences.
const SEQUENCE: u8 = 0x30;

/// The kind of some DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Certificate,
    /// `PrivateKeyInfo`, RFC 5208, and `OneAsymmetricKey`, RFC 5958.
    Pkcs8(Algorithm),
    /// `RSAPrivateKey`, RFC 8017.
    Pkcs1,
    /// `ECPrivateKey`, RFC 5915.
    Sec1,
    /// `SubjectPublicKeyInfo`, RFC 5280.
    Public,
    /// `EncryptedPrivateKeyInfo`, RFC 5208.
    Encrypted,
    Unknown,
}

/// The algorithm of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA.
    Rsa,
    /// ECDSA, on any curve.
    Ec,
    /// `EdDSA` on Curve25519.
    Ed25519,
    /// Any other.
    Other,
}

impl Algorithm {
    /// The name, with an article.
    #[must_use]
    pub fn with_article(self) -> &'static str {
        match self {
            Self::Rsa => "an RSA key",
            Self::Ec => "an EC key",
            Self::Ed25519 => "an Ed25519 key",
            Self::Other => "a key of another algorithm",
        }
    }
}

/// Invalid or incomplete DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotDer {
    CutOff,
    TooLong,
    Nonsense,
}

/// The kind of a whole section's bytes.
pub(super) fn of(der: &[u8]) -> Result<Content, NotDer> {
    let (rest, outer) = Any::from_der(der).map_err(|error| match error {
        Err::Incomplete(_) if der.first() == Some(&SEQUENCE) => NotDer::CutOff,
        Err::Incomplete(_) | Err::Error(_) | Err::Failure(_) => NotDer::Nonsense,
    })?;
    if outer.tag() != Tag::Sequence {
        return Err(NotDer::Nonsense);
    }
    if !rest.is_empty() {
        return Err(NotDer::TooLong);
    }
    let mut values = Values(outer.data);
    let tags = [values.next(), values.next(), values.next()];
    let tag = |at: usize| tags.get(at).and_then(Option::as_ref).map(Any::tag);
    Ok(match (tag(0), tag(1), tag(2)) {
        (Some(Tag::Sequence), Some(Tag::Sequence), Some(Tag::BitString)) => Content::Certificate,
        (Some(Tag::Integer), Some(Tag::Sequence), Some(Tag::OctetString)) => {
            Content::Pkcs8(tags.get(1).and_then(Option::as_ref).map_or(Algorithm::Other, algorithm))
        }
        (Some(Tag::Integer), Some(Tag::Integer), Some(Tag::Integer)) => Content::Pkcs1,
        (Some(Tag::Integer), Some(Tag::OctetString), _) => Content::Sec1,
        (Some(Tag::Sequence), Some(Tag::BitString), None) => Content::Public,
        (Some(Tag::Sequence), Some(Tag::OctetString), None) => Content::Encrypted,
        _ => Content::Unknown,
    })
}

/// The algorithm that an `AlgorithmIdentifier` names.
fn algorithm(identifier: &Any<'_>) -> Algorithm {
    let name = Values(identifier.data).next().and_then(|name| name.oid().ok());
    match name.map(|name| name.to_id_string()).as_deref() {
        Some("1.2.840.113549.1.1.1") => Algorithm::Rsa,
        Some("1.2.840.10045.2.1") => Algorithm::Ec,
        Some("1.3.101.112") => Algorithm::Ed25519,
        _ => Algorithm::Other,
    }
}

/// The values within a constructed one, as far as they are valid.
struct Values<'d>(&'d [u8]);

impl<'d> Iterator for Values<'d> {
    type Item = Any<'d>;

    fn next(&mut self) -> Option<Any<'d>> {
        let (rest, value) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(value)
    }
}
