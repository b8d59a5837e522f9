//! Logins by JSON Web Token (RFC 7519), checked by the gateway itself.
//!
//! What a token is checked for: its signature under one of the [`keys`], whose
//! kind alone decides which algorithms are possible; `exp` and `nbf` with 30
//! seconds of leeway, where the token has them; `iss` and `aud`, which it must
//! have where they are configured; and that its user claim is the user of the
//! login. A token without `exp` never expires: whoever issues tokens decides.
//! A token with a `crit` header is refused, since none of the extensions that
//! it may name is understood here (RFC 7515, 4.1.11).

mod keys;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};

pub use keys::{KeyProblem, KeysError};

use super::{Login, Verdict};
use keys::KeySet;

/// How far the clocks of issuer and gateway may be apart.
const LEEWAY: Duration = Duration::from_secs(30);

/// What tokens must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that the keys are in: a JWKS, one or more PEM public keys, or
    /// an HMAC secret of at least 32 bytes, to which white space at the ends of
    /// the file does not belong.
    pub keys: PathBuf,
    /// The issuer that tokens must name; absent, it is not looked at.
    pub issuer: Option<String>,
    /// The audience that tokens must be for; absent, it is not looked at.
    pub audience: Option<String>,
    /// The top-level claim that must equal the login's user id, as a text or
    /// as a whole number.
    pub user_claim: String,
}

/// Judges logins by their JWT.
pub struct Jwt {
    config: Config,
    validation: Validation,
    keys: ArcSwap<KeySet>,
}

impl Jwt {
    /// Reads the keys. Blocks on the file.
    pub fn new(config: Config) -> Result<Self, KeysError> {
        let keys = KeySet::read(&config.keys)?;
        Ok(Self { validation: validation(&config), keys: ArcSwap::from_pointee(keys), config })
    }

    /// What this was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The file that the keys are in: [`reload`](Self::reload) when it changes.
    pub fn keys_file(&self) -> &Path {
        &self.config.keys
    }

    /// Reads the keys again, for every login from now on. Blocks on the file.
    ///
    /// With an error nothing has changed: the keys from before go on.
    pub fn reload(&self) -> Result<(), KeysError> {
        self.keys.store(KeySet::read(&self.config.keys)?.into());
        Ok(())
    }

    /// Judges a login's token.
    pub(super) fn judge(&self, login: &Login<'_>) -> Verdict {
        if login.token.is_empty() {
            return Verdict::refused("token is missing");
        }
        match self.claims(login.token) {
            Ok(claims) if self.names_user(&claims, login.user_id) => {
                Verdict::Accepted { expires_at: expiry(&claims) }
            }
            Ok(claims) if claims.contains_key(&self.config.user_claim) => {
                Verdict::refused("token is for another user")
            }
            Ok(_) => Verdict::refused("token names no user"),
            Err(reason) => Verdict::refused(reason),
        }
    }

    /// The claims of a token that is valid, whoever it is for.
    fn claims(&self, token: &str) -> Result<Map<String, Value>, &'static str> {
        // An algorithm that the library has no name for, `none` among them,
        // is an error here already.
        let header = jsonwebtoken::decode_header(token).map_err(|_| "malformed token")?;
        if header.crit.is_some() {
            return Err("token needs an extension that is not supported");
        }
        let keys = self.keys.load();
        let mut refusal = "no key fits the token";
        for key in keys.fitting(header.alg, header.kid.as_deref()) {
            let validation = self.validation_for(header.alg);
            match jsonwebtoken::decode(token, key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => refusal = reason(error.kind()),
            }
            if refusal != BAD_SIGNATURE {
                break;
            }
        }
        Err(refusal)
    }

    fn validation_for(&self, algorithm: Algorithm) -> Validation {
        Validation { algorithms: vec![algorithm], ..self.validation.clone() }
    }

    fn names_user(&self, claims: &Map<String, Value>, user_id: &str) -> bool {
        match claims.get(&self.config.user_claim) {
            Some(Value::String(user)) => user == user_id,
            Some(Value::Number(user)) if !user.is_f64() => user.to_string() == user_id,
            _ => false,
        }
    }
}

/// What every token is held against, but for its algorithm.
fn validation(config: &Config) -> Validation {
    let mut validation = Validation {
        leeway: LEEWAY.as_secs(),
        validate_nbf: true,
        validate_aud: config.audience.is_some(),
        required_spec_claims: HashSet::new(),
        ..Validation::default()
    };
    if let Some(issuer) = &config.issuer {
        validation.set_issuer(&[issuer]);
        validation.required_spec_claims.insert("iss".to_owned());
    }
    if let Some(audience) = &config.audience {
        validation.set_audience(&[audience]);
        validation.required_spec_claims.insert("aud".to_owned());
    }
    validation
}

/// When a token expires, without leeway.
fn expiry(claims: &Map<String, Value>) -> Option<SystemTime> {
    let seconds = claims.get("exp")?.as_f64()?;
    let since_epoch = Duration::try_from_secs_f64(seconds).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(since_epoch)
}

const BAD_SIGNATURE: &str = "bad signature";

/// What a client is told of an error.
fn reason(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::ExpiredSignature => "token expired",
        ErrorKind::ImmatureSignature => "token is not valid yet",
        ErrorKind::InvalidIssuer => "token is from another issuer",
        ErrorKind::InvalidAudience => "token is for another audience",
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => "token names no issuer",
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => "token names no audience",
        ErrorKind::InvalidClaimFormat(_)
        | ErrorKind::InvalidToken
        | ErrorKind::Base64(_)
        | ErrorKind::Json(_)
        | ErrorKind::Utf8(_) => "malformed token",
        _ => BAD_SIGNATURE,
    }
}
