//! How the login of a session is judged: when the client logs in, when a session
//! that has logged in describes itself as another device, and again while it is
//! open. What a verdict changes about the session is the task's to do.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tonic::Code as Status;

use super::Worker;
use super::handshake::{Deciding, Judged, Outcome, Step, decided};
use crate::auth::{self, Verdict};
use crate::call::{Caller, MAX_TOKEN, MAX_USER_ID, Refused, fits};
use crate::protocol::{Close, Code, Credentials, Description, Failure, RequestHead};
use crate::routing::identity::Member;

/// Logins of one worker that may be judged again at once. They share the
/// judge's connections with those who log in, and must not use them up when it
/// does not answer.
pub const MAX_REVIEWS: usize = 32;

/// The failure of a login that cannot be verified.
fn unavailable() -> Failure {
    Failure::new(Code::RETRY_ERROR, Status::Unavailable, "login is not possible right now")
}

/// A login that is judged again.
pub(super) type Review = BoxFuture<'static, Verdict>;

/// Begins setUserParams.
pub(super) fn log_in(
    head: RequestHead,
    credentials: Credentials,
    worker: &Worker,
    caller: &Caller,
) -> Result<Deciding, (RequestHead, Refused)> {
    let Credentials { user_id, token } = credentials;
    if !fits(&user_id, MAX_USER_ID) {
        let text = "userId is longer than 512 bytes, percent-encoded";
        return Err((head, Refused::malformed(text)));
    }
    if token.len() > MAX_TOKEN {
        let reason = format!("token is too long: {MAX_TOKEN} bytes at most");
        return Ok(decided(head, Outcome::LoginRefused { reason }));
    }
    if caller.value(Member::Platform).is_empty() {
        return Ok(decided(head, Outcome::Closed(Close::Platform)));
    }
    if caller.value(Member::DeviceId).is_empty() {
        let is_package = worker.config.device_is_package;
        let close = if is_package { Close::PackageId } else { Close::DeviceId };
        return Ok(decided(head, Outcome::Closed(close)));
    }
    let login =
        auth::Login { user_id: &user_id, token: &token, ..caller.as_login(worker.calls.worker) };
    let verdict = worker.services.load().auth.judge(&login);
    let session: Box<str> = caller.session_id().into();
    let (cluster, metrics) = (worker.cluster.clone(), Arc::clone(&worker.calls.metrics));
    Ok(async move {
        let outcome = match verdict.await {
            Verdict::Accepted { expires_at } => {
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
                Outcome::Failed(unavailable())
            }
        };
        Step { head, outcome }
    }
    .boxed())
}

/// Judges what a session that has logged in says of itself anew. `None`: the
/// login holds for that as well, or there is none. An error is what becomes of
/// the message: nothing of it holds.
pub(super) fn of_change(
    worker: &Worker,
    caller: &Caller,
    device: &Description,
) -> Option<impl Future<Output = Result<Judged, Outcome>> + Send + use<>> {
    if !caller.has_user() {
        return None;
    }
    let was = caller.as_login(worker.calls.worker);
    let is = auth::Login {
        platform: &device.platform,
        device_id: &device.device_id,
        device_model: &device.device_model,
        os_version: &device.os_version,
        app_version: &device.app_version,
        package_id: &device.package_id,
        language: &device.language,
        network_used: &device.network_used,
        ..was
    };
    let services = worker.services.load();
    if services.auth.holds_for(&was, &is) {
        return None;
    }
    let verdict = services.auth.judge(&is);
    let session: Box<str> = caller.session_id().into();
    let metrics = Arc::clone(&worker.calls.metrics);
    Some(async move {
        let verdict = verdict.await;
        metrics.sessions.review("device", verdict.label());
        match verdict {
            Verdict::Accepted { expires_at } => Ok(Judged { expires_at }),
            Verdict::Refused { reason } => {
                tracing::info!(%session, reason, "a session may not go on as another device");
                Err(Outcome::ChangeRefused(Failure::new(
                    Code::AUTH_ERROR,
                    Status::Unauthenticated,
                    reason,
                )))
            }
            Verdict::Unavailable { cause } => {
                tracing::warn!(%session, cause, "a login could not be judged for another device");
                Err(Outcome::Failed(unavailable()))
            }
        }
    })
}

/// Has the login of a session judged again as it is now, when its turn comes.
/// `None`: it has not logged in.
pub(super) fn review(worker: &Worker, caller: &Caller) -> Option<Review> {
    if !caller.has_user() {
        return None;
    }
    let verdict = worker.services.load().auth.judge_again(&caller.as_login(worker.calls.worker));
    let (reviews, metrics) = (Arc::clone(&worker.reviews), Arc::clone(&worker.calls.metrics));
    let review = async move {
        // An error would mean that it was closed, which it never is.
        let _turn = reviews.acquire().await;
        let verdict = verdict.await;
        metrics.sessions.review("recheck", verdict.label());
        verdict
    };
    Some(review.boxed())
}
