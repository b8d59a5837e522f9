//! The `auth` and `hooks` sections: who judges a login, and who is told of it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::forms::{FilePath, KeysPlace, MethodName, NonEmpty};
use crate::auth::jwt::KeysUrl;

/// Who decides whether a login is believed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "AuthSection")]
pub enum Auth {
    /// The token is a JWT, checked by the gateway itself.
    Jwt(JwtConfig),
    /// An existing RPC is asked.
    Rpc(RpcCall),
    /// Every token is believed.
    None(NoneConfig),
}

/// The section as it is written: a key for each way.
#[derive(Deserialize, JsonSchema)]
#[serde(rename = "Auth", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
struct AuthSection {
    /// The token is a JWT, checked by the gateway itself.
    jwt: Option<JwtConfig>,
    /// Any existing RPC can judge a login.
    rpc: Option<RpcCall>,
    /// Every token is believed. Refused unless `edge.listen` is a loopback
    /// address or `insecure: true` is said here. Write `none: {}`.
    none: Option<NoneConfig>,
}

impl TryFrom<AuthSection> for Auth {
    type Error = &'static str;

    fn try_from(section: AuthSection) -> Result<Self, Self::Error> {
        match (section.jwt, section.rpc, section.none) {
            (Some(jwt), None, None) => Ok(Auth::Jwt(jwt)),
            (None, Some(rpc), None) => Ok(Auth::Rpc(rpc)),
            (None, None, Some(none)) => Ok(Auth::None(none)),
            _ => Err("exactly one of `jwt`, `rpc` and `none` is needed"),
        }
    }
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
    /// The `iss` claim that tokens must have. Absent: not looked at. Without
    /// `keys` and `secret` it is a URL, whose OpenID Connect discovery document
    /// says where the keys are.
    #[schemars(with = "Option<NonEmpty>")]
    pub issuer: Option<String>,
    /// The `aud` claim that tokens must have. Absent: not looked at.
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
    /// own; in `hooks.disconnected` also `{close_code}` and `{reason}`.
    #[serde(default)]
    pub request: Map<String, Value>,
    /// What the JSON response must contain for the call to count as a yes: the
    /// login is accepted, the hook is delivered. A hook whose response does not
    /// match is called again, as after any failure. Absent: any response is a yes.
    #[serde(default)]
    pub accept_when: Map<String, Value>,
    /// The response's field that says why it is no yes: `auth` tells it to the
    /// client, a hook writes it to the log.
    #[schemars(with = "Option<NonEmpty>")]
    pub reason: Option<String>,
}

/// Every token is believed.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NoneConfig {
    /// Believe every token even though other machines can connect.
    pub insecure: bool,
}

/// RPCs that are told of sessions as they come and go, in that order for each
/// session. They never hold up a session. One that fails is called again, with
/// backoff, until what it is to be told is a minute old; a service may be told
/// the same twice. A call may take as long as the upstream's `timeout`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HooksConfig {
    /// Called when a session has logged in.
    pub connected: Option<RpcCall>,
    /// Called when a session that had logged in is over, or goes on as another
    /// user or device.
    pub disconnected: Option<RpcCall>,
}
