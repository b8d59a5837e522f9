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

/// The length of a sealed frame of `len` bytes: the next multiple of 16 above
/// `len`, since the padding is never empty.
pub const fn sealed_len(len: usize) -> usize {
    len - len % BLOCK + BLOCK
}

/// A session's cipher. The key schedule is expanded once, not per frame.
///
/// The schedule takes half a kilobyte, so it is boxed: most of the sessions
/// of a gateway behind TLS have none. It is wiped when dropped.
pub struct Cipher(Box<Keyed>);

struct Keyed {
    aes: Aes256,
    iv: [u8; BLOCK],
}

/// A frame that is no ciphertext of this session. Gives no details on purpose: a
/// padding oracle needs to know which check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frame does not decrypt under the session's key")]
pub struct Undecryptable;

/// The block that the first block of every frame is combined with by XOR.
pub type Iv = [u8; BLOCK];

/// The IV derived from a secret: characters 9 to 24 of its hexadecimal MD5.
pub fn iv_of(secret: &[u8]) -> Iv {
    let text = hex_md5(secret);
    let mut iv = [0; BLOCK];
    iv.copy_from_slice(&text[8..24]);
    iv
}

impl Cipher {
    /// Derives key and IV from the two secrets that a client chose.
    ///
    /// The key is the lowercase hexadecimal MD5 of `key_secret`, its 32 ASCII
    /// characters taken as bytes; the IV is characters 9 to 24 of that of
    /// `iv_secret`.
    pub fn derive(key_secret: &[u8], iv_secret: &[u8]) -> Self {
        Self::with_iv(key_secret, iv_of(iv_secret))
    }

    /// Derives the key from the secret that a client chose. The IV comes from the
    /// gateway's own secret.
    pub fn with_iv(key_secret: &[u8], iv: Iv) -> Self {
        let key = hex_md5(key_secret);
        Self(Box::new(Keyed { aes: Aes256::new(&Array::from(*key)), iv }))
    }

    /// Encrypts a frame in place. Allocates nothing when `plain` has capacity
    /// for [`sealed_len`] of its length, as buffers from [`codec`] have.
    ///
    /// [`codec`]: super::codec
    pub fn seal(&self, mut plain: BytesMut) -> Bytes {
        let len = plain.len();
        plain.resize(sealed_len(len), 0);
        self.seal_in_place(&mut plain, len);
        plain.freeze()
    }

    /// Encrypts a frame of `len` bytes in place, at the beginning of a buffer of
    /// [`sealed_len`] bytes.
    pub fn seal_in_place(&self, buffer: &mut [u8], len: usize) {
        debug_assert_eq!(buffer.len(), sealed_len(len), "room for the padding, and no more");
        // PKCS#7: as many bytes as are missing, each holding that number, 1 to 16.
        #[expect(clippy::cast_possible_truncation, reason = "1 to 16")]
        let pad = (sealed_len(len) - len) as u8;
        buffer.iter_mut().skip(len).for_each(|byte| *byte = pad);
        let (blocks, _) = Array::slice_as_chunks_mut(buffer);
        cbc::Encryptor::inner_iv_init(&self.0.aes, &self.0.iv.into()).encrypt_blocks(blocks);
    }

    /// Encrypts a copy of a frame: for a push that goes out to many sessions,
    /// each with a key of its own.
    pub fn seal_copy(&self, plain: &[u8]) -> Bytes {
        let mut copy = BytesMut::with_capacity(sealed_len(plain.len()));
        copy.extend_from_slice(plain);
        self.seal(copy)
    }

    /// Decrypts a frame in place. After a failure, the buffer holds nothing
    /// usable.
    pub fn open_in_place<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a [u8], Undecryptable> {
        let decryptor = cbc::Decryptor::inner_iv_init(&self.0.aes, &self.0.iv.into());
        decryptor.decrypt_padded::<Pkcs7>(sealed).map_err(|_| Undecryptable)
    }

    /// Decrypts a frame: in place where its bytes are not shared (a message that
    /// came alone, or in fragments), else into a copy.
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
    // An error would mean that there is no room for it.
    let _fits = base16ct::lower::encode(&digest, &mut *hex);
    digest.as_mut_slice().zeroize();
    hex
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Plaintexts and ciphertexts under `cipher()`, computed with OpenSSL.
    const VECTORS: [(&str, &str); 4] = [
        ("", "3c8552822f83bf3cc571897b688ddc50"),
        ("a", "fc8cfe59d55455a8b7817c8c013e2b0d"),
        ("0123456789abcdef", "07c070ce9175fc442f742674943f5716d8c03ef24b75aa22718948aa5fec4b3a"),
        (
            "connected to the bridgehead, 连接成功",
            "11eb3f0aeb9dd71db4641358b15377496388acde241ada9e0b871862de28133c\
             1de03d4a70637bd3c1b7b0b03b2a1be3",
        ),
    ];

    fn cipher() -> Cipher {
        Cipher::derive(b"bridgehead-key-seed", b"bridgehead-iv-seed")
    }

    fn unhex(hex: &str) -> Vec<u8> {
        base16ct::lower::decode_vec(hex).unwrap()
    }

    #[test]
    fn key_and_iv_are_the_ascii_of_hex_md5s() {
        assert_eq!(&*hex_md5(b"bridgehead-key-seed"), b"2ad02d960321415077940ed8a0fea17c");
        assert_eq!(&cipher().0.iv, b"54770f8a65ee51da");
    }

    #[test]
    fn frames_are_sealed_as_openssl_does() {
        for (plain, sealed) in VECTORS {
            assert_eq!(cipher().seal(plain.as_bytes().into()), unhex(sealed), "{plain:?}");
        }
    }

    #[test]
    fn frames_that_openssl_sealed_are_opened() {
        for (plain, sealed) in VECTORS {
            assert_eq!(cipher().open(unhex(sealed).into()).unwrap(), plain);
        }
    }

    #[test]
    fn a_frame_with_room_for_its_padding_is_sealed_where_it_is() {
        let mut plain = BytesMut::with_capacity(sealed_len(16));
        plain.extend_from_slice(b"0123456789abcdef");
        let place = plain.as_ptr();
        assert_eq!(cipher().seal(plain).as_ptr(), place);
    }

    #[test]
    fn a_frame_that_nobody_else_holds_is_opened_where_it_is() {
        let sealed = cipher().seal_copy(b"in place");
        let place = sealed.as_ptr();
        assert_eq!(cipher().open(sealed).unwrap().as_ptr(), place);
    }

    #[test]
    fn a_frame_that_somebody_else_holds_is_left_as_it_is() {
        let sealed = cipher().seal_copy(b"shared");
        let before = sealed.to_vec();
        assert_eq!(cipher().open(sealed.clone()).unwrap(), "shared");
        assert_eq!(sealed, before);
    }

    #[test]
    fn what_is_no_whole_number_of_blocks_does_not_open() {
        for len in [0, 1, 15, 17, 31] {
            assert_eq!(cipher().open(vec![0; len].into()), Err(Undecryptable), "{len} bytes");
        }
    }

    #[test]
    fn bad_padding_does_not_open() {
        let keyed = cipher().0;
        for padding in
            [[0; 16], [17; 16], *b"............\x03\x03\x03\x04", *b".............\x02\x01\x02"]
        {
            let mut block = [Array::from(padding)];
            cbc::Encryptor::inner_iv_init(&keyed.aes, &keyed.iv.into()).encrypt_blocks(&mut block);
            let sealed = Bytes::copy_from_slice(&block[0]);
            assert_eq!(cipher().open(sealed), Err(Undecryptable), "{padding:x?}");
        }
    }

    #[test]
    fn debug_output_shows_no_key() {
        assert_eq!(format!("{:?}", cipher()), "Cipher { .. }");
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_to_the_same(
            plain in prop::collection::vec(any::<u8>(), 0..300),
            key in prop::collection::vec(any::<u8>(), 0..40),
            iv in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let cipher = Cipher::derive(&key, &iv);
            let sealed = cipher.seal(BytesMut::from(&plain[..]));
            prop_assert_eq!(sealed.len(), sealed_len(plain.len()));
            prop_assert_eq!(&sealed, &cipher.seal_copy(&plain));
            // Shared, then unique: either way of opening.
            prop_assert_eq!(&cipher.open(sealed.clone()).unwrap(), &plain);
            prop_assert_eq!(&cipher.open(sealed).unwrap(), &plain);
        }

        #[test]
        fn any_bytes_open_or_are_refused(
            sealed in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let whole_blocks = !sealed.is_empty() && sealed.len() % 16 == 0;
            let opened = cipher().open(sealed.into());
            prop_assert!(whole_blocks || opened.is_err());
        }
    }
}
