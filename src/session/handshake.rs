//! The steps of a session that the gateway answers itself, and setCxnParams
//! among them. How a login is judged is `login`'s to say.
//!
//! A step may take a while (an RSA operation, a call of the auth service).
//! Until it is decided the session reads no further frame, so a frame behind
//! it is already read under the new key, or as the new user.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::keys::{KeyService, Refused as NotTaken};
use super::{Worker, login};
use crate::broker::cluster::Expected;
use crate::call::{Caller, MAX_DEVICE_ID, Refusal, Refused, fits};
use crate::metrics::Metrics;
use crate::protocol::seed::{Cipher, KeyExchange, KeyOffer, WrappedIv};
use crate::protocol::{Close, Description, Failure, RequestHead};

/// Each string of setCxnParams, in bytes. Some become gRPC metadata of every call,
/// and have a bound of their own for that.
const MAX_DEVICE_FIELD: usize = 1024;

/// A step that is being decided.
pub(super) type Deciding = BoxFuture<'static, Step>;

/// A step that was decided.
pub(super) struct Step {
    pub(super) head: RequestHead,
    pub(super) outcome: Outcome,
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
    pub(super) device: Box<Description>,
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

/// Begins setCxnParams. `encrypted`: the session is so already.
pub(super) fn describe(
    head: RequestHead,
    mut device: Box<Description>,
    worker: &Worker,
    caller: &Caller,
    encrypted: bool,
) -> Result<Deciding, (RequestHead, Refused)> {
    if worker.config.device_is_package {
        // From here on there is no other device id.
        device.device_id.clone_from(&device.package_id);
    }
    if let Err(refused) = check_lengths(&device) {
        return Err((head, refused));
    }
    if !device.platform.is_empty() && !worker.config.platforms.contains(&device.platform) {
        return Ok(decided(head, Outcome::Closed(Close::Platform)));
    }
    if caller.has_user() && (device.platform.is_empty() || device.device_id.is_empty()) {
        let text = "a session that has logged in has a platform and a device";
        return Err((head, Refused::malformed(text)));
    }
    let exchange = match std::mem::take(&mut device.key) {
        KeyOffer::Complete(exchange) => Some(exchange),
        KeyOffer::Absent if worker.calls.require_encryption && !encrypted => {
            let text = "encryption is required: send aesKey and aesIv";
            return Err((head, Refused::new(Refusal::NotEncrypted, text)));
        }
        KeyOffer::Absent => None,
        KeyOffer::Incomplete => {
            return Err((head, Refused::malformed("aesKey and aesIv go together")));
        }
    };
    let described = Described { device, cipher: None, judged: None };
    let keys = worker.keys.clone();
    let metrics = Arc::clone(&worker.calls.metrics);
    let Some(judging) = login::of_change(worker, caller, &described.device) else {
        return Ok(unwrap(head, described, exchange, keys, &metrics));
    };
    Ok(async move {
        match judging.await {
            Ok(judged) => {
                let described = Described { judged: Some(judged), ..described };
                unwrap(head, described, exchange, keys, &metrics).await
            }
            Err(outcome) => Step { head, outcome },
        }
    }
    .boxed())
}

/// Unwraps the key of a setCxnParams, where it brings one. `keys`: `None`:
/// encryption is not available.
fn unwrap(
    head: RequestHead,
    described: Described,
    exchange: Option<KeyExchange>,
    keys: Option<Arc<KeyService>>,
    metrics: &Metrics,
) -> Deciding {
    let Some(exchange) = exchange else {
        return decided(head, Outcome::Described(described));
    };
    let Some(keys) = keys else {
        let close = Close::EncryptionUnavailable("encryption is not available here");
        return decided(head, Outcome::Closed(close));
    };
    let wrong_length = match &exchange.iv {
        WrappedIv::Client(_) => "aesKey or aesIv is not as long as the RSA modulus",
        WrappedIv::Gateway(_) => "aesKey is not as long as the RSA modulus",
    };
    match keys.submit(exchange) {
        Ok(cipher) => cipher
            .map(move |cipher| match cipher {
                Ok(cipher) => Outcome::Described(Described { cipher: Some(cipher), ..described }),
                Err(_) => Outcome::Closed(Close::GoingAway),
            })
            .map(move |outcome| Step { head, outcome })
            .boxed(),
        Err(refused) => {
            let (outcome, close) = match refused {
                NotTaken::WrongLength => ("malformed", Close::EncryptionUnavailable(wrong_length)),
                NotTaken::Busy => ("shed", Close::Full("too many handshakes at once")),
            };
            metrics.sessions.handshakes.with_label_values(&[outcome]).inc();
            decided(head, Outcome::Closed(close))
        }
    }
}

pub(super) fn decided(head: RequestHead, outcome: Outcome) -> Deciding {
    std::future::ready(Step { head, outcome }).boxed()
}

fn check_lengths(device: &Description) -> Result<(), Refused> {
    let fields = [
        &device.package_id,
        &device.platform,
        &device.device_id,
        &device.device_model,
        &device.os_version,
        &device.app_version,
        &device.language,
        &device.network_used,
    ];
    if fields.iter().any(|field| field.len() > MAX_DEVICE_FIELD) {
        return Err(Refused::malformed("a field is longer than 1,024 bytes"));
    }
    if !fits(&device.device_id, MAX_DEVICE_ID) {
        return Err(Refused::malformed(
            "the device's id is longer than 256 bytes, percent-encoded",
        ));
    }
    Ok(())
}
