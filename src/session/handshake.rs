//! The steps of a session that the gateway answers itself: setCxnParams,
//! setUserParams and keepAlive.
//!
//! Both steps may take a while (an RSA operation, a call of the auth service).
//! Until one is decided the session reads no further frame, so a frame behind
//! it is already read under the new key, or as the new user.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message as _;

use super::Worker;
use super::identity::Identity;
use super::keys::Refused;
use super::metadata::{self, MAX_DEVICE_ID, MAX_TOKEN, MAX_USER_ID};
use super::request::{Failure, Refusal};
use crate::auth::{self, Verdict};
use crate::broker::cluster::Expected;
use crate::envelope::cipher::Cipher;
use crate::envelope::codec::{Request, Text};
use crate::envelope::{Close, Code};
use crate::proto::session::{SetCxnParamsReq, SetUserParamsReq};
use crate::routing::identity::Member;

/// Describes the device, and may turn encryption on.
pub(super) const SET_CXN_PARAMS: &str = "/v1/conn/white/setCxnParams";
/// Logs in.
pub(super) const SET_USER_PARAMS: &str = "/v1/conn/white/setUserParams";
/// Is answered, no more.
pub(super) const KEEP_ALIVE: &str = "/v1/conn/keepAlive";

/// Each string of setCxnParams, in bytes. Some become gRPC metadata of every call,
/// and have a bound of their own for that.
const MAX_DEVICE_FIELD: usize = 1024;
/// Of data that shares its frame with what a pending answer needs.
const MAX_FRAME_KEPT: usize = 4 * 1024;
const MAX_LOGGED_ID: usize = 128;
/// Of a method that may be none.
const MAX_LOGGED_METHOD: usize = 128;

/// A step that is being decided.
pub(super) type Deciding = BoxFuture<'static, Step>;

/// A step that was decided.
pub(super) struct Step {
    pub(super) asked: Asked,
    pub(super) outcome: Outcome,
}

/// What of a request its answer needs.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) req_id: Text,
    pub(super) method: Text,
}

impl Asked {
    /// Shares the request's frame, unless that is so large that it should not
    /// be kept for as long as the answer takes.
    pub(super) fn of(request: &Request) -> Self {
        let keep = |text: &Text| {
            if request.data.len() > MAX_FRAME_KEPT { Text::from(&**text) } else { text.clone() }
        };
        Self { req_id: keep(&request.req_id), method: keep(&request.method) }
    }

    /// The request's id for the log, where the client does not choose how long
    /// lines are.
    pub(super) fn logged_id(&self) -> &str {
        let end = self.req_id.floor_char_boundary(MAX_LOGGED_ID);
        self.req_id.get(..end).unwrap_or_default()
    }

    /// The method for the log: perhaps none at all, but something long.
    pub(super) fn logged_method(&self) -> &str {
        let end = self.method.floor_char_boundary(MAX_LOGGED_METHOD);
        self.method.get(..end).unwrap_or_default()
    }
}

pub(super) enum Outcome {
    /// setCxnParams is valid; `Some`: all later frames are encrypted.
    Described { params: Box<SetCxnParamsReq>, cipher: Option<Cipher> },
    /// setUserParams is accepted.
    LoggedIn {
        user_id: String,
        token: String,
        expires_at: Option<SystemTime>,
        /// Other gateways find the user here, from before the answer on.
        expected: Option<Expected>,
    },
    /// setUserParams is refused: answered, then closed.
    LoginRefused { reason: String },
    /// Answered; the session goes on as it was.
    Failed(Failure),
    /// The session ends without an answer.
    Closed(Close),
}

/// Begins setCxnParams. `encrypted`: the session is so already.
pub(super) fn set_cxn_params(
    request: &Request,
    worker: &Worker,
    encrypted: bool,
) -> Result<Deciding, Failure> {
    let params = SetCxnParamsReq::decode(request.data.clone())
        .map_err(|_| Failure::malformed("not a SetCxnParamsReq"))?;
    check_lengths(&params)?;
    let asked = Asked::of(request);
    let closed = |asked, close| Ok(decided(asked, Outcome::Closed(close)));
    if !params.platform.is_empty() && !worker.config.platforms.contains(&params.platform) {
        return closed(asked, Close::Platform);
    }
    let (aes_key, aes_iv) = match (params.aes_key.clone(), params.aes_iv.clone()) {
        (Some(key), Some(iv)) => (key, iv),
        (None, None) if worker.config.require_encryption && !encrypted => {
            let text = "encryption is required: send aesKey and aesIv";
            return Err(Failure::refused(Refusal::NotEncrypted, text));
        }
        (None, None) => {
            let params = Box::new(params);
            return Ok(decided(asked, Outcome::Described { params, cipher: None }));
        }
        _ => return Err(Failure::malformed("aesKey and aesIv go together")),
    };
    let Some(keys) = &worker.keys else {
        return closed(asked, Close::EncryptionUnavailable("encryption is not available here"));
    };
    match keys.submit(aes_key, aes_iv) {
        Ok(cipher) => Ok(cipher
            .map(move |cipher| match cipher {
                Ok(cipher) => {
                    let params = Box::new(params);
                    Outcome::Described { params, cipher: Some(cipher) }
                }
                Err(_) => Outcome::Closed(Close::GoingAway),
            })
            .map(move |outcome| Step { asked, outcome })
            .boxed()),
        Err(refused) => {
            let (outcome, close) = match refused {
                Refused::WrongLength => {
                    let text = "aesKey or aesIv is not as long as the RSA modulus";
                    ("malformed", Close::EncryptionUnavailable(text))
                }
                Refused::Busy => ("shed", Close::Full("too many handshakes at once")),
            };
            worker.metrics.sessions.handshakes.with_label_values(&[outcome]).inc();
            closed(asked, close)
        }
    }
}

/// Begins setUserParams.
pub(super) fn set_user_params(
    request: &Request,
    worker: &Worker,
    identity: &Identity,
) -> Result<Deciding, Failure> {
    let params = SetUserParamsReq::decode(request.data.clone())
        .map_err(|_| Failure::malformed("not a SetUserParamsReq"))?;
    if !metadata::fits(&params.user_id, MAX_USER_ID) {
        return Err(Failure::malformed("userId is longer than 256 bytes, percent-encoded"));
    }
    let asked = Asked::of(request);
    if params.token.len() > MAX_TOKEN {
        let reason = format!("token is too long: {MAX_TOKEN} bytes at most");
        return Ok(decided(asked, Outcome::LoginRefused { reason }));
    }
    if identity.value(Member::Platform).is_empty() {
        return Ok(decided(asked, Outcome::Closed(Close::Platform)));
    }
    if identity.value(Member::DeviceId).is_empty() {
        return Ok(decided(asked, Outcome::Closed(Close::DeviceId)));
    }
    let login = auth::Login {
        user_id: &params.user_id,
        token: &params.token,
        ..identity.as_login(worker.index)
    };
    let verdict = worker.services.load().auth.judge(&login);
    let session: Box<str> = identity.session_id().into();
    let (cluster, metrics) = (worker.cluster.clone(), Arc::clone(&worker.metrics));
    Ok(async move {
        let outcome = match verdict.await {
            Verdict::Accepted { expires_at } => {
                let (user_id, token) = (params.user_id, params.token);
                let expected = match &cluster {
                    Some(cluster) => cluster.expect(&user_id).await,
                    None => None,
                };
                Outcome::LoggedIn { user_id, token, expires_at, expected }
            }
            Verdict::Refused { reason } => Outcome::LoginRefused { reason },
            Verdict::Unavailable { cause } => {
                tracing::warn!(%session, cause, "a login could not be judged");
                metrics.sessions.logins.with_label_values(&["unavailable"]).inc();
                Outcome::Failed(Failure::new(Code::RETRY_ERROR, "login is not possible right now"))
            }
        };
        Step { asked, outcome }
    }
    .boxed())
}

fn decided(asked: Asked, outcome: Outcome) -> Deciding {
    std::future::ready(Step { asked, outcome }).boxed()
}

fn check_lengths(params: &SetCxnParamsReq) -> Result<(), Failure> {
    let fields = [
        &params.package_id,
        &params.platform,
        &params.device_id,
        &params.device_model,
        &params.os_version,
        &params.app_version,
        &params.language,
        &params.network_used,
    ];
    if fields.iter().any(|field| field.len() > MAX_DEVICE_FIELD) {
        return Err(Failure::malformed("a field is longer than 1,024 bytes"));
    }
    if !metadata::fits(&params.device_id, MAX_DEVICE_ID) {
        return Err(Failure::malformed("deviceId is longer than 256 bytes, percent-encoded"));
    }
    Ok(())
}
