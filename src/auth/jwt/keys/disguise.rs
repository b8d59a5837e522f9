//! Detects public material in the place of a secret, in any encoding.
//!
//! A public key that is taken for an HMAC secret would let anybody sign tokens.
//! Where a secret is read, this module looks for keys, certificates, key sets and
//! URLs: plain, with damaged lines, in UTF-16, and in base64, base64url,
//! hexadecimal or percent encoding, also nested.
//!
//! Not detected: a bare coordinate of a curve, such as the `x` of an Ed25519 key.
//! It is 32 random bytes, like a good secret.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;

/// Encodings within encodings that are looked through.
const DEPTH: usize = 3;
/// Shorter runs cannot encode public material.
const SHORTEST_RUN: usize = 16;

/// Words that no secret has, in lower case and without white space.
const WORDS: &[(&str, &str)] = &[
    ("://", "a URL"),
    ("%3a%2f%2f", "a URL"),
    (".well-known", "a URL"),
    ("-----", "PEM"),
    ("beginpublickey", "PEM"),
    ("beginprivatekey", "PEM"),
    ("beginencryptedp", "PEM"),
    ("begincertificate", "PEM"),
    ("begintrusted", "PEM"),
    ("beginx509", "PEM"),
    ("beginrsap", "PEM"),
    ("beginecp", "PEM"),
    ("begindsap", "PEM"),
    ("beginopenssh", "PEM"),
    ("beginssh2", "PEM"),
    ("beginpgp", "PEM"),
    ("endpublickey", "PEM"),
    ("endprivatekey", "PEM"),
    ("endencryptedp", "PEM"),
    ("endcertificate", "PEM"),
    ("endrsap", "PEM"),
    ("endecp", "PEM"),
    ("endopenssh", "PEM"),
    ("ssh-rsa", "an SSH key"),
    ("ssh-dss", "an SSH key"),
    ("ssh-ed25519", "an SSH key"),
    ("ssh-ed448", "an SSH key"),
    ("ecdsa-sha2-", "an SSH key"),
    ("openssh-key-v1", "an SSH key"),
    ("putty-user-key", "an SSH key"),
    ("\"keys\"", "a JSON Web Key Set"),
    ("'keys'", "a JSON Web Key Set"),
    ("\"x5c\"", "a JSON Web Key"),
    ("\"alg\"", "a JSON Web Key or Token"),
    ("jwks_uri", "a document of OpenID Connect discovery"),
    ("<rsakeyvalue", "an XML key"),
    ("<modulus", "an XML key"),
    ("x509certificate", "a certificate"),
    ("modulus=", "a printed key"),
    ("modulus:", "a printed key"),
];

/// Names of algorithms and curves as DER writes them, with their tags.
const IDENTIFIERS: &[&[u8]] = &[
    &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01], // RSA and its signatures
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],       // EC public key
    &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01],       // P-256 and its like
    &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03],       // ECDSA signatures
    &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00],                         // P-384, P-521, secp256k1
    &[0x06, 0x03, 0x2b, 0x65],                                     // Ed25519 and its like
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01],       // DSA
    &[0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00],                   // PKCS#1, 1024 bits
];

/// Uncompressed and compressed points on P-256, P-384 and P-521.
const POINTS: &[(usize, &[u8])] =
    &[(65, &[4]), (97, &[4]), (133, &[4]), (33, &[2, 3]), (49, &[2, 3]), (67, &[2, 3])];

/// The public material found in a would-be secret, with an article.
pub(super) fn found_in(secret: &[u8]) -> Option<&'static str> {
    look(secret, DEPTH)
}

fn look(bytes: &[u8], depth: usize) -> Option<&'static str> {
    let text = plain_text(bytes);
    if text.is_none() && is_key(bytes) {
        return Some("an encoded key or certificate");
    }
    let text = text.or_else(|| wide_text(bytes))?;
    if let Some(found) = words(&text) {
        return Some(found);
    }
    let encoded = if depth > 0 { encoded(&text) } else { Vec::new() };
    encoded.into_iter().find_map(|inner| look(&inner, depth - 1))
}

/// The text without white space and without marks. `None`: it is not text.
fn plain_text(bytes: &[u8]) -> Option<String> {
    let text = str::from_utf8(bytes).ok()?;
    let is_text = text.chars().all(|c| !c.is_control() || c.is_whitespace());
    is_text.then(|| bare(text.chars()))
}

/// The same of UTF-16 or UTF-32: text whose every other byte tends to be 0.
fn wide_text(bytes: &[u8]) -> Option<String> {
    let zeros = |from: usize| bytes.iter().skip(from).step_by(2).filter(|it| **it == 0).count();
    let units = bytes.as_chunks::<2>().0.iter().copied();
    let units: Vec<u16> = match (bytes, zeros(0), zeros(1)) {
        ([0xfe, 0xff, ..], ..) => units.map(u16::from_be_bytes).collect(),
        ([0xff, 0xfe, ..], ..) => units.map(u16::from_le_bytes).collect(),
        (_, 0, 0) => return None,
        (_, even, odd) if even > odd => units.map(u16::from_be_bytes).collect(),
        _ => units.map(u16::from_le_bytes).collect(),
    };
    Some(bare(char::decode_utf16(units).filter_map(Result::ok)))
}

fn bare(text: impl Iterator<Item = char>) -> String {
    text.filter(|c| !c.is_whitespace() && *c != '\0' && *c != '\u{feff}').collect()
}

fn words(text: &str) -> Option<&'static str> {
    // Quotes within quotes.
    let text = text.to_ascii_lowercase().replace('\\', "");
    let word = WORDS.iter().find(|(word, _)| text.contains(word));
    word.map(|(_, what)| *what).or_else(|| names_key_type(&text).then_some("a JSON Web Key"))
}

/// `kty`, quoted or not, but not where it is part of random characters.
fn names_key_type(text: &str) -> bool {
    text.match_indices("kty").any(|(at, word)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let behind = text.get(at + word.len()..).and_then(|behind| behind.chars().next());
        before.is_none_or(|c| "\"'{,".contains(c)) && behind.is_some_and(|c| "\"':".contains(c))
    })
}

/// Whether bytes that are no text are a key, or have one in them.
fn is_key(bytes: &[u8]) -> bool {
    begins_as_der(bytes)
        || IDENTIFIERS.iter().any(|id| bytes.windows(id.len()).any(|window| window == *id))
        || POINTS.iter().any(|(length, first)| {
            bytes.len() == *length && bytes.first().is_some_and(|byte| first.contains(byte))
        })
        || [&b"ssh-"[..], b"ecdsa-sha2-"]
            .iter()
            .any(|name| bytes.windows(name.len()).any(|window| window == *name))
}

/// A SEQUENCE whose first member is a SEQUENCE, an INTEGER or a context tag:
/// every key and certificate begins so.
fn begins_as_der(bytes: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = bytes else { return false };
    let of_length = match length {
        0..=0x7f => 0,
        0x81..=0x84 => usize::from(length & 0x0f),
        _ => return false,
    };
    rest.get(of_length).is_some_and(|tag| matches!(tag, 0x30 | 0x02 | 0xa0))
}

/// All possible decodings of a text without white space.
fn encoded(text: &str) -> Vec<Vec<u8>> {
    // Lost line breaks.
    let text = text.replace("\\r", "").replace("\\n", "");
    let mut found = Vec::new();
    let digits = text.replace("0x", "").replace("\\x", "").replace([':', ',', '-'], "");
    for run in runs(&digits, |byte| byte.is_ascii_hexdigit()) {
        found.extend((0..2).filter_map(|from| hexadecimal(run.get(from..)?)));
    }
    for run in runs(&text, |byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)) {
        found.extend((0..4).filter_map(|from| base64(run.get(from..)?)));
    }
    if text.contains('%') {
        found.push(percent_decode_str(&text).collect());
    }
    found
}

fn runs(text: &str, of: impl Fn(u8) -> bool) -> impl Iterator<Item = &[u8]> {
    text.as_bytes().split(move |byte| !of(*byte)).filter(|run| run.len() >= SHORTEST_RUN)
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    base16ct::mixed::decode_vec(digits.as_chunks::<2>().0.as_flattened()).ok()
}

fn base64(digits: &[u8]) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let digits = if digits.len() % 4 == 1 { digits.split_last()?.1 } else { digits };
    let standard = |digit: &u8| match digit {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    };
    LENIENT.decode(digits.iter().map(standard).collect::<Vec<_>>()).ok()
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};
    use rustls_pki_types::SubjectPublicKeyInfoDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;

    const PEMS: [&str; 4] = [
        include_str!("../../../../tests/fixtures/jwt/rsa.pem"),
        include_str!("../../../../tests/fixtures/jwt/p256.pem"),
        include_str!("../../../../tests/fixtures/jwt/p384.pem"),
        include_str!("../../../../tests/fixtures/jwt/ed25519.pem"),
    ];
    const JWKS: &str = include_str!("../../../../tests/fixtures/jwt/jwks.json");

    fn hex(bytes: &[u8], between: &str) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(between)
    }

    fn utf16(text: &str) -> Vec<u8> {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    }

    /// All supported encodings of bytes.
    fn spellings(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let standard = BASE64_STANDARD.encode(bytes);
        let url_safe = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let lines: Vec<_> = standard.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        vec![
            ("itself", bytes.to_vec()),
            ("base64", standard.clone().into()),
            ("base64 in lines", lines.join("\n").into()),
            ("base64 with lost line breaks", lines.join("\\n").into()),
            ("base64 behind a name", format!("publicKey={standard}").into()),
            ("base64 in quotes", format!("\"{standard}\"").into()),
            ("base64 without its end", standard.get(..standard.len() / 2).unwrap().into()),
            ("base64 run together with a word", format!("key{standard}").into()),
            ("base64 in UTF-16", utf16(&standard)),
            ("base64url", url_safe.into()),
            ("base64 of base64", BASE64_STANDARD.encode(standard).into()),
            ("hex", hex(bytes, "").into()),
            ("hex in capitals", hex(bytes, "").to_uppercase().into()),
            ("hex with colons", hex(bytes, ":").into()),
            ("hex with spaces", hex(bytes, " ").into()),
            ("hex with 0x", format!("0x{}", hex(bytes, ", 0x")).into()),
            ("hex of UTF-16", hex(&utf16(&BASE64_STANDARD.encode(bytes)), "").into()),
        ]
    }

    #[track_caller]
    fn assert_found(what: &str, bytes: &[u8]) {
        for (spelling, written) in spellings(bytes) {
            assert!(found_in(&written).is_some(), "{what}, {spelling}");
        }
    }

    #[test]
    fn keys_are_found_in_every_spelling() {
        for pem in PEMS {
            let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).unwrap();
            assert_found("a public key", &der);
            assert_found("PEM", pem.as_bytes());
            assert_found("PEM in UTF-16", &utf16(pem));
            assert_found("PEM with damaged lines", pem.replace("-----", "--").as_bytes());
            assert_found("PEM without spaces", pem.replace([' ', '\n'], "").as_bytes());
        }
        let pair = rcgen::KeyPair::generate().unwrap();
        assert_found("a private key", &pair.serialize_der());
        let certificate = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert;
        assert_found("a certificate", certificate.der());
    }

    #[test]
    fn key_sets_are_found_in_every_spelling() {
        let line = JWKS.replace('\n', "");
        for set in [
            JWKS.to_owned(),
            format!("\u{feff}{JWKS}"),
            format!("# keys\n{JWKS}"),
            format!("# Schlüssel, 密钥\n{JWKS}"),
            format!("/* keys */ {line}"),
            JWKS.replace('"', "'"),
            JWKS.replace('"', "\\\""),
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#
                .into(),
            "kty: OKP, crv: Ed25519".into(),
        ] {
            assert_found("a key set", set.as_bytes());
            assert_found("a key set in UTF-16", &utf16(&set));
        }
    }

    #[test]
    fn points_and_ssh_keys_are_found() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let point = pair.public_key_raw();
        let compressed: Vec<u8> = [2].iter().chain(&point[1..33]).copied().collect();
        for point in [point, &compressed] {
            for written in [hex(point, ""), BASE64_URL_SAFE_NO_PAD.encode(point)] {
                assert!(found_in(written.as_bytes()).is_some(), "{written}");
            }
        }
        let ssh = "AAAAC3NzaC1lZDI1NTE5AAAAIE8k8CCeRAxbXTlkkbWIoq4g3a8M2wMCXT6SxTaj0IdL";
        assert_eq!(found_in(format!("ssh-ed25519 {ssh} z@h").as_bytes()), Some("an SSH key"));
        assert!(found_in(ssh.as_bytes()).is_some());
    }

    #[test]
    fn urls_are_found() {
        for url in [
            "https://id.example.com/.well-known/jwks.json",
            "HTTP://ID.EXAMPLE.COM",
            "id.example.com/.well-known/jwks.json",
            "https%3A%2F%2Fid.example.com%2Fjwks.json",
            "%68%74%74%70%73%3a//id.example.com/jwks",
            "aHR0cHM6Ly9pZC5leGFtcGxlLmNvbS9qd2tzLmpzb24",
        ] {
            assert_eq!(found_in(url.as_bytes()), Some("a URL"), "{url}");
        }
    }

    #[test]
    fn secrets_are_left_alone() {
        for secret in [
            "thirty-two bytes of shared secret",
            "correct horse battery staple, and a private key to nothing",
            "0a0b0c0d0e0f000102030405060708090a0b0c0d0e0f",
            "30303030303030303030303030303030",
            "{\"?=*}[x](y)<z>&%%41;:,._-~^'#+",
            "ktyktyktyktyktyktyktyktyktyktykty",
            "großes Geheimnis, niemandem zu verraten",
        ] {
            assert_eq!(found_in(secret.as_bytes()), None, "{secret}");
        }
    }

    #[test]
    fn random_secrets_are_left_alone() {
        // One in some thousand looks like the beginning of DER: of these none does.
        let mut random = StdRng::seed_from_u64(1);
        for length in [32, 48, 64, 96] {
            let refused = (0..500).filter(|_| {
                let bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
                found_in(hex(&bytes, "").as_bytes()).is_some()
                    || found_in(BASE64_STANDARD.encode(&bytes).as_bytes()).is_some()
            });
            assert!(refused.count() <= 1, "{length} bytes");
        }
    }
}
