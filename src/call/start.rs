//! Begins a call and runs it to its reply.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tonic::Code as Status;

use super::admit::{Admitted, admit};
use super::caller::Caller;
use super::refusal::Refusal;
use super::refused::Refused;
use super::spans::Spans;
use super::{Arrival, Context, Targets, outcome};
use crate::auth::Verdict;
use crate::metrics::{Metrics, ReviewCause};
use crate::protocol::{Reply, Request, RequestHead};

/// A call under way. Dropping it is safe for others: see [`Upstream::call`].
///
/// [`Upstream::call`]: crate::upstream::Upstream::call
pub type InFlight = BoxFuture<'static, Reply>;

/// Admits a request and starts its call.
pub fn begin(
    context: &Context,
    targets: &Targets,
    caller: &mut Caller,
    request: &Request,
    arrival: Arrival,
) -> Result<InFlight, Refused> {
    let head = RequestHead::of(request);
    let mut spans = Spans::begin(context.tracing.as_ref(), arrival, caller, &head);
    match admit(context, targets, caller, (request, &head), arrival, spans.as_deref_mut()) {
        Ok(admitted) => Ok(run(admitted, head, caller.session_id(), context, spans)),
        Err(refused) => {
            if let Some(spans) = spans {
                spans.refused(refused.code(), refused.text());
            }
            Err(refused)
        }
    }
}

fn run(
    Admitted { route, call, judgement }: Admitted,
    head: RequestHead,
    session: &str,
    context: &Context,
    mut spans: Option<Box<Spans>>,
) -> InFlight {
    let began = Instant::now();
    let session: Box<str> = session.into();
    let upstream = &route.upstream;
    let counted = Arc::clone(
        route.counted.get_or_init(|| context.metrics.requests.route(&route.name, upstream.name())),
    );
    let result = upstream.call(context.worker, call);
    let judgement = judgement.map(|judgement| (judgement, context.clone()));
    async move {
        if let Some((judgement, context)) = judgement
            && let Err(refused) = permitted(judgement.await, &context.metrics)
        {
            if let Some(spans) = spans {
                spans.refused(refused.code(), refused.text());
            }
            let failure = refused.settle(&context, &session, &head);
            return Reply { head, outcome: failure.into() };
        }
        let result = result.await;
        let status = result.as_ref().err().map_or(Status::Ok, |error| error.status.code());
        counted.called(status as i32);
        if let Some(spans) = &mut spans {
            spans.called(&result);
        }
        let outcome = outcome::of(&route, result, &session, &head);
        let code = outcome.code();
        counted.done(code.number(), began.elapsed());
        if let Some(spans) = spans {
            spans.answered(code);
        }
        tracing::debug!(
            target: "bridgehead::access",
            session = &*session,
            request = head.logged_id(),
            method = &*route.name,
            %code,
            upstream = route.upstream.name(),
            micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            "request"
        );
        Reply { head, outcome }
    }
    .boxed()
}

/// The verdict of `auth.each_request` on a request.
fn permitted(verdict: Verdict, metrics: &Metrics) -> Result<(), Refused> {
    metrics.sessions.reviews.inc((ReviewCause::Request, verdict.outcome()));
    match verdict {
        Verdict::Accepted { .. } => Ok(()),
        Verdict::Refused { reason } => Err(Refused::new(Refusal::LoginRefused, reason)),
        Verdict::Unavailable { cause } => {
            tracing::info!(cause, "a request could not be judged");
            let text = "the request cannot be judged right now";
            Err(Refused::new(Refusal::LoginUnjudged, text))
        }
    }
}
