//! The steps of a session that the gateway answers itself, and setCxnParams
//! among them. How a login is judged is `login`'s to say.
//!
//! A step may take a while (an RSA operation, a call of the auth service).
//! Until it is decided the session reads no further frame, so a frame behind
//! it is already read under the new key, or as the new user.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message as _;

use super::identity::Identity;
use super::keys::{GivenIv, KeyService, Refused};
use super::metadata::{self, MAX_DEVICE_ID};
use super::request::{Failure, Refusal};
use super::{Worker, login};
use crate::broker::cluster::Expected;
use crate::envelope::Close;
use crate::envelope::cipher::{Cipher, Iv};
use crate::envelope::codec::{Request, Text};
use crate::metrics::Metrics;
use crate::proto::session::SetCxnParamsReq;

/// Describes the device, and may turn encryption on.
pub(super) const SET_CXN_PARAMS: &str = "/v1/conn/white/setCxnParams";
/// Logs in: see [`login`].
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
    /// setCxnParams is valid.
    Described(Described),
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
    /// setCxnParams names a device that the login does not hold for: answered;
    /// the session goes on as it was.
    ChangeRefused(Failure),
    /// Answered; the session goes on as it was.
    Failed(Failure),
    /// The session ends without an answer.
    Closed(Close),
}

/// A setCxnParams that is valid.
pub(super) struct Described {
    pub(super) params: Box<SetCxnParamsReq>,
    /// `Some`: all later frames are encrypted.
    pub(super) cipher: Option<Cipher>,
    /// `Some`: the login was judged anew for it.
    pub(super) judged: Option<Judged>,
}

/// A login that was judged anew, and accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    /// When it expires; `None`: never.
    pub(super) expires_at: Option<SystemTime>,
}

/// Begins setCxnParams. `encrypted`: the session is so already. `server_iv`: the
/// IV, where the gateway chooses it.
pub(super) fn set_cxn_params(
    request: &Request,
    worker: &Worker,
    identity: &Identity,
    encrypted: bool,
    server_iv: Option<Iv>,
) -> Result<Deciding, Failure> {
    let mut params = SetCxnParamsReq::decode(request.data.clone())
        .map_err(|_| Failure::malformed("not a SetCxnParamsReq"))?;
    if worker.config.device_is_package {
        // From here on nothing knows of another device id.
        params.device_id.clone_from(&params.package_id);
    }
    check_lengths(&params)?;
    let asked = Asked::of(request);
    if !params.platform.is_empty() && !worker.config.platforms.contains(&params.platform) {
        return Ok(decided(asked, Outcome::Closed(Close::Platform)));
    }
    if identity.has_user() && (params.platform.is_empty() || params.device_id.is_empty()) {
        return Err(Failure::malformed("a session that has logged in has a platform and a device"));
    }
    let secrets = secrets(&params, worker, encrypted, server_iv)?;
    let described = Described { params: Box::new(params), cipher: None, judged: None };
    let Some(judging) = login::of_change(worker, identity, &described.params) else {
        return Ok(switch(asked, described, secrets, &worker.metrics));
    };
    let metrics = Arc::clone(&worker.metrics);
    Ok(async move {
        match judging.await {
            Ok(judged) => {
                let described = Described { judged: Some(judged), ..described };
                switch(asked, described, secrets, &metrics).await
            }
            Err(outcome) => Step { asked, outcome },
        }
    }
    .boxed())
}

/// The secrets of a setCxnParams, and who unwraps them.
struct Secrets {
    aes_key: Bytes,
    iv: GivenIv,
    /// `None`: encryption is not available.
    keys: Option<Arc<KeyService>>,
}

/// `None`: the message has none, and need not.
fn secrets(
    params: &SetCxnParamsReq,
    worker: &Worker,
    encrypted: bool,
    server_iv: Option<Iv>,
) -> Result<Option<Secrets>, Failure> {
    let iv = match server_iv {
        Some(iv) => params.aes_key.is_some().then_some(GivenIv::Own(iv)),
        None => params.aes_iv.clone().map(GivenIv::Wrapped),
    };
    match (params.aes_key.clone(), iv) {
        (Some(aes_key), Some(iv)) => Ok(Some(Secrets { aes_key, iv, keys: worker.keys.clone() })),
        (None, None) if worker.config.require_encryption && !encrypted => {
            let text = match server_iv {
                Some(_) => "encryption is required: send aesKey",
                None => "encryption is required: send aesKey and aesIv",
            };
            Err(Failure::refused(Refusal::NotEncrypted, text))
        }
        (None, None) => Ok(None),
        _ => Err(Failure::malformed("aesKey and aesIv go together")),
    }
}

/// Has the secrets of a setCxnParams unwrapped, where it brings any.
fn switch(
    asked: Asked,
    described: Described,
    secrets: Option<Secrets>,
    metrics: &Metrics,
) -> Deciding {
    let Some(Secrets { aes_key, iv, keys }) = secrets else {
        return decided(asked, Outcome::Described(described));
    };
    let Some(keys) = keys else {
        let close = Close::EncryptionUnavailable("encryption is not available here");
        return decided(asked, Outcome::Closed(close));
    };
    let wrong_length = match &iv {
        GivenIv::Wrapped(_) => "aesKey or aesIv is not as long as the RSA modulus",
        GivenIv::Own(_) => "aesKey is not as long as the RSA modulus",
    };
    match keys.submit(aes_key, iv) {
        Ok(cipher) => cipher
            .map(move |cipher| match cipher {
                Ok(cipher) => Outcome::Described(Described { cipher: Some(cipher), ..described }),
                Err(_) => Outcome::Closed(Close::GoingAway),
            })
            .map(move |outcome| Step { asked, outcome })
            .boxed(),
        Err(refused) => {
            let (outcome, close) = match refused {
                Refused::WrongLength => ("malformed", Close::EncryptionUnavailable(wrong_length)),
                Refused::Busy => ("shed", Close::Full("too many handshakes at once")),
            };
            metrics.sessions.handshakes.with_label_values(&[outcome]).inc();
            decided(asked, Outcome::Closed(close))
        }
    }
}

pub(super) fn decided(asked: Asked, outcome: Outcome) -> Deciding {
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
        return Err(Failure::malformed(
            "the device's id is longer than 256 bytes, percent-encoded",
        ));
    }
    Ok(())
}
