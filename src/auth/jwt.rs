//! Logins by JSON Web Token (RFC 7519), checked by the gateway itself.
//!
//! What a token is checked for: its signature under one of the `keys`, whose
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

use super::{LEEWAY, Login, Verdict};
use keys::KeySet;

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
            Ok(claims) if self.names_user(&claims, login.user_id) => match expiry(&claims) {
                // Of the last second, in which whole seconds are still equal.
                Some(at) if at <= SystemTime::now() => Verdict::refused(EXPIRED),
                expires_at => Verdict::Accepted { expires_at },
            },
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

/// When a token expires, the leeway included.
fn expiry(claims: &Map<String, Value>) -> Option<SystemTime> {
    let seconds = claims.get("exp")?.as_f64()?;
    let since_epoch = Duration::try_from_secs_f64(seconds).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(since_epoch)?.checked_add(LEEWAY)
}

const BAD_SIGNATURE: &str = "bad signature";
const EXPIRED: &str = "token expired";

/// What a client is told of an error.
fn reason(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::ExpiredSignature => EXPIRED,
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

#[cfg(test)]
mod tests {
    use std::fs;

    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/jwt");
    const SECRET: &str = "a secret of more than thirty-two bytes, with a line break behind it";

    fn config(keys: &str) -> Config {
        Config {
            keys: Path::new(FIXTURES).join(keys),
            issuer: None,
            audience: None,
            user_claim: "sub".to_owned(),
        }
    }

    /// A token of the fixtures, made by `PyJWT`, by its name.
    fn token(name: &str) -> String {
        let tokens = fs::read_to_string(Path::new(FIXTURES).join("tokens.txt")).unwrap();
        let mut lines = tokens.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(its_name, _)| *its_name == name).unwrap().1.to_owned()
    }

    fn sign(claims: &Value) -> String {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::encode(&Header::default(), claims, &key).unwrap()
    }

    fn judge(config: Config, token: &str) -> Verdict {
        let login = Login { user_id: "zoe", token, ..Login::default() };
        Jwt::new(config).unwrap().judge(&login)
    }

    #[track_caller]
    fn assert_accepted(verdict: &Verdict) {
        assert!(matches!(verdict, Verdict::Accepted { .. }), "{verdict:?}");
    }

    #[track_caller]
    fn assert_refused(verdict: &Verdict, because: &str) {
        assert_eq!(*verdict, Verdict::refused(because));
    }

    fn seconds_from_now(offset: i64) -> i64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        i64::try_from(now.as_secs()).unwrap() + offset
    }

    #[test]
    fn tokens_of_every_algorithm_are_accepted_under_their_key() {
        for (keys, algorithms) in [
            ("secret.txt", &["HS256", "HS384", "HS512"][..]),
            ("rsa.pem", &["RS256", "RS384", "RS512", "PS256"]),
            ("p256.pem", &["ES256"]),
            ("p384.pem", &["ES384"]),
            ("ed25519.pem", &["EdDSA"]),
        ] {
            for algorithm in algorithms {
                assert_accepted(&judge(config(keys), &token(algorithm)));
                assert_accepted(&judge(config("jwks.json"), &token(algorithm)));
            }
        }
    }

    #[test]
    fn a_key_id_picks_the_key() {
        for name in ["RS256+kid", "ES256+kid", "ES384+kid", "EdDSA+kid"] {
            assert_accepted(&judge(config("jwks.json"), &token(name)));
        }
        let verdict = judge(config("jwks.json"), &token("RS256+wrong-kid"));
        assert_refused(&verdict, "no key fits the token");
        // A PEM file has no ids, so any may be meant.
        assert_accepted(&judge(config("rsa.pem"), &token("RS256+wrong-kid")));
    }

    #[test]
    fn a_key_serves_no_algorithm_of_another_kind() {
        for (keys, name) in [
            ("rsa.pem", "HS256-by-rsa.pem"),
            ("rsa.pem", "HS256"),
            ("rsa.pem", "ES256"),
            ("p256.pem", "ES384"),
            ("p384.pem", "EdDSA"),
            ("secret.txt", "RS256"),
        ] {
            assert_refused(&judge(config(keys), &token(name)), "no key fits the token");
        }
        assert_refused(&judge(config("jwks.json"), &token("HS256-by-rsa.pem")), "bad signature");
    }

    #[test]
    fn a_token_without_a_signature_is_refused() {
        for keys in ["jwks.json", "secret.txt", "rsa.pem"] {
            assert_refused(&judge(config(keys), &token("none")), "malformed token");
        }
        let (signed, _) = sign(&json!({"sub": "zoe"})).rsplit_once('.').map(own).unwrap();
        assert_refused(&judge(config("secret.txt"), &format!("{signed}.")), "bad signature");
    }

    fn own((a, b): (&str, &str)) -> (String, String) {
        (a.to_owned(), b.to_owned())
    }

    #[test]
    fn a_changed_token_is_refused() {
        let token = token("RS256");
        let (head, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = head.split_once('.').unwrap();
        // {"sub":"zoe"}
        let forged = format!("{header}.eyJzdWIiOiJ6b2UifQ.{signature}");
        assert_refused(&judge(config("rsa.pem"), &forged), "bad signature");
    }

    #[test]
    fn what_is_no_token_is_refused_without_repeating_it() {
        for text in ["x", "a.b", "a.b.c", "....", "e30.e30.e30", "\u{0}", "🦀.🦀.🦀"] {
            assert_refused(&judge(config("jwks.json"), text), "malformed token");
        }
        assert_refused(&judge(config("jwks.json"), ""), "token is missing");
    }

    #[test]
    fn a_critical_extension_that_nobody_knows_is_refused() {
        let verdict = judge(config("rsa.pem"), &token("RS256+crit"));
        assert_refused(&verdict, "token needs an extension that is not supported");
    }

    #[test]
    fn the_token_must_be_for_the_user_of_the_login() {
        let secret = || config("secret.txt");
        assert_refused(
            &judge(secret(), &sign(&json!({"sub": "bob"}))),
            "token is for another user",
        );
        assert_refused(&judge(secret(), &sign(&json!({"uid": "zoe"}))), "token names no user");
        let uid = || Config { user_claim: "uid".to_owned(), ..config("secret.txt") };
        assert_accepted(&judge(uid(), &sign(&json!({"uid": "zoe", "sub": "x"}))));
        assert_refused(&judge(uid(), &sign(&json!({"uid": ["zoe"]}))), "token is for another user");
    }

    #[test]
    fn a_user_may_be_a_whole_number() {
        let jwt = Jwt::new(config("secret.txt")).unwrap();
        let judge = |user_id: &str, claim: Value| {
            let token = sign(&json!({ "sub": claim }));
            jwt.judge(&Login { user_id, token: &token, ..Login::default() })
        };
        assert_accepted(&judge("9007199254740993", json!(9_007_199_254_740_993_u64)));
        assert_refused(&judge("1", json!(1.0)), "token is for another user");
    }

    #[test]
    fn times_are_checked_with_thirty_seconds_of_leeway() {
        let judge = |claim: &str, offset: i64| {
            let claims = json!({"sub": "zoe", claim: seconds_from_now(offset)});
            judge(config("secret.txt"), &sign(&claims))
        };
        assert_accepted(&judge("exp", -20));
        assert_refused(&judge("exp", -40), "token expired");
        assert_accepted(&judge("nbf", 20));
        assert_refused(&judge("nbf", 40), "token is not valid yet");
    }

    #[test]
    fn times_that_are_none_are_refused() {
        for claims in [
            json!({"sub": "zoe", "exp": "tomorrow"}),
            json!({"sub": "zoe", "exp": -1}),
            json!({"sub": "zoe", "exp": null}),
            json!({"sub": "zoe", "nbf": {}}),
        ] {
            assert_refused(&judge(config("secret.txt"), &sign(&claims)), "malformed token");
        }
    }

    #[test]
    fn the_verdict_says_when_the_token_expires() {
        let expires_at = |claims| match judge(config("secret.txt"), &sign(&claims)) {
            Verdict::Accepted { expires_at } => expires_at,
            other => panic!("{other:?}"),
        };
        let then = SystemTime::UNIX_EPOCH + Duration::from_hours(1_139_568) + LEEWAY;
        assert_eq!(expires_at(json!({"sub": "zoe", "exp": 4_102_444_800_u64})), Some(then));
        assert_eq!(expires_at(json!({"sub": "zoe"})), None);
        assert_eq!(expires_at(json!({"sub": "zoe", "exp": u64::MAX})), None);
    }

    #[test]
    fn issuer_and_audience_are_checked_where_they_are_configured() {
        let with = |issuer: Option<&str>, audience: Option<&str>| Config {
            issuer: issuer.map(str::to_owned),
            audience: audience.map(str::to_owned),
            ..config("secret.txt")
        };
        let full = token("HS256");
        assert_accepted(&judge(with(Some("https://id.example"), Some("bridgehead")), &full));
        assert_accepted(&judge(with(None, None), &full));
        assert_refused(&judge(with(Some("other"), None), &full), "token is from another issuer");
        assert_refused(&judge(with(None, Some("other")), &full), "token is for another audience");
        let bare = sign(&json!({"sub": "zoe"}));
        assert_refused(&judge(with(Some("x"), None), &bare), "token names no issuer");
        assert_refused(&judge(with(None, Some("x")), &bare), "token names no audience");
        let several = sign(&json!({"sub": "zoe", "aud": ["a", "bridgehead"]}));
        assert_accepted(&judge(with(None, Some("bridgehead")), &several));
    }

    #[test]
    fn a_new_keys_file_counts_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let fixture = |name| fs::read(Path::new(FIXTURES).join(name)).unwrap();
        fs::write(&keys, fixture("rsa.pem")).unwrap();
        let jwt = Jwt::new(Config { keys: keys.clone(), ..config("") }).unwrap();
        let judge = |name: &str| {
            let token = token(name);
            jwt.judge(&Login { user_id: "zoe", token: &token, ..Login::default() })
        };
        assert_accepted(&judge("RS256"));

        fs::write(&keys, "{").unwrap();
        let error = jwt.reload().unwrap_err();
        assert!(error.to_string().contains("is not a JWKS"), "{error}");
        assert_accepted(&judge("RS256"));

        fs::write(&keys, fixture("p256.pem")).unwrap();
        jwt.reload().unwrap();
        assert_accepted(&judge("ES256"));
        assert_refused(&judge("RS256"), "no key fits the token");
    }
}
