//! The one reader of PEM files: certificates, private keys, public keys.
//!
//! Every file of this kind that is configured, or that an argument names, is
//! read here, so that two things hold everywhere. For an unusable file, the error
//! explains the problem and the remedy ([`PemError`]). And no byte between its
//! `BEGIN` and `END` lines becomes part of an error: errors consist of fixed
//! words and numbers alone. That is why the errors of parsers are dropped here
//! rather than passed on; some of them repeat their input.
//!
//! More is accepted than a strict parser would: a byte order mark, white space
//! around lines, any line length, text between sections. Where several kinds of
//! sections are in one file, sections of other kinds are ignored.
//!
//! Not here: files themselves (bytes go in), and which keys suit which purpose.
//!
//! PEM is RFC 7468; the encrypted form with headers is RFC 1421.

mod content;
mod handshake;
mod identity;
mod label;
mod problem;
mod sections;
mod text;
mod wanted;

use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    SubjectPublicKeyInfoDer,
};

use content::Content;
use label::Label;
use sections::{Section, sections};

pub use content::Algorithm;
pub use handshake::handshake;
pub use identity::{Unfit, authorities, identity};
pub use problem::{PemError, TextError};
pub use text::{secret, text};
pub use wanted::Wanted;

/// Every certificate in a file; one at least.
///
/// # Errors
///
/// The file cannot be used.
pub fn certificates(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found = wanted(file, Wanted::Certificate)?;
    let der = found.into_iter().map(|section| {
        section.expect(Content::Certificate)?;
        Ok(CertificateDer::from(section.der.to_vec()))
    });
    der.collect()
}

/// The one private key in a file, of any algorithm: PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
///
/// The file cannot be used.
pub fn private_key(file: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    let section = only(wanted(file, Wanted::PrivateKey)?, Wanted::PrivateKey)?;
    let der = section.der.to_vec();
    match section.label {
        Label::RsaPrivateKey => {
            section.expect(Content::Pkcs1)?;
            Ok(PrivatePkcs1KeyDer::from(der).into())
        }
        Label::EcPrivateKey => {
            section.expect(Content::Sec1)?;
            Ok(PrivateSec1KeyDer::from(der).into())
        }
        _ => {
            section.expect_pkcs8()?;
            Ok(PrivatePkcs8KeyDer::from(der).into())
        }
    }
}

/// Every public key (SPKI) in a file; one at least.
///
/// # Errors
///
/// The file cannot be used.
pub fn public_keys(file: &[u8]) -> Result<Vec<SubjectPublicKeyInfoDer<'static>>, PemError> {
    let found = wanted(file, Wanted::PublicKey)?;
    let der = found.into_iter().map(|section| {
        section.expect_public()?;
        Ok(SubjectPublicKeyInfoDer::from(section.der.to_vec()))
    });
    der.collect()
}

/// The one public key (SPKI) in a file.
///
/// # Errors
///
/// The file cannot be used.
pub fn public_key(file: &[u8]) -> Result<SubjectPublicKeyInfoDer<'static>, PemError> {
    let section = only(wanted(file, Wanted::PublicKey)?, Wanted::PublicKey)?;
    section.expect_public()?;
    Ok(SubjectPublicKeyInfoDer::from(section.der.to_vec()))
}

/// The algorithm of a private key, where its form contains it.
#[must_use]
pub fn algorithm(key: &PrivateKeyDer<'_>) -> Option<Algorithm> {
    match key {
        PrivateKeyDer::Pkcs1(_) => Some(Algorithm::Rsa),
        PrivateKeyDer::Sec1(_) => Some(Algorithm::Ec),
        PrivateKeyDer::Pkcs8(key) => match content::of(key.secret_pkcs8_der()) {
            Ok(Content::Pkcs8(algorithm)) => Some(algorithm),
            _ => None,
        },
        _ => None,
    }
}

/// The sections of the wanted kind, decoded; one at least.
fn wanted(file: &[u8], wanted: Wanted) -> Result<Vec<Section>, PemError> {
    let all = sections(file, wanted)?;
    let fits = |section: &Section| section.label.is(wanted);
    if let Some(found) = all.iter().find(|section| fits(section) && section.is_encrypted) {
        return Err(PemError::Encrypted(found.label.is_pkcs8()));
    }
    if all.iter().any(fits) {
        return all.into_iter().filter(fits).map(Section::decode).collect();
    }
    Err(match all.first().map(|section| section.label) {
        None => PemError::NoSection(wanted),
        Some(Label::EncryptedPrivateKey) if wanted == Wanted::PrivateKey => {
            PemError::Encrypted(true)
        }
        Some(label) => PemError::OtherSection { label: label.name(), wanted },
    })
}

fn only(mut found: Vec<Section>, wanted: Wanted) -> Result<Section, PemError> {
    let count = found.len();
    match found.pop() {
        Some(section) if count == 1 => Ok(section),
        _ => Err(PemError::Several { count, wanted }),
    }
}

#[cfg(test)]
mod tests;
