//! The RSA keys in PEM files, and their errors; the files themselves are read by
//! [`crate::pem`].
//!
//! Reading a key is a matter of configuration, so every error here is written for
//! the operator who set the key up. The use of keys is in [`rsa`].
//!
//! [`rsa`]: super::rsa

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rsa::KeyPair;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

use crate::pem::{self, Algorithm, PemError};

/// Why a file is not the RSA key that is needed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not PEM, or holds something else.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The key is of another algorithm, such as EC or Ed25519.
    #[error(
        "it holds {}, but an RSA key is needed here; `bridgehead keygen` makes one",
        .0.with_article()
    )]
    NotRsa(Algorithm),
    /// RSA with a modulus below 2048 bits.
    #[error(
        "an RSA key of less than 2048 bits can be broken; `openssl genrsa -out key.pem 2048` makes a new one"
    )]
    TooSmall,
    /// RSA with a modulus above 8192 bits.
    #[error(
        "an RSA key of more than 8192 bits is too slow for handshakes; 2048 to 4096 bits are usual"
    )]
    TooLarge,
    /// The numbers in the key do not fit together, or their encoding is wrong.
    #[error("the key is damaged ({0}); `openssl pkey -in key.pem -check -noout` says more")]
    Damaged(KeyRejected),
    /// A size that keys are not generated in.
    #[error("cannot generate an RSA key of {0} bits: 2048, 3072, 4096 and 8192 are possible")]
    UnsupportedSize(usize),
    /// The cryptography library failed, which no input of ours explains.
    #[error("the cryptography library failed to generate or encode a key")]
    Library,
}

/// The private key in a PKCS#8 or PKCS#1 file, as PKCS#8.
pub(super) fn private_key(file: &[u8]) -> Result<Zeroizing<PrivatePkcs8KeyDer<'static>>, KeyError> {
    let key = pem::private_key(file)?;
    let algorithm = pem::algorithm(&key);
    match key {
        PrivateKeyDer::Pkcs8(key) if algorithm == Some(Algorithm::Rsa) => Ok(Zeroizing::new(key)),
        PrivateKeyDer::Pkcs1(key) => {
            let key = Zeroizing::new(key);
            let pkcs8 = KeyPair::from_der(key.secret_pkcs1_der())?
                .as_der()
                .map_err(|_| KeyError::Library)?;
            Ok(Zeroizing::new(PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec())))
        }
        _ => Err(KeyError::NotRsa(algorithm.unwrap_or(Algorithm::Other))),
    }
}

/// The public key in an SPKI file.
pub(super) fn public_key(file: &[u8]) -> Result<SubjectPublicKeyInfoDer<'static>, KeyError> {
    Ok(pem::public_key(file)?)
}

/// Encodes DER as PEM. The private key's text should not outlive its use, so
/// either is wiped when dropped.
pub(super) fn encode(label: &str, der: &[u8]) -> Result<Zeroizing<String>, KeyError> {
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der)
        .map(Zeroizing::new)
        .map_err(|_| KeyError::Library)
}

impl From<KeyRejected> for KeyError {
    fn from(rejected: KeyRejected) -> Self {
        // The library has no enum for these.
        match rejected.description_() {
            "WrongAlgorithm" | "Unspecified" => Self::NotRsa(Algorithm::Other),
            "TooSmall" => Self::TooSmall,
            "TooLarge" => Self::TooLarge,
            _ => Self::Damaged(rejected),
        }
    }
}
