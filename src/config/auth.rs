//! The `auth` and `hooks` sections: verification of logins, and notification of services.

use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::forms::{FilePath, KeysPlace, MethodName, NonEmpty};
use super::units::Delay;
use crate::auth::jwt::KeysUrl;

/// How logins are verified, and how long a login is valid.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "AuthSection")]
pub struct Auth {
    /// Who decides.
    pub judge: Judge,
    /// How long a session whose login has expired may go on without a new one.
    pub grace: Duration,
    /// How often the login of an open session is verified again; zero: never.
    pub recheck: Duration,
    /// Judges each request, beside the login.
    pub each_request: Option<EachRequest>,
}

/// Who decides whether a login is believed.
#[derive(Debug, Clone, JsonSchema)]
pub enum Judge {
    /// The token is a JWT, checked by the gateway itself.
    Jwt(JwtConfig),
    /// An existing RPC is asked.
    Rpc(RpcCall),
    /// Every token is accepted.
    None(NoneConfig),
}

/// The section as it is written: a key for each way to judge, and those that
/// hold for all ways.
#[derive(Deserialize, JsonSchema)]
#[serde(rename = "Auth", deny_unknown_fields)]
#[schemars(extend("x-exactly-one" = ["jwt", "rpc", "none"]))]
struct AuthSection {
    /// The token is a JWT, checked by the gateway itself.
    jwt: Option<JwtConfig>,
    /// An RPC of an existing service verifies logins.
    rpc: Option<RpcCall>,
    /// Every token is accepted. An error unless `edge.listen` is a loopback address or
    /// `insecure: true` is set here. Write `none: {}`.
    none: Option<NoneConfig>,
    /// How long a session whose login has expired may go on without a new one,
    /// before it is closed with 3000. Meanwhile it gets no pushes, and its
    /// calls are refused.
    #[serde(default = "default_grace", with = "Delay")]
    grace: Duration,
    /// How often the login of an open session is verified again; `0s`: never. A session
    /// whose login is refused is closed with 3000.
    #[serde(default, with = "Delay")]
    recheck: Duration,
    /// An RPC that verifies each request that needs a login. Absent: the login is enough.
    each_request: Option<EachRequest>,
}

fn default_grace() -> Duration {
    Duration::from_mins(1)
}

impl TryFrom<AuthSection> for Auth {
    type Error = &'static str;

    fn try_from(section: AuthSection) -> Result<Self, Self::Error> {
        let judge = match (section.jwt, section.rpc, section.none) {
            (Some(jwt), None, None) => Judge::Jwt(jwt),
            (None, Some(rpc), None) => Judge::Rpc(rpc),
            (None, None, Some(none)) => Judge::None(none),
            _ => return Err("exactly one of `jwt`, `rpc` and `none` is needed"),
        };
        let AuthSection { grace, recheck, each_request, .. } = section;
        Ok(Self { judge, grace, recheck, each_request })
    }
}

/// An RPC that verifies each request that needs a login. A request that it accepts
/// goes to the service; one that it refuses is answered with `AuthError`, and with
/// `RetryError` if the RPC cannot be called. In its request, `{method}` stands for
/// the client's method.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false), transform = seal)]
pub struct EachRequest {
    /// The call.
    #[serde(flatten)]
    pub call: RpcCall,
    /// How long a result is used for further requests of the same session that would send
    /// the RPC the same message; `0s`: it is called each time.
    #[serde(default = "default_cache", with = "Delay")]
    pub cache: Duration,
}

fn default_cache() -> Duration {
    Duration::from_secs(5)
}

/// Flattening leaves a keyword behind that says the same once more.
fn seal(schema: &mut Schema) {
    schema.remove("unevaluatedProperties");
}

/// Tokens are JWTs (HS256, RS256, ES256 or `EdDSA`) signed with a known key.
/// The key is one of `keys`, or `secret`; with neither, `issuer` is a URL, and
/// the keys are found by OpenID Connect discovery.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// The public keys that tokens are signed with: a JWKS file, a PEM file with
    /// public keys, or the `https` URL of a JWKS. A file is read again when it
    /// changes, a URL is fetched again and again.
    #[schemars(with = "Option<KeysPlace>")]
    pub keys: Option<JwtKeys>,
    /// A file with the secret that tokens are signed with by HMAC (HS256): one
    /// line of 32 characters or more. Read again when it changes.
    #[schemars(with = "Option<FilePath>")]
    pub secret: Option<PathBuf>,
    /// The authorities, in PEM, one of which must have signed the certificate of
    /// the server that keys are fetched from. Absent: the public web's.
    #[schemars(with = "Option<FilePath>")]
    pub ca: Option<PathBuf>,
    /// The `iss` claim that tokens must have. Absent: not checked. Without `keys` and
    /// `secret` it is a URL, whose OpenID Connect discovery document says where the keys
    /// are.
    #[schemars(with = "Option<NonEmpty>")]
    pub issuer: Option<String>,
    /// The `aud` claim that tokens must have. Absent: not checked.
    #[schemars(with = "Option<NonEmpty>")]
    pub audience: Option<String>,
    /// The claim that must equal the `userId` of the login: its name, or a path
    /// to it such as `realm.user.id`.
    #[serde(default = "default_user_claim")]
    #[schemars(with = "NonEmpty")]
    pub user_claim: String,
}

/// Where public keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwtKeys {
    /// In a file of this machine.
    File(PathBuf),
    /// At a URL.
    Url(KeysUrl),
}

impl<'de> Deserialize<'de> for JwtKeys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if KeysUrl::is_meant_by(&text) {
            KeysUrl::parse(&text).map(Self::Url).map_err(D::Error::custom)
        } else {
            Ok(Self::File(text.into()))
        }
    }
}

fn default_user_claim() -> String {
    "sub".to_owned()
}

/// A call of an existing RPC through a JSON template.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RpcCall {
    /// The upstream that is called: a name under `upstreams`.
    pub upstream: String,
    /// The method, as `package.Service/Method`.
    #[schemars(with = "MethodName")]
    pub rpc: String,
    /// The request message as JSON. In texts, `{user_id}`, `{token}`,
    /// `{platform}`, `{device_id}`, `{device_model}`, `{os_version}`,
    /// `{app_version}`, `{package_id}`, `{language}`, `{network_used}`,
    /// `{remote_ip}`, `{user_agent}` and `{session_id}` stand for the session's
    /// own. In hooks also `{connected_at}`, such as `2026-01-31T12:00:00.250Z`,
    /// for texts and `google.protobuf.Timestamp`, and `{connected_at_ms}`, the
    /// same in milliseconds of Unix time, for `int64`; in `hooks.disconnected`
    /// besides `{disconnected_at}`, `{disconnected_at_ms}`, `{close_code}` and
    /// `{reason}`.
    #[serde(default)]
    pub request: Map<String, Value>,
    /// The fields and values that the JSON response must have for the login to be
    /// accepted, or for the hook to count as delivered. A field that the response does
    /// not have counts as its default, so `{ code: 0, msg: "" }` matches an empty
    /// response, too. For a field that is not a message, `{ not: value }` matches every
    /// other value. A hook whose response does not match is called again, as after any
    /// failure. `auth.rpc` needs this or `reject_when`; a hook without both accepts any
    /// response, and so does `{}`.
    pub accept_when: Option<Map<String, Value>>,
    /// The fields and values that make a JSON response a refusal, for services whose
    /// refusals are easier to describe: `{ msg: { not: "" } }`. It is written like
    /// `accept_when`, and all of its fields must match. With both, an accepted response
    /// matches `accept_when` and does not match this.
    pub reject_when: Option<Map<String, Value>>,
    /// The response's field with the reason of a refusal: `auth` sends it to the client,
    /// a hook writes it to the log.
    #[schemars(with = "Option<NonEmpty>")]
    pub reason: Option<String>,
}

/// Every token is accepted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NoneConfig {
    /// Accept every token even though other machines can connect.
    pub insecure: bool,
}

/// RPCs that are called when sessions begin and end, in that order for each session.
/// They never delay a session. A call that fails is repeated, with backoff, until its
/// event is a minute old; a service may get the same event twice. A call may take as
/// long as the upstream's `timeout`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HooksConfig {
    /// Called when a session has logged in.
    pub connected: Option<RpcCall>,
    /// Called when a session that had logged in is over, or goes on as another
    /// user or device.
    pub disconnected: Option<RpcCall>,
}
