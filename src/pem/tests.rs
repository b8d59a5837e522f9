use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use base64ct::Encoding;
use rcgen::{KeyPair, PKCS_ED25519};

use super::*;

/// A certificate and its key, on P-256.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// An RSA key: the private one, and the public one.
fn rsa() -> (String, String) {
    let pair = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let public = pair.public_key().as_der().unwrap();
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    (encode("PRIVATE KEY", private.as_ref()), encode("PUBLIC KEY", public.as_ref()))
}

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64ct::Base64::decode_vec(&body).unwrap()
}

fn encode(label: &str, der: &[u8]) -> String {
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).unwrap()
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

/// The error for a file in the place of a private key.
#[track_caller]
fn said(file: impl AsRef<[u8]>) -> String {
    said_of(file.as_ref(), |file| private_key(file).map(drop))
}

/// Checks that neither the error nor its `Debug` output has a part of the file.
#[track_caller]
fn said_of(file: &[u8], read: impl Fn(&[u8]) -> Result<(), PemError>) -> String {
    let error = read(file).unwrap_err();
    let (shown, debugged) = (error.to_string(), format!("{error:?}"));
    let hidden = String::from_utf8_lossy(file).into_owned();
    let lines = hidden.split(['\n', '\r']).filter(|line| !line.contains("-----"));
    for run in lines.flat_map(|line| line.as_bytes().windows(8).map(<[u8]>::to_vec)) {
        let run = String::from_utf8_lossy(&run).into_owned();
        assert!(!shown.contains(&run) && !debugged.contains(&run), "{run}: {shown}");
    }
    assert!(!shown.contains("45, 45") && !debugged.contains("45, 45"), "bytes: {debugged}");
    shown
}

#[test]
fn a_good_file_is_read_whatever_is_around_it() {
    let (cert, key) = pair();
    let plain = private_key(key.as_bytes()).unwrap();
    for file in [
        format!("\u{feff}{key}"),
        key.replace('\n', "\r\n"),
        key.replace('\n', "\r"),
        key.replace('\n', " \n\t"),
        key.trim_end().to_owned(),
        format!("Bag Attributes: none\n{cert}\nkey:\n{key}"),
        // As openssl ecparam -genkey writes it.
        format!(
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{key}"
        ),
        // Of another line length.
        encode("PRIVATE KEY", &der(&key)).replace("\nM", "\n\nM"),
    ] {
        assert_eq!(private_key(file.as_bytes()).unwrap(), plain, "{file}");
    }
    // Two files with marks, put together.
    let chain = format!("\u{feff}{cert}\u{feff}{cert}{key}");
    assert_eq!(certificates(chain.as_bytes()).unwrap().len(), 2);
}

#[test]
fn keys_of_every_kind_are_read_and_known() {
    let (rsa_private, rsa_public) = rsa();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    for (key, kind) in
        [(&rsa_private, Algorithm::Rsa), (&pair().1, Algorithm::Ec), (&ed, Algorithm::Ed25519)]
    {
        assert_eq!(algorithm(&private_key(key.as_bytes()).unwrap()), Some(kind));
    }
    assert_eq!(public_keys(rsa_public.repeat(2).as_bytes()).unwrap().len(), 2);
    assert!(public_key(rsa_public.as_bytes()).is_ok());
}

#[test]
fn lost_line_breaks_are_told() {
    let key = pair().1;
    let key = key.trim();
    for lost in [key.replace('\n', " "), key.replace('\n', ""), key.replacen('\n', " ", 1)] {
        assert!(said(&lost).contains("line breaks are lost"), "{lost}");
    }
    let one_lost = key.replace("\n-----END", "-----END");
    assert!(said(one_lost).contains("line breaks are lost"));
    for (escaped, quote) in [("\\n", ""), ("\\r\\n", ""), ("\\n", "\"")] {
        let file = format!("{quote}{}{quote}\n", key.replace('\n', escaped));
        assert!(said(file).contains("written as `\\n`"));
    }
    // Real ones around, none between.
    let (begin, rest) = key.split_once('\n').unwrap();
    let (body, end) = rest.rsplit_once('\n').unwrap();
    let body = body.replace('\n', "\\n");
    assert!(said(format!("{begin}\n{body}\n{end}\n")).contains("written as `\\n`"));
    assert!(said(format!("key: {key}")).contains("has something else in it"));
    assert!(said(key.replace("KEY-----\n", "KEY-\n")).contains("has something else in it"));
}

#[test]
fn files_of_another_kind_are_told() {
    let (cert, key) = pair();
    let der = der(&key);
    let (rsa_private, rsa_public) = rsa();
    let body = key.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let marked = [&[0xff, 0xfe][..], &utf16(&key, u16::to_le_bytes)].concat();
    for (file, says) in [
        (Vec::new(), "the file is empty"),
        (b" \r\n\n".to_vec(), "the file is empty"),
        ("\u{feff}".into(), "the file is empty"),
        (marked, "UTF-16"),
        (utf16(&format!("\u{feff}{key}"), u16::to_be_bytes), "UTF-16"),
        (utf16(&key, u16::to_le_bytes), "UTF-16"),
        (der.clone(), "is DER, not PEM; `openssl pkey -inform DER"),
        (self::der(&rsa_private), "is DER, not PEM"),
        (vec![0x30, 0x82, 9, 9, 2, 1, 3, 0x30, 0x82], "PKCS#12"),
        (vec![0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2], "Java key store"),
        (vec![0x80, 0x81, 0xff, 0, 1, 2, 3, 4, 5], "is binary"),
        (b"hello".to_vec(), "has no `-----BEGIN` line"),
        (body.into(), "base64 text only"),
        (b"{\"kty\": \"EC\", \"d\": \"s3cret-s3cret\"}".to_vec(), "is JSON"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 zoe".to_vec(), "OpenSSH"),
        (b"PuTTY-User-Key-File-3: ssh-rsa\nx".to_vec(), "PuTTY"),
        (cert.into(), "it holds a certificate; its private key"),
        (rsa_public.into(), "it holds a public key"),
        (encode("OPENSSH PRIVATE KEY", b"openssh-key-v1").into(), "ssh-keygen -p -m PEM"),
        (encode("ENCRYPTED PRIVATE KEY", &der).into(), "encrypted with a passphrase"),
        (encode("CERTIFICATE REQUEST", &der).into(), "it holds `CERTIFICATE REQUEST`"),
        (encode("SOMETHING NEW", &der).into(), "it holds a section of another kind"),
        (key.repeat(2).into(), "it holds 2 private keys"),
    ] {
        let said = said(&file);
        assert!(said.contains(says), "{said}\nnot: {says}");
    }
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                  DEK-Info: AES-256-CBC,0123456789ABCDEF\n\nMIIEvQ==\n-----END RSA PRIVATE KEY-----\n";
    assert!(said(legacy).contains("`openssl rsa -in FILE"));
    // Its lines are lost as well, so the text in the label's place is no label.
    assert!(!said("-----BEGIN PRIVATE KEYMIIEvQIBADAN-----\nx").contains("MIIE"));
}

#[test]
fn files_that_are_damaged_are_told() {
    let (cert, key) = pair();
    let lines: Vec<&str> = key.lines().collect();
    let (der, half) = (der(&key), &key[..key.len() / 2]);
    let without = |at: usize| {
        let kept = lines.iter().enumerate().filter(|(nth, _)| *nth != at);
        kept.map(|(_, line)| *line).collect::<Vec<_>>().join("\n")
    };
    for (file, says) in [
        (half.to_owned(), "no `-----END"),
        (format!("{half}\n{cert}"), "no `-----END"),
        (without(lines.len() - 2), "is cut off"),
        (key.replace("\n-----END", "!\n-----END"), "not base64"),
        (key.replace("END PRIVATE", "END PUBLIC"), "begins as `PRIVATE KEY` and ends as `PUBLIC"),
        ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n".to_owned(), "nothing between"),
        (encode("PRIVATE KEY", &der[..der.len() - 3]), "is cut off"),
        (encode("PRIVATE KEY", &[&der[..], &[0; 9]].concat()), "is damaged"),
        (encode("PRIVATE KEY", b"this is no DER at all"), "is damaged"),
        (encode("RSA PRIVATE KEY", &der), "what is between them is `PRIVATE KEY`"),
        (encode("PRIVATE KEY", &self::der(&cert)), "what is between them is `CERTIFICATE`"),
    ] {
        let said = said(&file);
        assert!(said.contains(says), "{said}\nnot: {says}");
    }
}

#[test]
fn the_other_kinds_are_told_what_they_lack() {
    let (cert, key) = pair();
    let certificate = |file: &str| said_of(file.as_bytes(), |file| certificates(file).map(drop));
    let public = |file: &str| said_of(file.as_bytes(), |file| public_key(file).map(drop));
    assert!(certificate(&key).contains("swapped"));
    assert!(certificate(&encode("CERTIFICATE REQUEST", &der(&cert))).contains("an authority made"));
    assert!(certificate(&encode("PKCS7", &der(&cert))).contains("-print_certs"));
    assert!(certificate(&encode("CERTIFICATE", &der(&key))).contains("is `PRIVATE KEY`"));
    assert!(certificate(&cert.replace('\n', "\\n")).contains("written as `\\n`"));
    assert!(public(&key).contains("-pubout"));
    assert!(public(&cert).contains("-pubkey"));
    assert!(public(&encode("RSA PUBLIC KEY", b"x")).contains("RSAPublicKey_in"));
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_told() {
    let ((cert, key), (other, _)) = (pair(), pair());
    let read = |cert: &str, key: &str| {
        identity(certificates(cert.as_bytes()).unwrap(), private_key(key.as_bytes()).unwrap())
    };
    assert!(read(&cert, &key).is_ok());
    assert_eq!(read(&other, &key).unwrap_err(), Unfit::OtherKey);
    let nonsense = encode("CERTIFICATE", &[0x30, 9, 0x30, 0, 0x30, 0, 3, 3, 0, 1, 2]);
    assert_eq!(read(&nonsense, &key).unwrap_err(), Unfit::Certificate);
    assert!(authorities(certificates(cert.as_bytes()).unwrap()).is_ok());
    let nonsense = certificates(nonsense.as_bytes()).unwrap();
    assert_eq!(authorities(nonsense).unwrap_err(), Unfit::Authority);
}

#[test]
fn a_secret_is_one_line() {
    for good in ["s3cret", "s3cret\n", " s3cret\r\n\n", "\u{feff}s3cret"] {
        assert_eq!(secret(good.as_bytes()), Ok("s3cret"));
    }
    assert_eq!(secret(b"Bearer abc"), Ok("Bearer abc"));
    assert_eq!(secret(b"\n"), Err(TextError::Empty));
    assert_eq!(secret(b"one\ntwo\n"), Err(TextError::Lines(2)));
    assert_eq!(secret(pair().1.as_bytes()), Err(TextError::Pem));
    assert_eq!(secret("käse".as_bytes()), Err(TextError::NotVisible));
    assert_eq!(secret(&[b'a'; 9000]), Err(TextError::TooLong(9000)));
    assert_eq!(secret(&[0xff, 0xfe, b'a', 0]), Err(TextError::Utf16));
    assert_eq!(secret(&[0x80, 0x81]), Err(TextError::Binary));
}
