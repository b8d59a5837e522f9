//! The keys that tokens are signed with, and the files that they come from.
//!
//! A key's kind is decided here, when its file is read, and with it the
//! algorithms that it may be used with. That keeps a token from choosing: a
//! public RSA key can never serve as an HMAC secret, whatever a header says.

use std::path::{Path, PathBuf};
use std::{fs, io};

use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::pem::{self, PemError};

/// RFC 7518, 3.2: a secret is at least as long as the hash.
const MIN_SECRET: usize = 32;

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
const P256: &[Algorithm] = &[Algorithm::ES256];
const P384: &[Algorithm] = &[Algorithm::ES384];
const ED: &[Algorithm] = &[Algorithm::EdDSA];

/// The keys of one file; at least one.
pub(super) struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    /// The only one of `algorithms` that the key's issuer wants it used with.
    only: Option<Algorithm>,
    decoding: DecodingKey,
}

/// A keys file that no token can be checked with.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct KeysError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: KeyProblem,
}

/// What can be wrong with a keys file.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// JSON, but not that of a key set.
    #[error(
        "is not a JWKS, which looks like {{\"keys\": [{{\"kty\": …}}]}}, from line {} on",
        .0.line()
    )]
    NotAKeySet(serde_json::Error),
    /// A key set without a key that could verify a token.
    #[error("has no key that tokens can be checked with: {0}")]
    NoUsableKey(String),
    /// PEM, but not a public key.
    #[error("holds a {found}, not a PUBLIC KEY: make one with `{command}`")]
    WrongSection {
        /// The label of its first section.
        found: String,
        /// What makes a public key of it.
        command: &'static str,
    },
    /// PEM that does not decode.
    #[error("is not well-formed PEM: {0}")]
    BrokenPem(String),
    /// A public key of a kind that no supported algorithm uses.
    #[error("public key {0} is not RSA of 2048 to 8192 bits, EC on P-256 or P-384, or Ed25519")]
    UnsupportedKey(usize),
    /// A public key where only a secret may be.
    #[error(
        "looks like a public key without its PEM lines: put -----BEGIN PUBLIC KEY----- before it \
         and -----END PUBLIC KEY----- behind it"
    )]
    BareKey,
    /// Not text at all.
    #[error(
        "is neither JSON, PEM nor text: a binary secret goes into a JWKS, as \
         {{\"kty\": \"oct\", \"k\": \"<base64url>\"}}"
    )]
    NotText,
    /// A secret that could be guessed.
    #[error(
        "holds a secret of {0} bytes, but HMAC keys need {MIN_SECRET}: try `openssl rand -hex 32`"
    )]
    ShortSecret(usize),
}

impl KeySet {
    pub(super) fn read(path: &Path) -> Result<Self, KeysError> {
        fs::read(path)
            .map_err(KeyProblem::Unreadable)
            .and_then(|file| Self::parse(&file))
            .map_err(|problem| KeysError { path: path.to_owned(), problem })
    }

    fn parse(file: &[u8]) -> Result<Self, KeyProblem> {
        let text = str::from_utf8(file).map_err(|_| KeyProblem::NotText)?.trim();
        if text.starts_with(['{', '[']) {
            json_web_keys(text)
        } else if text.contains("-----BEGIN ") {
            pem_keys(text)
        } else {
            secret(text).map(|key| vec![key])
        }
        .map(Self)
    }

    /// The keys that a token with this header may be signed with. A key id
    /// leaves out the keys that have another.
    pub(super) fn fitting(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> impl Iterator<Item = &DecodingKey> {
        self.0
            .iter()
            .filter(move |key| key.algorithms.contains(&algorithm))
            .filter(move |key| key.only.is_none_or(|only| only == algorithm))
            .filter(move |key| match (&key.id, id) {
                (Some(has), Some(wanted)) => has == wanted,
                _ => true,
            })
            .map(|key| &key.decoding)
    }
}

/// The usable keys of a JWKS (RFC 7517), or of a single JWK. Others are
/// skipped, as that RFC asks for: a set may well have keys for other purposes.
fn json_web_keys(text: &str) -> Result<Vec<Key>, KeyProblem> {
    let mut json: Value = serde_json::from_str(text).map_err(KeyProblem::NotAKeySet)?;
    let members = match json.get_mut("keys").map(Value::take) {
        Some(keys) => serde_json::from_value(keys).map_err(KeyProblem::NotAKeySet)?,
        None => vec![json],
    };
    let mut keys = Vec::new();
    let mut skipped = Vec::new();
    for (index, member) in members.into_iter().enumerate() {
        match json_web_key(member) {
            Ok(key) => keys.push(key),
            Err(why) => skipped.push(format!("key {} {why}", index + 1)),
        }
    }
    match (keys.is_empty(), skipped.is_empty()) {
        (false, _) => Ok(keys),
        (true, true) => Err(KeyProblem::NoUsableKey("the set is empty".to_owned())),
        (true, false) => Err(KeyProblem::NoUsableKey(skipped.join(", "))),
    }
}

fn json_web_key(member: Value) -> Result<Key, String> {
    let jwk: Jwk = serde_json::from_value(member).map_err(|_| "is no JWK".to_owned())?;
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return Err("is not for signatures".to_owned());
    }
    if common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
        return Err("is not for verifying".to_owned());
    }
    let only = match common.key_algorithm.map(Algorithm::try_from) {
        None => None,
        Some(Ok(algorithm)) => Some(algorithm),
        Some(Err(_)) => return Err("is for an algorithm that is not supported".to_owned()),
    };
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| "is of a kind that is not supported")?;
    let bytes = || key.try_get_as_bytes().unwrap_or_default();
    let algorithms = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) if bytes().len() < MIN_SECRET => {
            return Err(format!("is a secret of less than {MIN_SECRET} bytes"));
        }
        AlgorithmParameters::OctetKey(_) => HMAC,
        AlgorithmParameters::RSA(_) => rsa_components(&key)?,
        AlgorithmParameters::EllipticCurve(params) => match params.curve {
            EllipticCurve::P256 if is_p256(bytes()) => P256,
            EllipticCurve::P384 if is_p384(bytes()) => P384,
            _ => return Err("is not a point on P-256 or P-384".to_owned()),
        },
        AlgorithmParameters::OctetKeyPair(_) if is_ed25519(bytes()) => ED,
        _ => return Err("is of a kind that is not supported".to_owned()),
    };
    if only.is_some_and(|only| !algorithms.contains(&only)) {
        return Err("is for an algorithm of another kind of key".to_owned());
    }
    Ok(Key { id: jwk.common.key_id, algorithms, only, decoding: key })
}

fn rsa_components(key: &DecodingKey) -> Result<&'static [Algorithm], String> {
    let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } = key.kind() else {
        return Err("is not an RSA key".to_owned());
    };
    let significant = n.iter().skip_while(|byte| **byte == 0).count();
    if (256..=1024).contains(&significant) {
        Ok(RSA)
    } else {
        Err(format!("is RSA of {} bits instead of 2048 to 8192", significant * 8))
    }
}

/// Every `PUBLIC KEY` section of a PEM file.
fn pem_keys(text: &str) -> Result<Vec<Key>, KeyProblem> {
    let sections = pem::public_keys(text.as_bytes()).map_err(|error| match error {
        PemError::OtherSection { label, .. } => wrong_section(label),
        error => KeyProblem::BrokenPem(error.to_string()),
    })?;
    let keys = sections.iter().enumerate();
    keys.map(|(at, der)| public_key(der).ok_or(KeyProblem::UnsupportedKey(at + 1))).collect()
}

fn public_key(der: &[u8]) -> Option<Key> {
    let (algorithms, key) = if PublicEncryptingKey::from_der(der).is_ok() {
        (RSA, DecodingKey::from_rsa_der(der))
    } else if is_p256(der) {
        (P256, DecodingKey::from_ec_der(der))
    } else if is_p384(der) {
        (P384, DecodingKey::from_ec_der(der))
    } else if is_ed25519(der) {
        (ED, DecodingKey::from_ed_der(der))
    } else {
        return None;
    };
    Some(Key { id: None, algorithms, only: None, decoding: key })
}

fn is_p256(key: &[u8]) -> bool {
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).is_ok()
}

fn is_p384(key: &[u8]) -> bool {
    ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key).is_ok()
}

fn is_ed25519(key: &[u8]) -> bool {
    ParsedPublicKey::new(&ED25519, key).is_ok()
}

fn wrong_section(label: &str) -> KeyProblem {
    let command = match label {
        "CERTIFICATE" => "openssl x509 -in FILE -pubkey -noout",
        "RSA PUBLIC KEY" => "openssl rsa -RSAPublicKey_in -in FILE -pubout",
        _ => "openssl pkey -in FILE -pubout",
    };
    KeyProblem::WrongSection { found: label.to_owned(), command }
}

/// A file that is an HMAC secret, but for white space at its ends.
fn secret(text: &str) -> Result<Key, KeyProblem> {
    if text.contains(|c: char| c.is_control() && !c.is_whitespace()) {
        return Err(KeyProblem::NotText);
    }
    // Whoever configures a public key means no secret: everybody has it.
    let framed = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
    if text.starts_with("ssh-") || pem_keys(&framed).is_ok() {
        return Err(KeyProblem::BareKey);
    }
    if text.len() < MIN_SECRET {
        return Err(KeyProblem::ShortSecret(text.len()));
    }
    let key = DecodingKey::from_secret(text.as_bytes());
    Ok(Key { id: None, algorithms: HMAC, only: None, decoding: key })
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::SubjectPublicKeyInfoDer;
    use rustls_pki_types::pem::PemObject;
    use serde_json::json;

    use super::*;

    const RSA_PEM: &str = include_str!("../../../tests/fixtures/jwt/rsa.pem");
    const P256_PEM: &str = include_str!("../../../tests/fixtures/jwt/p256.pem");

    #[track_caller]
    fn problem(file: impl AsRef<[u8]>) -> String {
        match KeySet::parse(file.as_ref()) {
            Ok(_) => panic!("it is taken for keys"),
            Err(problem) => problem.to_string(),
        }
    }

    #[track_caller]
    fn assert_says(problem: &str, text: &str) {
        assert!(problem.contains(text), "{problem}");
    }

    fn without_pem_lines(pem: &str) -> String {
        pem.lines().filter(|line| !line.starts_with('-')).collect()
    }

    #[test]
    fn a_pem_file_may_hold_several_keys() {
        let keys = KeySet::parse(format!("{RSA_PEM}\n{P256_PEM}").as_bytes()).unwrap();
        assert_eq!(keys.fitting(Algorithm::RS256, None).count(), 1);
        assert_eq!(keys.fitting(Algorithm::ES256, None).count(), 1);
    }

    #[test]
    fn a_public_key_is_never_taken_for_a_secret() {
        assert_says(&problem(without_pem_lines(RSA_PEM)), "without its PEM lines");
        assert_says(&problem(without_pem_lines(P256_PEM)), "without its PEM lines");
        assert_says(&problem("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ zoe@host"), "without its PEM");
        let der = SubjectPublicKeyInfoDer::from_pem_slice(RSA_PEM.as_bytes()).unwrap();
        assert_says(&problem(&der), "neither JSON, PEM nor text");
    }

    #[test]
    fn what_is_no_public_key_says_how_to_make_one() {
        let private = crate::envelope::rsa::generate_key(2048).unwrap().private_pem;
        assert_says(&problem(private.as_bytes()), "holds a PRIVATE KEY");
        let certificate = RSA_PEM.replace("PUBLIC KEY", "CERTIFICATE");
        assert_says(&problem(certificate), "openssl x509 -in FILE -pubkey -noout");
        assert_says(&problem("-----BEGIN PUBLIC KEY-----\nAAA"), "PEM");
    }

    #[test]
    fn a_public_key_of_another_kind_is_refused() {
        // openssl ecparam -name secp256k1 -genkey -noout | openssl ec -pubout
        let secp256k1 = "-----BEGIN PUBLIC KEY-----\n\
            MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEq+d8kEMTfatA6PPlZ4DTZ6x8yN3apq9K\n\
            sTFoMroRpkSu7gCIwdUyALSXl+JEBe5oRURn2DuEeHoiYEBHiNgLGA==\n-----END PUBLIC KEY-----\n";
        assert_says(&problem(secp256k1), "is not RSA of 2048 to 8192 bits");
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert_says(&problem("s3cret\n"), "a secret of 6 bytes");
        assert_says(&problem(""), "a secret of 0 bytes");
        assert_says(&problem(json!({"kty": "oct", "k": "AAAA"}).to_string()), "less than 32 bytes");
    }

    #[test]
    fn keys_for_other_purposes_are_skipped() {
        let usable: Value =
            serde_json::from_str(include_str!("../../../tests/fixtures/jwt/jwks.json")).unwrap();
        let mut keys = usable["keys"].as_array().unwrap().clone();
        keys[0]["use"] = json!("enc");
        keys.push(json!({"kty": "future", "x": 1}));
        keys.push(json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}));
        let set = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
        assert_eq!(set.fitting(Algorithm::RS256, None).count(), 0);
        assert_eq!(set.fitting(Algorithm::ES256, None).count(), 1);
    }

    #[test]
    fn a_set_without_a_usable_key_says_why_for_each() {
        let set = json!({"keys": [{"kty": "future"}, {"kty": "oct", "k": "AAAA"}]}).to_string();
        let problem = problem(set);
        assert_says(&problem, "key 1 is of a kind");
        assert_says(&problem, "key 2 is a secret of less");
        assert_says(&self::problem("{\"keys\": []}"), "the set is empty");
        assert_says(&self::problem("{\"keys\": 1}"), "is not a JWKS");
    }

    #[test]
    fn a_keys_own_algorithm_is_the_only_one() {
        let key = json!({"kty": "oct", "alg": "HS512", "k": "A".repeat(64)}).to_string();
        let keys = KeySet::parse(key.as_bytes()).unwrap();
        assert_eq!(keys.fitting(Algorithm::HS256, None).count(), 0);
        assert_eq!(keys.fitting(Algorithm::HS512, None).count(), 1);
    }

    #[test]
    fn short_rsa_keys_are_refused() {
        let n = "v".repeat(172); // 129 bytes
        let key = json!({"kty": "RSA", "n": n, "e": "AQAB"}).to_string();
        assert_says(&problem(key), "RSA of 1032 bits instead of");
    }

    #[test]
    fn errors_name_the_file() {
        let error = KeySet::read(Path::new("/nowhere/keys.pem")).err().unwrap();
        assert_says(&error.to_string(), "/nowhere/keys.pem: cannot be read");
    }
}
