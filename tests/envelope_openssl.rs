//! The envelope's cryptography against the `openssl` command: keys, RSA
//! ciphertexts and AES frames that one side made are read by the other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests, and what they call"
)]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use bridgehead::pem::{Algorithm, PemError};
use bridgehead::protocol::seed::rsa::generate_key;
use bridgehead::protocol::seed::{Cipher, KeyError, PrivateKey, PublicKey};
use tempfile::TempDir;

/// Runs `openssl` with `input` on its stdin; returns its stdout.
fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| {
            panic!("these tests need the `openssl` command (apt install openssl): {e}")
        });
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {args:?}: {stderr}");
    output.stdout
}

fn openssl_text(args: &[&str], input: &[u8]) -> String {
    String::from_utf8(openssl(args, input)).unwrap()
}

/// Files for `openssl`, which takes keys from nowhere else.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path: PathBuf = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn new_pkcs8() -> String {
    openssl_text(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], b"")
}

fn to_pkcs1(pem: &str) -> String {
    openssl_text(&["rsa", "-traditional"], pem.as_bytes())
}

fn public_of(pem: &str) -> String {
    openssl_text(&["pkey", "-pubout"], pem.as_bytes())
}

fn wrap_with_openssl(public_pem: &str, secret: &[u8]) -> Vec<u8> {
    let key = Files::new();
    let key_path = key.write("public.pem", public_pem);
    openssl(&["pkeyutl", "-encrypt", "-pubin", "-inkey", &key_path], secret)
}

fn refused(pem: impl AsRef<[u8]>) -> KeyError {
    PrivateKey::from_pem(pem).expect_err("this is no key for a gateway")
}

#[test]
fn a_secret_that_openssl_encrypted_is_unwrapped_with_either_key_format() {
    let pkcs8 = new_pkcs8();
    let pkcs1 = to_pkcs1(&pkcs8);
    assert!(pkcs8.starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(pkcs1.starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    let ciphertext = wrap_with_openssl(&public_of(&pkcs8), b"bridgehead-key-seed");
    for pem in [pkcs8, pkcs1] {
        let key = PrivateKey::from_pem(pem).unwrap();
        assert_eq!(key.modulus_len(), 256);
        assert_eq!(key.unwrap_secret(&ciphertext).unwrap().as_bytes(), b"bridgehead-key-seed");
    }
}

#[test]
fn a_bad_ciphertext_yields_the_same_secret_from_either_key_format() {
    let pkcs8 = new_pkcs8();
    let bad = [0x5a; 256];
    let from_pkcs8 = PrivateKey::from_pem(&pkcs8).unwrap().unwrap_secret(&bad).unwrap();
    let from_pkcs1 = PrivateKey::from_pem(to_pkcs1(&pkcs8)).unwrap().unwrap_secret(&bad).unwrap();
    assert_eq!(from_pkcs8.as_bytes(), from_pkcs1.as_bytes());
}

#[test]
fn paddings_other_than_pkcs1_v1_5_are_bad_ciphertexts() {
    let pkcs8 = new_pkcs8();
    let key = PrivateKey::from_pem(&pkcs8).unwrap();
    let files = Files::new();
    let public = files.write("public.pem", public_of(&pkcs8));
    let oaep = openssl(
        &["pkeyutl", "-encrypt", "-pubin", "-inkey", &public, "-pkeyopt", "rsa_padding_mode:oaep"],
        b"bridgehead-key-seed",
    );
    // 0x00 0x02, but a padding string of seven bytes where eight are the least.
    let mut short_padding = vec![0, 2, 1, 1, 1, 1, 1, 1, 1, 0];
    short_padding.resize(256, b'x');
    // 0x00 0x01 is the padding of signatures.
    let mut signature_padding = vec![0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0];
    signature_padding.resize(256, b'x');
    let raw = |block: &[u8]| {
        openssl(
            &[
                "pkeyutl",
                "-encrypt",
                "-pubin",
                "-inkey",
                &public,
                "-pkeyopt",
                "rsa_padding_mode:none",
            ],
            block,
        )
    };
    let no_end = raw(&[&[0, 2][..], &[7; 254]].concat());
    for bad in [oaep, raw(&short_padding), raw(&signature_padding), no_end] {
        let secret = key.unwrap_secret(&bad).unwrap();
        assert_eq!(secret.as_bytes().len(), 32);
        assert_eq!(secret.as_bytes(), key.unwrap_secret(&bad).unwrap().as_bytes());
    }
    // The same by hand, well padded, is read: the blocks above fail by their padding alone.
    let mut good = vec![0, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0];
    good.resize(256, b'x');
    assert_eq!(key.unwrap_secret(&raw(&good)).unwrap().as_bytes(), [b'x'; 245]);
}

#[test]
fn openssl_reads_the_public_key_of_a_private_one() {
    let pkcs8 = new_pkcs8();
    let key = PrivateKey::from_pem(&pkcs8).unwrap();
    assert_eq!(key.public_key_pem(), public_of(&pkcs8));
}

#[test]
fn openssl_decrypts_a_wrapped_secret_with_a_generated_key() {
    let generated = generate_key(2048).unwrap();
    let files = Files::new();
    let private = files.write("private.pem", &*generated.private_pem);
    openssl(&["pkey", "-in", &private, "-check", "-noout"], b"");
    assert_eq!(public_of(&generated.private_pem), generated.public_pem);

    let wrapped =
        PublicKey::from_pem(&generated.public_pem).unwrap().wrap_secret(b"a secret").unwrap();
    let unwrapped = openssl(&["pkeyutl", "-decrypt", "-inkey", &private], &wrapped);
    assert_eq!(unwrapped, b"a secret");
}

#[test]
fn frames_are_sealed_and_opened_as_openssl_does() {
    let cipher = Cipher::derive(b"bridgehead-key-seed", b"bridgehead-iv-seed");
    // The ASCII of 2ad02d960321415077940ed8a0fea17c and 54770f8a65ee51da.
    let key = "3261643032643936303332313431353037373934306564386130666561313763";
    let iv = "35343737306638613635656535316461";
    for len in [0, 1, 15, 16, 17, 255, 256, 4096, 60_001] {
        let plain: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0]).collect();
        let sealed = openssl(&["enc", "-aes-256-cbc", "-K", key, "-iv", iv], &plain);
        assert_eq!(cipher.seal_copy(&plain), sealed, "{len} bytes");
        assert_eq!(cipher.open(sealed.into()).unwrap(), plain, "{len} bytes");
    }
}

#[test]
fn text_around_a_key_other_keys_before_it_and_windows_line_ends_are_read_past() {
    let pkcs8 = new_pkcs8();
    let with_all = format!("Bag Attributes: none\n{}\n{pkcs8}\nthe end\n", public_of(&pkcs8));
    PrivateKey::from_pem(with_all).unwrap();
    PrivateKey::from_pem(pkcs8.replace('\n', "\r\n")).unwrap();
}

#[test]
fn a_public_key_in_the_place_of_the_private_one_is_named() {
    let error = refused(public_of(&new_pkcs8()));
    assert!(error.to_string().contains("holds a public key"), "{error}");
}

#[test]
fn a_private_key_in_the_place_of_the_public_one_is_named() {
    let pkcs8 = new_pkcs8();
    for pem in [to_pkcs1(&pkcs8), pkcs8] {
        let error = PublicKey::from_pem(pem).unwrap_err();
        assert!(error.to_string().contains("holds a private key"), "{error}");
    }
}

#[test]
fn a_key_with_a_passphrase_is_named_in_either_format() {
    let key = new_pkcs8();
    let pkcs8 = openssl_text(&["pkey", "-aes256", "-passout", "pass:secret"], key.as_bytes());
    let pkcs1 = openssl_text(
        &["rsa", "-traditional", "-aes256", "-passout", "pass:secret"],
        key.as_bytes(),
    );
    assert!(pkcs8.contains("BEGIN ENCRYPTED PRIVATE KEY"));
    assert!(pkcs1.contains("Proc-Type: 4,ENCRYPTED"));
    for pem in [pkcs8, pkcs1] {
        let error = refused(pem);
        assert!(matches!(error, KeyError::Pem(PemError::Encrypted(_))), "{error:?}");
    }
}

#[test]
fn a_key_of_1024_bits_is_too_small_in_either_format() {
    let small =
        openssl_text(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"], b"");
    for pem in [to_pkcs1(&small), small.clone()] {
        let error = refused(pem);
        assert!(matches!(error, KeyError::TooSmall), "{error:?}");
    }
    let error = PublicKey::from_pem(public_of(&small)).unwrap_err();
    assert!(matches!(error, KeyError::TooSmall), "{error:?}");
}

#[test]
fn keys_of_other_algorithms_are_no_rsa_keys() {
    let ec =
        openssl_text(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], b"");
    let ed25519 = openssl_text(&["genpkey", "-algorithm", "ED25519"], b"");
    let sec1 = openssl_text(&["ec"], ec.as_bytes());
    assert!(sec1.contains("BEGIN EC PRIVATE KEY"));
    for (pem, algorithm) in
        [(&sec1, Algorithm::Ec), (&ec, Algorithm::Ec), (&ed25519, Algorithm::Ed25519)]
    {
        let error = refused(pem);
        assert!(matches!(error, KeyError::NotRsa(found) if found == algorithm), "{error:?}");
    }
    for pem in [&ec, &ed25519] {
        let error = PublicKey::from_pem(public_of(pem)).unwrap_err();
        assert!(matches!(error, KeyError::NotRsa(_)), "{error:?}");
    }
}

#[test]
fn files_that_are_no_keys_say_what_they_are() {
    let pkcs8 = new_pkcs8();
    let der = openssl(&["pkey", "-outform", "DER"], pkcs8.as_bytes());
    for (not_pem, says) in
        [(&b""[..], "is empty"), (b"hello", "is not PEM"), (&der, "is DER, not PEM")]
    {
        let error = refused(not_pem);
        assert!(error.to_string().contains(says), "{error}");
    }

    let files = Files::new();
    let path = files.write("private.pem", &pkcs8);
    let certificate =
        openssl(&["req", "-x509", "-key", &path, "-subj", "/CN=x", "-days", "1"], b"");
    let error = refused(&certificate);
    assert!(error.to_string().contains("holds a certificate"), "{error}");

    let cut = &pkcs8[..pkcs8.len() / 2];
    let error = refused(cut);
    assert!(matches!(error, KeyError::Pem(PemError::NoEnd)), "{error:?}");
}

#[test]
fn a_damaged_key_is_refused() {
    let pkcs8 = new_pkcs8();
    let der = openssl(&["pkey", "-outform", "DER", "-traditional"], pkcs8.as_bytes());
    // Somewhere within the private exponent.
    let mut damaged = der;
    damaged[400] ^= 1;
    let files = Files::new();
    let path = files.write("damaged.der", &damaged);
    let base64 = openssl_text(&["base64", "-in", &path], b"");
    let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{base64}-----END RSA PRIVATE KEY-----\n");
    let error = refused(pem);
    assert!(matches!(error, KeyError::Damaged(_)), "{error:?}");
}
