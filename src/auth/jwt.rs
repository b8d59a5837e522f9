//! Logins by JSON Web Token (RFC 7519), checked by the gateway itself.
//!
//! The checks of a token: its signature under one of the keys, whose kind alone
//! decides which algorithms are possible; `exp` and `nbf` with 30 seconds of
//! leeway, where the token has them; `iss` and `aud`, which it must have where
//! they are configured; and that its user claim is the user of the login. A token
//! without `exp` never expires: that is the issuer's decision. A token with a
//! `crit` header is refused, since none of the extensions that it may name is
//! understood here (RFC 7515, 4.1.11).
//!
//! Keys come from a file ([`keys`]), or are fetched ([`remote`]).

mod claim;
mod http;
mod keys;
mod remote;
mod schedule;
mod url;

use std::collections::HashSet;
use std::fmt;
use std::future::{Ready, ready};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::{BoxFuture, Either};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};

pub use self::url::{KeysUrl, UrlProblem};
pub use keys::{KeyProblem, KeySet, KeysError, read_secret};
pub use remote::{Place, Remote, RemoteConfig, RemoteError, RemoteStatus};

use super::{Login, Verdict};

/// The tolerated difference between the clocks of the issuer and of the gateway.
const LEEWAY: Duration = Duration::from_secs(30);

/// The requirements of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The issuer that tokens must name; absent, it is not looked at.
    pub issuer: Option<String>,
    /// The audience that tokens must be for; absent, it is not looked at.
    pub audience: Option<String>,
    /// The claim that must equal the login's user id, as a text or as a whole
    /// number: its name, or a path to it with dots between its steps.
    pub user_claim: String,
}

/// The keys that tokens may be signed with.
#[derive(Clone)]
pub enum Keys {
    /// The keys of a file, as it was when it was read.
    File(PathBuf, Arc<KeySet>),
    /// The HMAC secret of a file, as it was when it was read.
    Secret(PathBuf, Arc<KeySet>),
    /// A server's current keys.
    Remote(Arc<Remote>),
}

/// Judges logins by their JWT.
pub struct Jwt {
    config: Config,
    validation: Validation,
    keys: Keys,
}

/// Why a token is refused.
struct Refusal {
    reason: &'static str,
    /// A key that is not known here could make a difference.
    wants_key: bool,
}

impl Jwt {
    /// Judges by these keys.
    pub fn new(config: Config, keys: Keys) -> Self {
        Self { validation: validation(&config), keys, config }
    }

    /// The requirements of tokens.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The keys that tokens are checked with.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Judges a login's token.
    ///
    /// A token whose key is not known waits for keys that are being fetched, for
    /// some seconds at most. The future may be dropped at any time.
    pub(super) fn judge(
        self: &Arc<Self>,
        login: &Login<'_>,
    ) -> Either<Ready<Verdict>, BoxFuture<'static, Verdict>> {
        let refusal = match self.judge_now(login) {
            Ok(verdict) => return Either::Left(ready(verdict)),
            Err(refusal) => refusal,
        };
        let remote = self.keys.remote().map(Arc::clone);
        let Some(remote) = remote.filter(|_| refusal.wants_key) else {
            return Either::Left(ready(Verdict::refused(refusal.reason)));
        };
        let (jwt, token) = (Arc::clone(self), login.token.to_owned());
        let user_id = login.user_id.to_owned();
        Either::Right(Box::pin(async move {
            match remote.fresh().await {
                Ok(keys) => jwt
                    .judge_with(&keys, &token, &user_id)
                    .unwrap_or_else(|refusal| Verdict::refused(refusal.reason)),
                Err(cause) => Verdict::Unavailable { cause },
            }
        }))
    }

    /// Judges by the current keys, without waiting for a fetch.
    pub(super) fn judge_by_known_keys(&self, login: &Login<'_>) -> Verdict {
        self.judge_now(login).unwrap_or_else(|refusal| Verdict::refused(refusal.reason))
    }

    fn judge_now(&self, login: &Login<'_>) -> Result<Verdict, Refusal> {
        if login.token.is_empty() {
            return Ok(Verdict::refused("token is missing"));
        }
        let now = match &self.keys {
            Keys::File(_, set) | Keys::Secret(_, set) => Some(Arc::clone(set)),
            Keys::Remote(remote) => remote.now(),
        };
        match now {
            Some(keys) => self.judge_with(&keys, login.token, login.user_id),
            None => Ok(Verdict::Unavailable {
                cause: "the keys that tokens are checked with could not be fetched yet".to_owned(),
            }),
        }
    }

    fn judge_with(&self, keys: &KeySet, token: &str, user_id: &str) -> Result<Verdict, Refusal> {
        let claims = self.claims(keys, token)?;
        let Some(user) = claim::find(&claims, &self.config.user_claim) else {
            return Ok(Verdict::refused("token names no user"));
        };
        let is_user = match user {
            Value::String(user) => user == user_id,
            Value::Number(user) if !user.is_f64() => user.to_string() == user_id,
            _ => false,
        };
        if !is_user {
            return Ok(Verdict::refused("token is for another user"));
        }
        Ok(match expiry(&claims) {
            // Of the last second, in which whole seconds are still equal.
            Some(at) if at <= SystemTime::now() => Verdict::refused(EXPIRED),
            expires_at => Verdict::Accepted { expires_at },
        })
    }

    /// The claims of a valid token, for any user.
    fn claims(&self, keys: &KeySet, token: &str) -> Result<Map<String, Value>, Refusal> {
        let refused = |reason| Refusal { reason, wants_key: false };
        // An algorithm that the library has no name for, `none` among them,
        // is an error here already.
        let header = jsonwebtoken::decode_header(token).map_err(|_| refused("malformed token"))?;
        if header.crit.is_some() {
            return Err(refused("token needs an extension that is not supported"));
        }
        let mut reason = "no key fits the token";
        for key in keys.fitting(header.alg, header.kid.as_deref()) {
            let validation = self.validation_for(header.alg);
            match jsonwebtoken::decode(token, key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => reason = reason_of(error.kind()),
            }
            if reason != BAD_SIGNATURE {
                return Err(refused(reason));
            }
        }
        // Secrets are not fetched, and a key of this name is known.
        let is_known = is_hmac(header.alg) || header.kid.is_some_and(|id| keys.has_id(&id));
        Err(Refusal { reason, wants_key: !is_known })
    }

    fn validation_for(&self, algorithm: Algorithm) -> Validation {
        Validation { algorithms: vec![algorithm], ..self.validation.clone() }
    }
}

impl Keys {
    /// The keys that are fetched, where they are.
    pub fn remote(&self) -> Option<&Arc<Remote>> {
        match self {
            Self::Remote(remote) => Some(remote),
            Self::File(..) | Self::Secret(..) => None,
        }
    }
}

/// Where keys come from, and which there are.
impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, set) => write!(f, "{}: {set}", path.display()),
            Self::Secret(path, _) => write!(f, "{}: an HMAC secret", path.display()),
            Self::Remote(remote) => match remote.now() {
                Some(set) => write!(f, "{}: {set}", remote.config().place),
                None => write!(f, "{}, not asked", remote.config().place),
            },
        }
    }
}

fn is_hmac(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

/// The validation of every token, except for its algorithm.
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

/// The reason in the client's reply for an error.
fn reason_of(error: &ErrorKind) -> &'static str {
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
    use std::path::Path;

    use futures_util::FutureExt as _;
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/jwt");
    const SECRET: &str = "a secret of more than thirty-two bytes, with a line break behind it";

    /// The requirements of tokens, and the file of their keys.
    #[derive(Clone)]
    struct Setup {
        keys: &'static str,
        config: Config,
    }

    fn config(keys: &'static str) -> Setup {
        let config = Config { issuer: None, audience: None, user_claim: "sub".to_owned() };
        Setup { keys, config }
    }

    fn jwt(setup: Setup) -> Arc<Jwt> {
        let path = Path::new(FIXTURES).join(setup.keys);
        let keys = if setup.keys == "secret.txt" {
            Keys::Secret(path.clone(), KeySet::from_secret_file(&path).unwrap().into())
        } else {
            Keys::File(path.clone(), KeySet::from_file(&path).unwrap().into())
        };
        Arc::new(Jwt::new(setup.config, keys))
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

    fn judge(setup: Setup, token: &str) -> Verdict {
        let login = Login { user_id: "zoe", token, ..Login::default() };
        jwt(setup).judge(&login).now_or_never().unwrap()
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
        let by = |claim: &str| {
            let mut setup = config("secret.txt");
            claim.clone_into(&mut setup.config.user_claim);
            setup
        };
        let uid = || by("uid");
        assert_accepted(&judge(uid(), &sign(&json!({"uid": "zoe", "sub": "x"}))));
        assert_refused(&judge(uid(), &sign(&json!({"uid": ["zoe"]}))), "token is for another user");
        let nested = sign(&json!({"realm": {"user": {"id": "zoe"}}}));
        assert_accepted(&judge(by("realm.user.id"), &nested));
        assert_refused(&judge(by("realm.user"), &nested), "token is for another user");
        assert_refused(&judge(by("realm.user.name"), &nested), "token names no user");
        let whole = sign(&json!({"https://example.com/uid": "zoe"}));
        assert_accepted(&judge(by("https://example.com/uid"), &whole));
    }

    #[test]
    fn a_user_may_be_a_whole_number() {
        let jwt = jwt(config("secret.txt"));
        let judge = |user_id: &str, claim: Value| {
            let token = sign(&json!({ "sub": claim }));
            let login = Login { user_id, token: &token, ..Login::default() };
            jwt.judge(&login).now_or_never().unwrap()
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
        let with = |issuer: Option<&str>, audience: Option<&str>| {
            let mut setup = config("secret.txt");
            setup.config.issuer = issuer.map(str::to_owned);
            setup.config.audience = audience.map(str::to_owned);
            setup
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
    fn it_is_said_where_keys_come_from() {
        let said = |keys| jwt(config(keys)).keys().to_string();
        assert!(said("rsa.pem").ends_with("rsa.pem: RSA"), "{}", said("rsa.pem"));
        assert!(said("secret.txt").ends_with("secret.txt: an HMAC secret"));
        assert!(said("jwks.json").contains("RSA \"rsa\", P-256 \"p256\""), "{}", said("jwks.json"));
    }
}
