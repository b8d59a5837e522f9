//! How the login of a session is judged: when the client logs in, when a session
//! that has logged in describes itself as another device, and again while it is
//! open. What a verdict changes about the session is the task's to do.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message as _;

use super::Worker;
use super::handshake::{Asked, Deciding, Judged, Outcome, Step, decided};
use super::identity::Identity;
use super::metadata::{self, MAX_TOKEN, MAX_USER_ID};
use super::request::{Failure, Refusal};
use crate::auth::{self, Verdict};
use crate::envelope::codec::Request;
use crate::envelope::{Close, Code};
use crate::proto::session::{SetCxnParamsReq, SetUserParamsReq};
use crate::routing::identity::Member;

/// Logins of one worker that may be judged again at once. They share the
/// judge's connections with those who log in, and must not use them up when it
/// does not answer.
pub const MAX_REVIEWS: usize = 32;

/// What the client is answered when the judge cannot be asked.
const UNAVAILABLE: &str = "login is not possible right now";

/// A login that is judged again.
pub(super) type Review = BoxFuture<'static, Verdict>;

/// Begins setUserParams.
pub(super) fn set_user_params(
    request: &Request,
    worker: &Worker,
    identity: &Identity,
) -> Result<Deciding, Failure> {
    let params = SetUserParamsReq::decode(request.data.clone())
        .map_err(|_| Failure::malformed("not a SetUserParamsReq"))?;
    if !metadata::fits(&params.user_id, MAX_USER_ID) {
        return Err(Failure::malformed("userId is longer than 512 bytes, percent-encoded"));
    }
    let asked = Asked::of(request);
    if params.token.len() > MAX_TOKEN {
        let reason = format!("token is too long: {MAX_TOKEN} bytes at most");
        return Ok(decided(asked, Outcome::LoginRefused { reason }));
    }
    if let Some(close) = undescribed(worker, identity) {
        return Ok(decided(asked, Outcome::Closed(close)));
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
                Outcome::Failed(Failure::new(Code::RETRY_ERROR, UNAVAILABLE))
            }
        };
        Step { asked, outcome }
    }
    .boxed())
}

/// Why a session cannot log in that has not described its device. What was sent
/// and refused is not missing: the reason says so, as the `RequestError` could not.
fn undescribed(worker: &Worker, identity: &Identity) -> Option<Close> {
    let refused = identity.refused_device().map(|why| match why {
        Refusal::NotEncrypted => "setCxnParams was refused: encryption is required, send aesKey",
        _ => "setCxnParams was refused: it is malformed",
    });
    if identity.value(Member::Platform).is_empty() {
        return Some(refused.map_or(Close::Platform, Close::PlatformRefused));
    }
    if identity.value(Member::DeviceId).is_empty() {
        let is_package = worker.config.device_is_package;
        let missing = if is_package { Close::PackageId } else { Close::DeviceId };
        return Some(refused.map_or(missing, Close::DeviceIdRefused));
    }
    None
}

/// Judges what a session that has logged in says of itself anew. `None`: the
/// login holds for that as well, or there is none. An error is what becomes of
/// the message: nothing of it holds.
pub(super) fn of_change(
    worker: &Worker,
    identity: &Identity,
    params: &SetCxnParamsReq,
) -> Option<impl Future<Output = Result<Judged, Outcome>> + Send + use<>> {
    if !identity.has_user() {
        return None;
    }
    let was = identity.as_login(worker.index);
    let is = auth::Login {
        platform: &params.platform,
        device_id: &params.device_id,
        device_model: &params.device_model,
        os_version: &params.os_version,
        app_version: &params.app_version,
        package_id: &params.package_id,
        language: &params.language,
        network_used: &params.network_used,
        ..was
    };
    let services = worker.services.load();
    if services.auth.holds_for(&was, &is) {
        return None;
    }
    let verdict = services.auth.judge(&is);
    let session: Box<str> = identity.session_id().into();
    let metrics = Arc::clone(&worker.metrics);
    Some(async move {
        let verdict = verdict.await;
        metrics.sessions.review("device", verdict.label());
        match verdict {
            Verdict::Accepted { expires_at } => Ok(Judged { expires_at }),
            Verdict::Refused { reason } => {
                tracing::info!(%session, reason, "a session may not go on as another device");
                Err(Outcome::ChangeRefused(Failure::new(Code::AUTH_ERROR, reason)))
            }
            Verdict::Unavailable { cause } => {
                tracing::warn!(%session, cause, "a login could not be judged for another device");
                Err(Outcome::Failed(Failure::new(Code::RETRY_ERROR, UNAVAILABLE)))
            }
        }
    })
}

/// Has the login of a session judged again as it is now, when its turn comes.
/// `None`: it has not logged in.
pub(super) fn review(worker: &Worker, identity: &Identity) -> Option<Review> {
    if !identity.has_user() {
        return None;
    }
    let verdict = worker.services.load().auth.judge_again(&identity.as_login(worker.index));
    let (reviews, metrics) = (Arc::clone(&worker.reviews), Arc::clone(&worker.metrics));
    let review = async move {
        // An error would mean that it was closed, which it never is.
        let _turn = reviews.acquire().await;
        let verdict = verdict.await;
        metrics.sessions.review("recheck", verdict.label());
        verdict
    };
    Some(review.boxed())
}
