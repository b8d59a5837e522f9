//! `bridgehead token`: JSON Web Tokens for tests, and keys to sign them with.
//!
//! An identity provider does this in earnest. Here it is for trying out a
//! configuration, and for tests of clients.

mod new_key;
mod signing;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::limits;
use super::output::print;
use new_key::{Kind, NewKey};
use signing::SigningKey;

/// Make a JSON Web Token to log in with, or a key to sign tokens with.
#[derive(Debug, Args)]
pub(super) struct Token {
    /// The user that the token is for.
    #[arg(long, value_name = "USER", required_unless_present = "new_key")]
    user: Option<String>,
    /// The private key to sign with: PEM, as PKCS#8, PKCS#1 or SEC1.
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    #[arg(required_unless_present_any = ["new_key", "secret"])]
    key: Option<PathBuf>,
    /// The file of the secret to sign with by HMAC, as configured in `auth.jwt.secret`.
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
    /// The algorithm, of those that the key is for [default: RS256, ES256,
    /// ES384, EdDSA or HS256, by the key].
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    /// The key's id [default: the key's thumbprint; none for a secret].
    #[arg(long, value_name = "ID")]
    kid: Option<String>,
    /// The claim `iss`.
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// The claim `aud`; several make a list.
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// How long the token is valid; `never`: it does not expire.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = expires)]
    expires: Expires,
    /// The claim that names the user, as configured in `auth.jwt.user_claim`.
    #[arg(long, value_name = "NAME", default_value = "sub")]
    user_claim: String,
    /// A further claim; the value is JSON, or else a text.
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
    /// Make a new key, and no token: jwt.pem (private), jwt.pub.pem and jwks.json
    /// (public), or jwt.secret.
    #[arg(long, value_name = "KIND")]
    #[arg(conflicts_with_all = ["user", "key", "secret", "algorithm", "issuer", "audience", "claims"])]
    new_key: Option<Kind>,
    /// The folder that the new key's files go to.
    #[arg(long, value_name = "DIR", default_value = ".", requires = "new_key")]
    out: PathBuf,
    /// Overwrite files that exist. Tokens of the old key are refused then.
    #[arg(long, requires = "new_key")]
    force: bool,
}

/// How long a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expires {
    After(Duration),
    Never,
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        if let Some(kind) = self.new_key {
            let key = NewKey { kind, kid: self.kid, out: self.out, force: self.force };
            return print(&key.make()?);
        }
        let key = match (&self.key, &self.secret) {
            (Some(key), _) => SigningKey::read(key)?,
            (None, Some(secret)) => SigningKey::read_secret(secret)?,
            (None, None) => return Err(Failure::usage("--key or --secret is missing")),
        };
        print(&self.mint(&key, SystemTime::now())?)
    }

    fn mint(&self, key: &SigningKey, now: SystemTime) -> Result<String, Failure> {
        let algorithm = self.algorithm.unwrap_or(key.algorithm);
        if algorithm.family() != key.algorithm.family()
            || key.is_fixed() && algorithm != key.algorithm
        {
            let message = format!("the key is for {:?}, not for {algorithm:?}", key.algorithm);
            return Err(Failure::usage(message));
        }
        let mut header = Header::new(algorithm);
        header.kid = self.kid.clone().or_else(|| key.id.clone());
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut claims = Map::new();
        claims.insert("iat".to_owned(), now.as_secs().into());
        if let Expires::After(duration) = self.expires {
            claims.insert("exp".to_owned(), now.saturating_add(duration).as_secs().into());
        }
        claims.extend(self.issuer.clone().map(|issuer| ("iss".to_owned(), issuer.into())));
        let audience = match self.audience.as_slice() {
            [] => None,
            [one] => Some(Value::from(one.clone())),
            several => Some(several.into()),
        };
        claims.extend(audience.map(|audience| ("aud".to_owned(), audience)));
        claims.extend(self.user.clone().map(|user| (self.user_claim.clone(), user.into())));
        claims.extend(self.claims.iter().cloned());
        jsonwebtoken::encode(&header, &claims, &key.encoding)
            .map_err(|_| Failure::failed("the key signs no token: it is not fit for that"))
    }
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    name.parse()
        .map_err(|_| "no such algorithm: try RS256, PS256, ES256, EdDSA or HS256".to_owned())
}

fn expires(text: &str) -> Result<Expires, String> {
    if text == "never" {
        return Ok(Expires::Never);
    }
    limits::lifetime(text).map(Expires::After).map_err(|error| format!("{error}; or `never`"))
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}
