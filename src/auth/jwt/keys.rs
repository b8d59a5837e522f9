//! The keys that tokens are signed with, and their formats.
//!
//! A key's kind is decided here, when it is read, and with it the algorithms
//! that it may be used with. That keeps a token from choosing: a public RSA key
//! can never serve as an HMAC secret, whatever a header says.
//!
//! Nor does the content of a file choose. An HMAC secret comes from the file
//! that is configured as one (`secret`), or from a JWK that says `oct` in a
//! local key set (`jwk`). Nothing in which a key can be found (`disguise`) is one.

mod disguise;
mod jwk;
mod key;
mod pem;
mod problem;
mod secret;
mod text;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm, DecodingKey};

use key::{Key, Kind};
use text::text;

pub use problem::KeyProblem;

/// At least one key.
#[derive(Debug)]
pub struct KeySet(Vec<Key>);

/// A file that no token can be checked with.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct KeysError {
    /// The file.
    pub path: PathBuf,
    /// The problem with it.
    #[source]
    pub problem: KeyProblem,
}

impl KeySet {
    /// Reads a file of public keys: a JWKS, or PEM. Blocks on the file.
    ///
    /// A local JWKS may have secrets in it, as `oct` keys.
    pub fn from_file(path: &Path) -> Result<Self, KeysError> {
        read(path, Self::parse)
    }

    /// Reads a file that is an HMAC secret. Blocks on the file.
    pub fn from_secret_file(path: &Path) -> Result<Self, KeysError> {
        read(path, |file| {
            let decoding = DecodingKey::from_secret(read_secret(file)?);
            Ok(Self(vec![Key { id: None, kind: Kind::Hmac, only: None, decoding }]))
        })
    }

    /// Reads a JWKS that was fetched: one without secrets.
    pub(super) fn fetched(answer: &[u8]) -> Result<Self, KeyProblem> {
        let text = text(answer)?;
        if text.starts_with('{') {
            jwk::keys(text, jwk::Origin::Fetched).map(Self)
        } else {
            Err(KeyProblem::NotAKeySet("it does not begin with `{`".to_owned()))
        }
    }

    fn parse(file: &[u8]) -> Result<Self, KeyProblem> {
        let text = text(file)?;
        if text.starts_with(['{', '[']) {
            jwk::keys(text, jwk::Origin::Local).map(Self)
        } else if text.contains("-----BEGIN ") {
            pem::keys(text).map(Self)
        } else if pem::is_bare_key(text) {
            Err(KeyProblem::BareKey)
        } else if text.contains('{') {
            Err(KeyProblem::Prefaced)
        } else {
            Err(KeyProblem::Neither)
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Always `false`: there is one at least.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
            .filter(move |key| key.kind.algorithms().contains(&algorithm))
            .filter(move |key| key.only.is_none_or(|only| only == algorithm))
            .filter(move |key| match (&key.id, id) {
                (Some(has), Some(wanted)) => has == wanted,
                _ => true,
            })
            .map(|key| &key.decoding)
    }

    /// Whether there is a key of exactly this id.
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }
}

/// The keys by kind and id, for people: `RSA "2024", P-256`.
impl fmt::Display for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (nth, key) in self.0.iter().take(SHOWN).enumerate() {
            let comma = if nth == 0 { "" } else { ", " };
            write!(f, "{comma}{}", key.kind)?;
            if let Some(id) = &key.id {
                let end = id.floor_char_boundary(64);
                write!(f, " {:?}", id.get(..end).unwrap_or_default())?;
            }
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

fn read(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<KeySet, KeyProblem>,
) -> Result<KeySet, KeysError> {
    fs::read(path)
        .map_err(KeyProblem::Unreadable)
        .and_then(|file| parse(&file))
        .map_err(|problem| KeysError { path: path.to_owned(), problem })
}

/// The secret that a file holds: the bytes that HMAC is computed with.
pub fn read_secret(file: &[u8]) -> Result<&[u8], KeyProblem> {
    secret::of(file).map(str::as_bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RSA_PEM: &str = include_str!("../../../tests/fixtures/jwt/rsa.pem");
    const P256_PEM: &str = include_str!("../../../tests/fixtures/jwt/p256.pem");
    const JWKS: &str = include_str!("../../../tests/fixtures/jwt/jwks.json");

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

    #[test]
    fn a_byte_order_mark_is_skipped() {
        for text in [JWKS, RSA_PEM] {
            let keys = KeySet::parse(format!("\u{feff}{text}").as_bytes()).unwrap();
            assert_eq!(keys.fitting(Algorithm::RS256, None).count(), 1);
        }
    }

    #[test]
    fn no_text_is_taken_for_a_secret() {
        let says_so = "name it under `auth.jwt.secret`";
        assert_says(&problem("thirty-two bytes of shared secret"), says_so);
        assert_says(&problem(format!("# keys\n{JWKS}")), "JSON has no comments");
        assert_says(&problem(format!("// keys\n{JWKS}")), "JSON has no comments");
        assert_says(&problem(RSA_PEM.replace('-', "")), says_so);
        assert_says(&problem(""), says_so);
        for text in [JWKS, RSA_PEM] {
            for utf16 in [u16::to_le_bytes, u16::to_be_bytes] {
                let encoded = text.encode_utf16().flat_map(utf16);
                assert_says(&problem(encoded.collect::<Vec<u8>>()), "save it as UTF-8");
                let marked = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(utf16);
                assert_says(&problem(marked.collect::<Vec<u8>>()), "save it as UTF-8");
            }
        }
    }

    #[test]
    fn a_pem_file_may_hold_several_keys() {
        let keys = KeySet::parse(format!("{RSA_PEM}\n{P256_PEM}").as_bytes()).unwrap();
        assert_eq!(keys.fitting(Algorithm::RS256, None).count(), 1);
        assert_eq!(keys.fitting(Algorithm::ES256, None).count(), 1);
        assert_eq!(keys.to_string(), "RSA, P-256");
    }

    #[test]
    fn a_fetched_set_has_no_secrets() {
        let keys = KeySet::fetched(JWKS.as_bytes()).unwrap();
        assert_eq!(keys.fitting(Algorithm::HS256, None).count(), 0);
        assert_eq!(keys.fitting(Algorithm::RS256, None).count(), 1);
        let secret = json!({"keys": [{"kty": "oct", "k": "A".repeat(64)}]}).to_string();
        let refused = KeySet::fetched(secret.as_bytes()).unwrap_err().to_string();
        assert_says(&refused, "key 1 is a secret, which is not taken from a URL");
        for nonsense in ["", "<html>", RSA_PEM, "[]", "{}", "{\"keys\": []}", "{\"keys\": 5}"] {
            assert!(KeySet::fetched(nonsense.as_bytes()).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn errors_name_the_file() {
        let error = KeySet::from_file(Path::new("/nowhere/keys.pem")).err().unwrap();
        assert_says(&error.to_string(), "/nowhere/keys.pem: cannot be read");
    }

    #[test]
    fn no_message_repeats_what_is_in_the_file() {
        let private = crate::protocol::seed::rsa::generate_key(2048).unwrap().private_pem;
        let private = String::from_utf8_lossy(private.as_bytes()).into_owned();
        let body: String = private.lines().filter(|line| !line.starts_with('-')).collect();
        for file in [
            private.replace('\n', "\\n"),
            private.replace('\n', " "),
            private.replacen("-----\n", "", 1),
            private.replace("PRIVATE KEY", &body),
            json!({ "keys": body }).to_string(),
            json!({ "keys": [body] }).to_string(),
            json!({ "keys": [{"kty": body}] }).to_string(),
            json!({ "keys": [{"kty": "RSA", "alg": body, "n": "AA", "e": "AA"}] }).to_string(),
            json!({ "keys": [{"kty": "RSA", "use": body, "n": body, "e": body}] }).to_string(),
            format!("{{\"keys\": {body}}}"),
            body.clone(),
        ] {
            let said = problem(&file);
            let leaked = body.as_bytes().windows(8).any(|run| {
                let decimal = run.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
                said.contains(&*String::from_utf8_lossy(run)) || said.contains(&decimal)
            });
            assert!(!leaked, "{said}");
        }
    }
}
