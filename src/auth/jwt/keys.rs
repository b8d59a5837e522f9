//! The keys that tokens are signed with, and what they are read from.
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
mod pem;
mod secret;

use std::fmt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
};
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::pem::PemError;

/// RFC 7518, 3.2: a secret is at least as long as the hash.
const MIN_SECRET: usize = 32;

/// At least one key.
#[derive(Debug)]
pub struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    kind: Kind,
    /// The only one of the kind's algorithms that the key's issuer wants it
    /// used with.
    only: Option<Algorithm>,
    decoding: DecodingKey,
}

/// What a key is, and so what it may be used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hmac,
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// A file that no token can be checked with.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct KeysError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: KeyProblem,
}

/// What can be wrong with keys. No message repeats a byte of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// JSON, but not that of a key set.
    #[error("is not a JWKS, which looks like {{\"keys\": [{{\"kty\": …}}]}}: {0}")]
    NotAKeySet(String),
    /// A key set without a key that could verify a token.
    #[error("has no key that tokens can be checked with: {0}")]
    NoUsableKey(String),
    /// A key set that would make a check of a token expensive.
    #[error("has {0} keys, and more than {max} are not used", max = jwk::MAX_KEYS)]
    TooManyKeys(usize),
    /// PEM, but not of public keys.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A public key of a kind that no supported algorithm uses.
    #[error("public key {0} is not RSA of 2048 to 8192 bits, EC on P-256 or P-384, or Ed25519")]
    UnsupportedKey(usize),
    /// A public key without its first and last line.
    #[error(
        "looks like a public key without its PEM lines: put -----BEGIN PUBLIC KEY----- before it \
         and -----END PUBLIC KEY----- behind it"
    )]
    BareKey,
    /// JSON behind something else.
    #[error(
        "has something before its JSON: leave it out, since JSON has no comments, and begins with `{{`"
    )]
    Prefaced,
    /// Neither JSON nor PEM.
    #[error(
        "is neither a JWKS nor PEM with public keys. If it is an HMAC secret, name it under \
         `auth.jwt.secret` instead of `auth.jwt.keys`"
    )]
    Neither,
    /// Text of two bytes a character.
    #[error("is UTF-16: save it as UTF-8")]
    Utf16,
    /// Not text at all.
    #[error(
        "is not text. A public key in DER becomes PEM with `openssl pkey -pubin -inform DER -in \
         FILE`; a binary secret goes into a JWKS, as {{\"kty\": \"oct\", \"k\": \"<base64url>\"}}"
    )]
    NotText,
    /// A secret that could be guessed.
    #[error(
        "holds a secret of {0} bytes, but HMAC keys need {MIN_SECRET}: try `openssl rand -hex 32`"
    )]
    ShortSecret(usize),
    /// A secret that is too long to be one.
    #[error(
        "holds {0} bytes, which is too long for a secret (up to {max}): try `openssl rand -hex 32`",
        max = secret::MAX_SECRET
    )]
    LongSecret(usize),
    /// A secret with line breaks in it.
    #[error("has several lines, and a secret is one: try `openssl rand -hex 32`")]
    SeveralLines,
    /// What everybody may know instead of a secret.
    #[error(
        "holds {0}, which is not a secret. Public keys are named under `auth.jwt.keys`; a secret is \
         one line of random characters, such as `openssl rand -hex 32` prints"
    )]
    NoSecret(&'static str),
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

    /// Never: there is one at least.
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

/// The keys by kind and id, as people look for them: `RSA "2024", P-256`.
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

/// Shows what it is, and nothing of it.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {:?})", self.kind, self.id)
    }
}

impl Kind {
    fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::Hmac => &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
            Self::Rsa => &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            Self::P256 => &[Algorithm::ES256],
            Self::P384 => &[Algorithm::ES384],
            Self::Ed25519 => &[Algorithm::EdDSA],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hmac => "HMAC",
            Self::Rsa => "RSA",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Ed25519 => "Ed25519",
        })
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

/// The text of a file, without a byte order mark and without white space at
/// its ends.
fn text(file: &[u8]) -> Result<&str, KeyProblem> {
    let is_utf16 = [&b"\xff\xfe"[..], b"\xfe\xff"].iter().any(|mark| file.starts_with(mark))
        || matches!(file, [0, b'{' | b'-', ..] | [b'{' | b'-', 0, ..]);
    if is_utf16 {
        return Err(KeyProblem::Utf16);
    }
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let text = str::from_utf8(file).map_err(|_| KeyProblem::NotText)?.trim();
    if text.contains(|c: char| c.is_control() && !c.is_whitespace()) {
        return Err(KeyProblem::NotText);
    }
    Ok(text)
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
