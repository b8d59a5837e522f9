//! The handshake's secrets against the `rsa` crate, a second implementation of
//! the client's side: the gateway decrypts secrets that `rsa` encrypted, and `rsa`
//! decrypts those of the gateway's own client.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests, and what they call"
)]

use bridgehead::protocol::seed::cipher::iv_of;
use bridgehead::protocol::seed::rsa::generate_key;
use bridgehead::protocol::seed::{Cipher, PrivateKey, PublicKey};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Encrypt, RsaPrivateKey, RsaPublicKey};

const SECRETS: [&[u8]; 4] = [b"bridgehead-key-seed", b"x", &[0xff; 245], "钥匙".as_bytes()];

fn encrypt(key: &RsaPublicKey, secret: &[u8]) -> Vec<u8> {
    key.encrypt(&mut rand::rng(), Pkcs1v15Encrypt, secret).unwrap()
}

#[test]
fn the_gateway_takes_out_what_a_client_has_encrypted() {
    for bits in [2048, 3072] {
        let files = generate_key(bits).unwrap();
        let gateway = PrivateKey::from_pem(files.private_pem.as_bytes()).unwrap();
        let client = RsaPublicKey::from_public_key_pem(&files.public_pem).unwrap();
        assert_eq!(client.size(), gateway.modulus_len());
        for secret in SECRETS {
            let ciphertext = encrypt(&client, secret);
            assert_eq!(gateway.unwrap_secret(&ciphertext).unwrap().as_bytes(), secret);
            assert_ne!(ciphertext, encrypt(&client, secret), "another one every time");
        }
    }
}

#[test]
fn the_own_client_encrypts_what_any_holder_of_the_key_decrypts() {
    let files = generate_key(2048).unwrap();
    let gateway = RsaPrivateKey::from_pkcs8_pem(&files.private_pem).unwrap();
    let client = PublicKey::from_pem(&files.public_pem).unwrap();
    for secret in SECRETS {
        let ciphertext = client.wrap_secret(secret).unwrap();
        assert_eq!(gateway.decrypt(Pkcs1v15Encrypt, &ciphertext).unwrap(), secret);
    }
}

#[test]
fn a_key_pair_is_the_same_to_both() {
    let files = generate_key(2048).unwrap();
    let key = RsaPrivateKey::from_pkcs8_pem(&files.private_pem).unwrap();
    key.validate().unwrap();
    let public = key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
    assert_eq!(public, files.public_pem);
    let gateway = PrivateKey::from_pem(files.private_pem.as_bytes()).unwrap();
    assert_eq!(gateway.public_key_pem(), public);
}

/// Both generations of clients, from their strings to the first frame.
#[test]
fn a_frame_is_read_under_the_secrets_that_went_through_rsa() {
    let files = generate_key(2048).unwrap();
    let gateway = PrivateKey::from_pem(files.private_pem.as_bytes()).unwrap();
    let client = RsaPublicKey::from_public_key_pem(&files.public_pem).unwrap();
    let [key, iv] = ["bridgehead-key-seed", "bridgehead-iv-seed"];
    let [key_there, iv_there] = [key, iv]
        .map(|secret| gateway.unwrap_secret(&encrypt(&client, secret.as_bytes())).unwrap());
    // Computed with OpenSSL, for the letter `a`.
    let frame = [
        0xfc, 0x8c, 0xfe, 0x59, 0xd5, 0x54, 0x55, 0xa8, 0xb7, 0x81, 0x7c, 0x8c, 0x01, 0x3e, 0x2b,
        0x0d,
    ];
    for cipher in [
        Cipher::derive(key_there.as_bytes(), iv_there.as_bytes()),
        Cipher::with_iv(key_there.as_bytes(), iv_of(iv.as_bytes())),
    ] {
        assert_eq!(&*cipher.open(frame.to_vec().into()).unwrap(), b"a");
    }
}

#[test]
fn what_no_client_has_encrypted_leads_nowhere_but_is_no_error() {
    let files = generate_key(2048).unwrap();
    let gateway = PrivateKey::from_pem(files.private_pem.as_bytes()).unwrap();
    let other = RsaPrivateKey::from_pkcs8_pem(&generate_key(2048).unwrap().private_pem).unwrap();
    let ciphertext = encrypt(&other.to_public_key(), b"bridgehead-key-seed");
    let [once, again] = [0, 1].map(|_| gateway.unwrap_secret(&ciphertext));
    if let (Ok(once), Ok(again)) = (once, again) {
        assert_ne!(once.as_bytes(), b"bridgehead-key-seed");
        assert_eq!(once.as_bytes(), again.as_bytes());
    } else {
        panic!("its length is that of every ciphertext");
    }
}
