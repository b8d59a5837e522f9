//! RSA: how the client's secrets get here.
//!
//! Clients send two random strings under the gateway's public key, as PKCS#1
//! v1.5 ciphertexts ([`PublicKey::wrap_secret`]); the gateway takes them out
//! again ([`PrivateKey::unwrap_secret`]) and derives the session's [`Cipher`]
//! from them. The key files are read in [`pem`].
//!
//! PKCS#1 v1.5 decryption whose failure shows is an oracle that decrypts
//! anything (Bleichenbacher 1998), so failure does not show here: it yields a
//! pseudo-random secret instead ("implicit rejection", as OpenSSL 3.2 and
//! draft-irtf-cfrg-rsa-guidance have it), and the client's next frame does not
//! decrypt, for which there are innocent reasons too.
//!
//! [`Cipher`]: super::cipher::Cipher
//! [`pem`]: super::pem

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{
    KeySize, Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use subtle::{Choice, ConditionallySelectable};
use zeroize::Zeroizing;

use super::pem::{self, KeyError};

/// The label from which the key of the pseudo-random secrets is derived. Changing
/// it changes them, without effect: they lead nowhere.
const REJECTION_LABEL: &[u8] = b"bridgehead implicit rejection v1";

/// The gateway's private key.
pub struct PrivateKey {
    key: Pkcs1PrivateDecryptingKey,
    /// Makes the stand-in secrets for bad ciphertexts.
    rejection: hmac::Key,
    public_pem: String,
}

/// A secret that a client encrypted with the gateway's public key, or its
/// stand-in. Wiped when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

/// A ciphertext that is not as long as the key's modulus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an RSA ciphertext of {len} bytes, but the gateway's key makes it {expected}")]
pub struct WrongLength {
    /// The ciphertext's length in bytes.
    pub len: usize,
    /// The modulus' length in bytes.
    pub expected: usize,
}

impl PrivateKey {
    /// Reads a PKCS#8 or PKCS#1 PEM file of 2048 to 8192 bits.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let pkcs8 = pem::private_key(pem.as_ref())?;
        Self::new(&PrivateDecryptingKey::from_pkcs8(pkcs8.secret_pkcs8_der())?)
    }

    fn new(key: &PrivateDecryptingKey) -> Result<Self, KeyError> {
        let public = key.public_key().as_der().map_err(|_| KeyError::Library)?;
        Ok(Self {
            rejection: rejection_key(key)?,
            public_pem: pem::encode("PUBLIC KEY", public.as_ref())?.to_string(),
            key: Pkcs1PrivateDecryptingKey::new(key.clone()).map_err(|_| KeyError::Library)?,
        })
    }

    /// Bytes of the modulus, and so of every ciphertext: 256 for a key of 2048 bits.
    pub fn modulus_len(&self) -> usize {
        self.key.key_size_bytes()
    }

    /// The public key that belongs to this one, for clients: SPKI in PEM.
    pub fn public_key_pem(&self) -> &str {
        &self.public_pem
    }

    /// Decrypts a ciphertext of [`PublicKey::wrap_secret`].
    ///
    /// A bad ciphertext is no error: it yields a secret that is always the same
    /// for the same ciphertext and key, also in another process. Only a wrong
    /// length, which is visible anyway, is an error.
    ///
    /// Keeps a CPU busy for a third of a millisecond with a key of 2048 bits,
    /// and two milliseconds with 4096: not for threads that serve sessions.
    pub fn unwrap_secret(&self, ciphertext: &[u8]) -> Result<Secret, WrongLength> {
        let expected = self.modulus_len();
        if ciphertext.len() != expected {
            return Err(WrongLength { len: ciphertext.len(), expected });
        }
        let stand_in = hmac::sign(&self.rejection, ciphertext);
        let mut secret = Zeroizing::new(vec![0; expected]);
        let decrypted = self.key.decrypt(ciphertext, &mut secret);
        // From here on the same is done in either case. Behind us the library
        // checks the padding in constant time, but then reports a failure by
        // way of its error queue, some nanoseconds in a third of a million.
        let is_good = Choice::from(u8::from(decrypted.is_ok()));
        let len = decrypted.map_or(0, |secret| secret.len());
        for (byte, other) in secret.iter_mut().zip(stand_in.as_ref()) {
            *byte = u8::conditional_select(other, byte, is_good);
        }
        secret.truncate(select_len(stand_in.as_ref().len(), len, is_good));
        Ok(Secret(secret))
    }
}

/// `good` where `is_good`, else `bad`.
fn select_len(bad: usize, good: usize, is_good: Choice) -> usize {
    // A secret is shorter than a modulus, which is at most 1024 bytes.
    let [bad, good] = [bad, good].map(|len| u16::try_from(len).unwrap_or(u16::MAX));
    usize::from(u16::conditional_select(&bad, &good, is_good))
}

/// The key of the stand-in secrets: unknown without the private key, and the
/// same wherever that key is loaded, from whichever format.
fn rejection_key(key: &PrivateDecryptingKey) -> Result<hmac::Key, KeyError> {
    let pkcs8 = key.as_der().map_err(|_| KeyError::Library)?;
    let from_key = hmac::Key::new(hmac::HMAC_SHA256, pkcs8.as_ref());
    let derived = hmac::sign(&from_key, REJECTION_LABEL);
    Ok(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
}

impl Secret {
    /// The bytes, for [`Cipher::derive`].
    ///
    /// [`Cipher::derive`]: super::cipher::Cipher::derive
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The gateway's public key, as a client has it.
pub struct PublicKey(Pkcs1PublicEncryptingKey);

/// Why a secret could not be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// The padding of PKCS#1 v1.5 needs 11 bytes of the modulus.
    #[error("a secret of {len} bytes, but the key takes {max} at most")]
    TooLong {
        /// The secret's length in bytes.
        len: usize,
        /// The longest possible.
        max: usize,
    },
    /// The cryptography library failed, which no input of ours explains.
    #[error("the cryptography library failed to encrypt")]
    Library,
}

impl PublicKey {
    /// Reads an SPKI PEM file (`-----BEGIN PUBLIC KEY-----`).
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let spki = pem::public_key(pem.as_ref())?;
        let key = PublicEncryptingKey::from_der(&spki)?;
        Pkcs1PublicEncryptingKey::new(key).map(Self).map_err(|_| KeyError::Library)
    }

    /// Encrypts a secret for the gateway; every time another ciphertext.
    pub fn wrap_secret(&self, secret: &[u8]) -> Result<Vec<u8>, WrapError> {
        let (len, max) = (secret.len(), self.0.max_plaintext_size());
        if len > max {
            return Err(WrapError::TooLong { len, max });
        }
        let mut ciphertext = vec![0; self.0.ciphertext_size()];
        self.0.encrypt(secret, &mut ciphertext).map_err(|_| WrapError::Library)?;
        Ok(ciphertext)
    }
}

/// A new key, as the two files that gateway and clients need.
pub struct KeyFiles {
    /// The gateway's: PKCS#8 in PEM. Wiped when dropped.
    pub private_pem: Zeroizing<String>,
    /// The clients': SPKI in PEM.
    pub public_pem: String,
}

/// Makes a new key of 2048, 3072, 4096 or 8192 bits.
///
/// Keeps a CPU busy for a tenth of a second with 2048 bits, for seconds with more.
pub fn generate_key(bits: usize) -> Result<KeyFiles, KeyError> {
    let size = match bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        8192 => KeySize::Rsa8192,
        _ => return Err(KeyError::UnsupportedSize(bits)),
    };
    let key = PrivateDecryptingKey::generate(size).map_err(|_| KeyError::Library)?;
    let pkcs8 = key.as_der().map_err(|_| KeyError::Library)?;
    Ok(KeyFiles {
        private_pem: pem::encode("PRIVATE KEY", pkcs8.as_ref())?,
        public_pem: PrivateKey::new(&key)?.public_pem,
    })
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("modulus_len", &self.modulus_len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("modulus_len", &self.0.key_size_bytes())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFiles").field("public_pem", &self.public_pem).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static FILES: LazyLock<KeyFiles> = LazyLock::new(|| generate_key(2048).unwrap());

    fn private() -> PrivateKey {
        PrivateKey::from_pem(&*FILES.private_pem).unwrap()
    }

    fn public() -> PublicKey {
        PublicKey::from_pem(&FILES.public_pem).unwrap()
    }

    #[test]
    fn what_was_wrapped_is_unwrapped() {
        let longest = [7; 256 - 11];
        for secret in [&b""[..], b"x", b"a random string of the client's", &longest] {
            let ciphertext = public().wrap_secret(secret).unwrap();
            assert_eq!(ciphertext.len(), private().modulus_len());
            assert_eq!(private().unwrap_secret(&ciphertext).unwrap().as_bytes(), secret);
        }
    }

    #[test]
    fn a_secret_too_long_for_the_key_is_not_wrapped() {
        let error = public().wrap_secret(&[0; 246]).unwrap_err();
        assert_eq!(error, WrapError::TooLong { len: 246, max: 245 });
    }

    #[test]
    fn a_bad_ciphertext_always_yields_the_same_secret() {
        let bad = [0x5a; 256];
        let first = private().unwrap_secret(&bad).unwrap();
        let second = private().unwrap_secret(&bad).unwrap();
        assert_eq!(first.as_bytes().len(), 32);
        assert_eq!(first.as_bytes(), second.as_bytes());
    }

    #[test]
    fn another_bad_ciphertext_yields_another_secret() {
        let one = private().unwrap_secret(&[0x5a; 256]).unwrap();
        let other = private().unwrap_secret(&[0x5b; 256]).unwrap();
        assert_ne!(one.as_bytes(), other.as_bytes());
    }

    #[test]
    fn another_key_yields_another_secret_for_a_bad_ciphertext() {
        let other_key = PrivateKey::from_pem(&*generate_key(2048).unwrap().private_pem).unwrap();
        let bad = [0x5a; 256];
        let one = private().unwrap_secret(&bad).unwrap();
        let other = other_key.unwrap_secret(&bad).unwrap();
        assert_ne!(one.as_bytes(), other.as_bytes());
    }

    #[test]
    fn a_ciphertext_above_the_modulus_is_a_bad_one_like_others() {
        let secret = private().unwrap_secret(&[0xff; 256]).unwrap();
        assert_eq!(secret.as_bytes().len(), 32);
    }

    #[test]
    fn only_a_wrong_length_is_told_apart() {
        for len in [0, 1, 255, 257, 512] {
            let error = private().unwrap_secret(&vec![1; len]).unwrap_err();
            assert_eq!(error, WrongLength { len, expected: 256 });
        }
    }

    #[test]
    fn the_public_key_comes_with_the_private_one() {
        assert_eq!(private().public_key_pem(), FILES.public_pem);
    }

    #[test]
    fn keys_are_generated_in_sensible_sizes_only() {
        for bits in [0, 512, 1024, 2047, 16384] {
            assert!(matches!(generate_key(bits), Err(KeyError::UnsupportedSize(b)) if b == bits));
        }
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let ciphertext = public().wrap_secret(b"AAAA").unwrap();
        let secret = private().unwrap_secret(&ciphertext).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret { .. }");
        assert_eq!(format!("{:?}", private()), "PrivateKey { modulus_len: 256, .. }");
        assert!(!format!("{:?}", *FILES).contains("PRIVATE"));
    }
}
