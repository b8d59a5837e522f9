//! AES over whole frames: AES-256-CBC with PKCS#7 padding, one key and one IV
//! for all of a session's frames, as existing clients expect it.
//!
//! That protocol has no integrity and repeats its IV, so equal beginnings of
//! two plaintexts show as equal beginnings of their ciphertexts. It is no
//! substitute for TLS. How the secrets reach the gateway is in [`rsa`].
//!
//! [`rsa`]: super::rsa

use std::fmt;

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of an AES block.
const BLOCK: usize = 16;

/// How long a frame of `len` bytes is once sealed: the next multiple of 16
/// above `len`, since the padding is never empty.
pub const fn sealed_len(len: usize) -> usize {
    len - len % BLOCK + BLOCK
}

/// A session's cipher. The key schedule is expanded once, not per frame.
///
/// The schedule takes about a kilobyte, so it is boxed: most of the sessions
/// of a gateway behind TLS have none. It is wiped when dropped.
pub struct Cipher(Box<Keyed>);

struct Keyed {
    aes: Aes256,
    iv: [u8; BLOCK],
}

/// A frame that is no ciphertext of this session. Says no more on purpose:
/// which check failed is what a padding oracle lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frame does not decrypt under the session's key")]
pub struct Undecryptable;

impl Cipher {
    /// Derives key and IV from the two secrets that a client chose.
    ///
    /// The key is the lowercase hexadecimal MD5 of `key_secret`, its 32 ASCII
    /// characters taken as bytes; the IV is characters 9 to 24 of that of
    /// `iv_secret`.
    pub fn derive(key_secret: &[u8], iv_secret: &[u8]) -> Self {
        let key = hex_md5(key_secret);
        let iv_text = hex_md5(iv_secret);
        let mut iv = [0; BLOCK];
        iv.copy_from_slice(&iv_text[8..24]);
        Self(Box::new(Keyed { aes: Aes256::new(&Array::from(*key)), iv }))
    }

    /// Encrypts a frame in place. Allocates nothing when `plain` has capacity
    /// for [`sealed_len`] of its length, as buffers from [`codec`] have.
    ///
    /// [`codec`]: super::codec
    pub fn seal(&self, mut plain: BytesMut) -> Bytes {
        let len = sealed_len(plain.len());
        // PKCS#7: as many bytes as are missing, each holding that number, 1 to 16.
        #[expect(clippy::cast_possible_truncation, reason = "1 to 16")]
        let pad = (len - plain.len()) as u8;
        plain.resize(len, pad);
        let (blocks, _) = Array::slice_as_chunks_mut(&mut plain);
        cbc::Encryptor::inner_iv_init(&self.0.aes, &self.0.iv.into()).encrypt_blocks(blocks);
        plain.freeze()
    }

    /// Encrypts a copy of a frame: for a push that goes out to many sessions,
    /// each with a key of its own.
    pub fn seal_copy(&self, plain: &[u8]) -> Bytes {
        let mut copy = BytesMut::with_capacity(sealed_len(plain.len()));
        copy.extend_from_slice(plain);
        self.seal(copy)
    }

    /// Decrypts a frame: in place where nobody else holds its bytes, else
    /// into a copy.
    pub fn open(&self, sealed: Bytes) -> Result<Bytes, Undecryptable> {
        let decryptor = cbc::Decryptor::inner_iv_init(&self.0.aes, &self.0.iv.into());
        let mut plain;
        let opened = match sealed.try_into_mut() {
            Ok(unique) => {
                plain = unique;
                decryptor.decrypt_padded::<Pkcs7>(&mut plain)
            }
            Err(shared) => {
                plain = BytesMut::zeroed(shared.len());
                decryptor.decrypt_padded_b2b::<Pkcs7>(&shared, &mut plain)
            }
        };
        let len = opened.map_err(|_| Undecryptable)?.len();
        plain.truncate(len);
        Ok(plain.freeze())
    }
}

/// The 32 characters of a lowercase hexadecimal MD5.
fn hex_md5(secret: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut digest = Md5::digest(secret);
    let mut hex = Zeroizing::new([0; 32]);
    for (pair, byte) in hex.chunks_exact_mut(2).zip(&digest) {
        pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
    }
    digest.as_mut_slice().zeroize();
    hex
}

/// The character of a number below 16.
const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble }
}

impl Drop for Keyed {
    fn drop(&mut self) {
        // The key schedule wipes itself.
        self.iv.zeroize();
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").finish_non_exhaustive()
    }
}
