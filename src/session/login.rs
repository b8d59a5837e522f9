//! The verifications of a session's login: when the client logs in, when a
//! session that has logged in describes itself as another device, and again
//! while it is open. Their consequences are the machine's ([`super::state`]).

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Worker;
use crate::auth::{self, Verdict};
use crate::broker::cluster::Expected;
use crate::call::Caller;
use crate::metrics::ReviewCause;
use crate::protocol::{Credentials, Description};

/// Logins of one worker that may be verified again at once. They share the
/// verifier's connections with new logins, and must not use them up when it does
/// not answer.
pub const MAX_REVIEWS: usize = 32;

/// A login that is verified again.
pub(super) type Review = BoxFuture<'static, Verdict>;

/// Verifies a login. Once it is accepted, other gateways already find the user
/// here.
pub(super) fn verify(
    worker: &Worker,
    caller: &Caller,
    credentials: &Credentials,
) -> BoxFuture<'static, (Verdict, Option<Expected>)> {
    let Credentials { user_id, token } = credentials;
    let login = auth::Login { user_id, token, ..caller.as_login(worker.calls.worker) };
    let verdict = worker.services.load().auth.judge(&login);
    let cluster = worker.cluster.clone().map(|cluster| (cluster, user_id.clone()));
    async move {
        let verdict = verdict.await;
        let expected = match (&verdict, &cluster) {
            (Verdict::Accepted { .. }, Some((cluster, user_id))) => cluster.expect(user_id).await,
            _ => None,
        };
        (verdict, expected)
    }
    .boxed()
}

/// Verifies the login of a session that has logged in for another device.
/// `None`: the login holds for it as well, or there is none.
pub(super) fn verify_change(
    worker: &Worker,
    caller: &Caller,
    device: &Description,
) -> Option<BoxFuture<'static, Verdict>> {
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
    let metrics = Arc::clone(&worker.calls.metrics);
    let verified = async move {
        let verdict = verdict.await;
        metrics.sessions.reviews.inc((ReviewCause::Device, verdict.outcome()));
        verdict
    };
    Some(verified.boxed())
}

/// Verifies the login of a session once more, when its turn comes.
pub(super) fn review(worker: &Worker, caller: &Caller) -> Review {
    let login = caller.as_login(worker.calls.worker);
    let verdict = worker.services.load().auth.judge_again(&login);
    let (reviews, metrics) = (Arc::clone(&worker.reviews), Arc::clone(&worker.calls.metrics));
    async move {
        // An error would mean a closed semaphore, and it is never closed.
        let _turn = reviews.acquire().await;
        let verdict = verdict.await;
        metrics.sessions.reviews.inc((ReviewCause::Recheck, verdict.outcome()));
        verdict
    }
    .boxed()
}
