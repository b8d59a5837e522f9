//! The PEM files that RSA keys live in, and what can be wrong with them.
//!
//! Reading a key is a matter of configuration, so every error here is written
//! for whoever set the key up. What is done with keys is in [`rsa`].
//!
//! [`rsa`]: super::rsa

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rsa::KeyPair;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

const PRIVATE: &str = "`PRIVATE KEY` (PKCS#8) or `RSA PRIVATE KEY` (PKCS#1)";
const PUBLIC: &str = "`PUBLIC KEY` (SPKI, as `openssl pkey -pubout` writes it)";

/// Why a file is not the RSA key that is needed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no PEM section in it.
    #[error(
        "not PEM: it has no `-----BEGIN` line; \
         `openssl pkey -inform DER -in key.der -out key.pem` converts a DER file"
    )]
    NotPem,
    /// There is PEM in it, but broken.
    #[error("broken PEM: {0}")]
    BrokenPem(String),
    /// It holds something else.
    #[error("it holds a `{found}`, but {wanted} is needed here")]
    WrongSection {
        /// The label of the first section in the file.
        found: String,
        /// What should be there.
        wanted: &'static str,
    },
    /// The public key was given where the private one is needed.
    #[error("it holds a public key; the private key that belongs to it is needed here")]
    PublicKey,
    /// The private key was given where the public one will do.
    #[error(
        "it holds a private key, which should stay on the gateway; the public key is needed here: \
         `openssl pkey -in private.pem -pubout -out public.pem`"
    )]
    PrivateKey,
    /// The key is encrypted with a passphrase.
    #[error(
        "the key is encrypted with a passphrase, which nobody could type in here; \
         `openssl pkey -in encrypted.pem -out key.pem` decrypts it"
    )]
    Encrypted,
    /// The key is of another algorithm, such as EC or Ed25519.
    #[error("not an RSA key; `openssl genrsa -out key.pem 2048` makes one")]
    NotRsa,
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
pub(super) fn private_key(pem: &[u8]) -> Result<Zeroizing<PrivatePkcs8KeyDer<'static>>, KeyError> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(PrivateKeyDer::Pkcs8(key)) => Ok(Zeroizing::new(key)),
        Ok(PrivateKeyDer::Pkcs1(key)) => {
            let key = Zeroizing::new(key);
            let pkcs8 = KeyPair::from_der(key.secret_pkcs1_der())?
                .as_der()
                .map_err(|_| KeyError::Library)?;
            Ok(Zeroizing::new(PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec())))
        }
        Ok(_) => Err(KeyError::NotRsa),
        Err(error) => Err(diagnose(pem, &error, PRIVATE)),
    }
}

/// The public key in an SPKI file.
pub(super) fn public_key(pem: &[u8]) -> Result<SubjectPublicKeyInfoDer<'static>, KeyError> {
    SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|error| diagnose(pem, &error, PUBLIC))
}

/// Encodes DER as PEM. The private key's text should not outlive its use, so
/// either is wiped when dropped.
pub(super) fn encode(label: &str, der: &[u8]) -> Result<Zeroizing<String>, KeyError> {
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der)
        .map(Zeroizing::new)
        .map_err(|_| KeyError::Library)
}

/// What is the matter with a file that does not hold what is `wanted`.
fn diagnose(pem: &[u8], error: &rustls_pki_types::pem::Error, wanted: &'static str) -> KeyError {
    let text = String::from_utf8_lossy(pem);
    let Some((label, _)) =
        text.split_once("-----BEGIN ").and_then(|(_, rest)| rest.split_once("-----"))
    else {
        return KeyError::NotPem;
    };
    let is_private = label.ends_with("PRIVATE KEY");
    let is_public = label.ends_with("PUBLIC KEY");
    if wanted == PRIVATE && is_public {
        KeyError::PublicKey
    } else if wanted == PUBLIC && is_private {
        KeyError::PrivateKey
    } else if label == "ENCRYPTED PRIVATE KEY" || text.contains("Proc-Type: 4,ENCRYPTED") {
        KeyError::Encrypted
    } else if matches!(error, rustls_pki_types::pem::Error::NoItemsFound) {
        KeyError::WrongSection { found: label.to_owned(), wanted }
    } else {
        KeyError::BrokenPem(error.to_string())
    }
}

impl From<KeyRejected> for KeyError {
    fn from(rejected: KeyRejected) -> Self {
        // The library has no enum for these.
        match rejected.description_() {
            "WrongAlgorithm" | "Unspecified" => Self::NotRsa,
            "TooSmall" => Self::TooSmall,
            "TooLarge" => Self::TooLarge,
            _ => Self::Damaged(rejected),
        }
    }
}
