//! Public keys in PEM (RFC 7468).

use aws_lc_rs::rsa::PublicEncryptingKey;
use jsonwebtoken::DecodingKey;

use super::key::{Key, Kind, is_ed25519, is_p256, is_p384};
use super::problem::KeyProblem;
use crate::pem;

/// The key of every `PUBLIC KEY` section.
pub(super) fn keys(text: &str) -> Result<Vec<Key>, KeyProblem> {
    let sections = pem::public_keys(text.as_bytes())?;
    let keys = sections.iter().enumerate();
    keys.map(|(at, der)| public_key(der).ok_or(KeyProblem::UnsupportedKey(at + 1))).collect()
}

/// Whether a text is a public key that has lost its first and its last line.
pub(super) fn is_bare_key(text: &str) -> bool {
    let framed = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
    text.starts_with("ssh-") || keys(&framed).is_ok()
}

fn public_key(der: &[u8]) -> Option<Key> {
    let (kind, decoding) = if PublicEncryptingKey::from_der(der).is_ok() {
        (Kind::Rsa, DecodingKey::from_rsa_der(der))
    } else if is_p256(der) {
        (Kind::P256, DecodingKey::from_ec_der(der))
    } else if is_p384(der) {
        (Kind::P384, DecodingKey::from_ec_der(der))
    } else if is_ed25519(der) {
        (Kind::Ed25519, DecodingKey::from_ed_der(der))
    } else {
        return None;
    };
    Some(Key { id: None, kind, only: None, decoding })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA_PEM: &str = include_str!("../../../../tests/fixtures/jwt/rsa.pem");
    const P256_PEM: &str = include_str!("../../../../tests/fixtures/jwt/p256.pem");

    #[track_caller]
    fn assert_refused(text: &str, why: &str) {
        let problem = keys(text).unwrap_err().to_string();
        assert!(problem.contains(why), "{problem}");
    }

    #[test]
    fn a_key_without_its_lines_is_recognized() {
        for pem in [RSA_PEM, P256_PEM] {
            let bare: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            assert!(is_bare_key(&bare));
        }
        assert!(is_bare_key("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ zoe@host"));
        assert!(!is_bare_key("thirty-two bytes of shared secret"));
    }

    #[test]
    fn what_is_no_public_key_says_how_to_make_one() {
        let private = crate::protocol::seed::rsa::generate_key(2048).unwrap().private_pem;
        let private = String::from_utf8_lossy(private.as_bytes()).into_owned();
        assert_refused(&private, "it holds a private key");
        let certificate = RSA_PEM.replace("PUBLIC KEY", "CERTIFICATE");
        assert_refused(&certificate, "openssl x509 -in FILE -pubkey -noout");
        assert_refused("-----BEGIN PUBLIC KEY-----\nAAA", "-----END");
        assert_refused(&RSA_PEM.replace('\n', " "), "line breaks are lost");
    }

    #[test]
    fn a_public_key_of_another_kind_is_refused() {
        // openssl ecparam -name secp256k1 -genkey -noout | openssl ec -pubout
        let secp256k1 = "-----BEGIN PUBLIC KEY-----\n\
            MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEq+d8kEMTfatA6PPlZ4DTZ6x8yN3apq9K\n\
            sTFoMroRpkSu7gCIwdUyALSXl+JEBe5oRURn2DuEeHoiYEBHiNgLGA==\n-----END PUBLIC KEY-----\n";
        assert_refused(secp256k1, "is not RSA of 2048 to 8192 bits");
    }
}
