//! From a request frame to a gRPC call, and from its outcome to an answer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tonic::Code as Status;

use super::Worker;
use super::handshake::Asked;
use super::identity::{Identity, Login};
use super::metadata;
use super::refusals::Refusals;
use super::spans::Spans;
use crate::auth::{Judgement, Verdict};
use crate::envelope::Code;
use crate::envelope::codec::{self, Request};
use crate::metrics::{Metrics, status_label};
use crate::routing::{Lookup, Route};
use crate::trace::Place;
use crate::upstream::{Call, CallError, Destination};

/// Why a request leads to no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A frame that is no `RequestBody`.
    NoRequest,
    UnknownMethod,
    /// The upstream's descriptors are not known yet.
    Unresolved,
    NotLoggedIn,
    LoginExpired,
    /// Whoever judges each request has refused it.
    LoginRefused,
    /// Whoever judges each request cannot be asked.
    LoginUnjudged,
    /// Encryption is required.
    NotEncrypted,
    /// The data is not what the method wants.
    Malformed,
}

impl Refusal {
    /// What it is answered with.
    fn code(self) -> Code {
        match self {
            Self::Unresolved | Self::LoginUnjudged => Code::RETRY_ERROR,
            Self::NotLoggedIn | Self::LoginExpired | Self::LoginRefused => Code::AUTH_ERROR,
            Self::NoRequest | Self::UnknownMethod | Self::NotEncrypted | Self::Malformed => {
                Code::REQUEST_ERROR
            }
        }
    }

    /// What it is called where it is counted.
    fn label(self) -> &'static str {
        match self {
            Self::NoRequest => "no_request",
            Self::UnknownMethod => "unknown_method",
            Self::Unresolved => "unresolved",
            Self::NotLoggedIn => "not_logged_in",
            Self::LoginExpired => "login_expired",
            Self::LoginRefused => "login_refused",
            Self::LoginUnjudged => "login_unjudged",
            Self::NotEncrypted => "not_encrypted",
            Self::Malformed => "malformed",
        }
    }
}

/// A request that is answered without, or instead of, a response message.
#[derive(Debug)]
pub(super) struct Failure {
    code: Code,
    /// `None`: it has led to a call, or to a decision about a login.
    refusal: Option<Refusal>,
    /// For the log, and for the client where the protocol has a text for the code.
    text: String,
}

impl Failure {
    pub(super) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, refusal: None, text: text.into() }
    }

    /// The request leads to no call; where the client is told no text, it is
    /// for the log.
    pub(super) fn refused(refusal: Refusal, text: impl Into<String>) -> Self {
        Self { refusal: Some(refusal), ..Self::new(refusal.code(), text) }
    }

    /// The data of a request is wrong; `text` is for the log.
    pub(super) fn malformed(text: impl Into<String>) -> Self {
        Self::refused(Refusal::Malformed, text)
    }

    /// Counts a request that leads to no call.
    pub(super) fn count(&self, metrics: &Metrics) {
        if let Some(refusal) = self.refusal {
            metrics.requests.refuse(refusal.label(), self.code.number());
        }
    }

    /// Why the request leads to no call.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    pub(super) fn log(&self, session: &str, asked: &Asked, refusals: &Refusals) {
        if let Some(left_out) = self.refusal.and_then(|refusal| refusals.is_due(refusal)) {
            tracing::info!(
                session,
                request = asked.logged_id(),
                method = asked.logged_method(),
                code = %self.code,
                reason = self.text,
                left_out,
                "request refused; the next such line in a minute"
            );
            return;
        }
        tracing::debug!(
            target: "bridgehead::access",
            session,
            request = asked.logged_id(),
            method = asked.logged_method(),
            code = %self.code,
            reason = self.text,
            "refused"
        );
    }

    pub(super) fn into_answer(self) -> Answer {
        // The protocol has no text for RequestError; see `Refusals`.
        let msg = (self.code != Code::REQUEST_ERROR).then_some(self.text.as_str());
        Answer { code: self.code, data: codec::refusal(self.code, msg).into() }
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: Code,
    /// The response message, or a `CommonResp`.
    pub(super) data: Bytes,
}

impl Answer {
    /// Success without a message to show for it.
    pub(super) fn empty() -> Self {
        Self { code: Code::SUCCESS, data: Bytes::new() }
    }
}

/// A call under way. Dropping it is safe for others: see [`Upstream::call`].
///
/// [`Upstream::call`]: crate::upstream::Upstream::call
pub(super) type InFlight = BoxFuture<'static, Finished>;

/// A call that has its answer.
pub(super) struct Finished {
    pub(super) asked: Asked,
    pub(super) answer: Answer,
}

/// Resolves a request, checks that the session may make it, fills the identity
/// in and starts the call. `encrypted`: the session has turned encryption on.
/// `place`: where the request stands in a trace.
pub(super) fn begin(
    request: &Request,
    identity: &mut Identity,
    worker: &Worker,
    encrypted: bool,
    place: Place,
) -> Result<InFlight, Failure> {
    let asked = Asked::of(request);
    let mut spans = Spans::begin(worker.tracing.as_ref(), place, identity, &asked, encrypted);
    let traced = (place, spans.as_deref_mut());
    match prepare(request, &asked, identity, worker, encrypted, traced) {
        Ok(prepared) => Ok(drive(prepared, asked, identity.session_id(), worker, spans)),
        Err(failure) => {
            if let Some(spans) = spans {
                spans.refused(failure.code, &failure.text);
            }
            Err(failure)
        }
    }
}

type SharedRoute = Arc<Route<Destination>>;

/// A call that can be made.
struct Prepared {
    route: SharedRoute,
    call: Call,
    /// `Some`: it may be made if this accepts it.
    judgement: Option<Judgement>,
}

fn prepare(
    request: &Request,
    asked: &Asked,
    identity: &mut Identity,
    worker: &Worker,
    encrypted: bool,
    (place, spans): (Place, Option<&mut Spans>),
) -> Result<Prepared, Failure> {
    if worker.config.require_encryption && !encrypted {
        let text = "encryption is required: send setCxnParams first";
        return Err(Failure::refused(Refusal::NotEncrypted, text));
    }
    let services = worker.services.load();
    let routes = &services.routes;
    let lookup = routes.lookup(&request.method);
    let public = match &lookup {
        Lookup::Route(route) => route.public,
        Lookup::Pending(_) | Lookup::Unknown => routes.is_public(&request.method),
    };
    if !public {
        may_call(identity.login())?;
    }
    let route = match lookup {
        Lookup::Route(route) => Arc::clone(route),
        Lookup::Pending(_) => {
            return Err(Failure::refused(Refusal::Unresolved, "the service is not reachable yet"));
        }
        Lookup::Unknown => return Err(Failure::refused(Refusal::UnknownMethod, "unknown method")),
    };
    let message = route
        .prepare(&request.data, |layout| identity.encoded(layout), &request.req_id)
        .map_err(|bad| Failure::malformed(bad.to_string()))?;
    let (traceparent, trail) = match spans {
        None => (place.traceparent(None, identity.trace_parent()), None),
        Some(spans) => (spans.call(&route), Some(spans.trail())),
    };
    let call = Call {
        path: route.path.clone(),
        metadata: identity.metadata(route.upstream.rules.as_ref()),
        own: metadata::of_call(&asked.req_id, &route, traceparent),
        message,
        timeout: route.timeout,
        hurried: false,
        retry: route.retry,
        trail,
    };
    let judgement = match &services.each_request {
        Some(each) if !public => Some(identity.judge(each, worker.index, &request.method)),
        _ => None,
    };
    Ok(Prepared { route, call, judgement })
}

fn may_call(login: Login) -> Result<(), Failure> {
    match login {
        Login::Valid => Ok(()),
        Login::Missing => Err(Failure::refused(Refusal::NotLoggedIn, "not logged in")),
        Login::Expired => Err(Failure::refused(Refusal::LoginExpired, "login expired")),
    }
}

fn drive(
    Prepared { route, call, judgement }: Prepared,
    asked: Asked,
    session: &str,
    worker: &Worker,
    mut spans: Option<Box<Spans>>,
) -> InFlight {
    let began = Instant::now();
    let session: Box<str> = session.into();
    let upstream = &route.upstream;
    let counted = Arc::clone(
        route.counted.get_or_init(|| worker.metrics.requests.route(&route.name, upstream.name())),
    );
    let result = upstream.call(worker.index, call);
    let judgement = judgement
        .map(|judgement| (judgement, Arc::clone(&worker.metrics), Arc::clone(&worker.refusals)));
    async move {
        if let Some((judgement, metrics, refusals)) = judgement
            && let Err(failure) = permitted(judgement.await, &metrics)
        {
            failure.count(&metrics);
            failure.log(&session, &asked, &refusals);
            if let Some(spans) = spans {
                spans.refused(failure.code, &failure.text);
            }
            return Finished { asked, answer: failure.into_answer() };
        }
        let result = result.await;
        let status = result.as_ref().err().map_or(Status::Ok, |error| error.status.code());
        counted.called(status as i32);
        if let Some(spans) = &mut spans {
            spans.called(&result);
        }
        let answer = answer(&route, result, &session, &asked);
        counted.done(answer.code.number(), began.elapsed());
        if let Some(spans) = spans {
            spans.answered(answer.code);
        }
        tracing::debug!(
            target: "bridgehead::access",
            session = &*session,
            request = asked.logged_id(),
            method = &*route.name,
            code = %answer.code,
            upstream = route.upstream.name(),
            micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            "request"
        );
        Finished { asked, answer }
    }
    .boxed()
}

/// What whoever judges each request says of one.
fn permitted(verdict: Verdict, metrics: &Metrics) -> Result<(), Failure> {
    metrics.sessions.review("request", verdict.label());
    match verdict {
        Verdict::Accepted { .. } => Ok(()),
        Verdict::Refused { reason } => Err(Failure::refused(Refusal::LoginRefused, reason)),
        Verdict::Unavailable { cause } => {
            tracing::info!(cause, "a request could not be judged");
            let text = "the request cannot be judged right now";
            Err(Failure::refused(Refusal::LoginUnjudged, text))
        }
    }
}

/// The answer to a call: the response as it came, the response's own refusal,
/// or what the gRPC status stands for.
fn answer(
    route: &Route<Destination>,
    result: Result<Bytes, CallError>,
    session: &str,
    asked: &Asked,
) -> Answer {
    let error = match result {
        Ok(response) => {
            return match route.verdict(&response) {
                None => Answer { code: Code::SUCCESS, data: response },
                Some((code, verdict)) => {
                    Answer { code: Code::new(code), data: verdict.into_owned().into() }
                }
            };
        }
        Err(error) => error,
    };
    let status = &error.status;
    let code = Code::new(route.codes.map(status.code()));
    tracing::info!(
        session,
        request = asked.logged_id(),
        method = &*route.name,
        upstream = route.upstream.name(),
        %code,
        status = status_label(status.code() as i32),
        error = status.message(),
        origin = ?error.origin,
        "call failed"
    );
    let text = if route.expose_errors { status.message() } else { generic_text(code) };
    let msg = match code {
        Code::ALERT_ERROR => Cow::Owned(alert(text)),
        // The protocol has no text for RequestError; who exposes errors wants one.
        Code::REQUEST_ERROR if !route.expose_errors => {
            return Failure::new(code, text).into_answer();
        }
        _ => Cow::Borrowed(text),
    };
    Answer { code, data: codec::refusal(code, Some(&msg)).into() }
}

/// An alert as clients expect it: JSON, unless the text is that already.
fn alert(text: &str) -> String {
    if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok() {
        return text.to_owned();
    }
    serde_json::json!({ "title": "", "msg": text, "actions": [] }).to_string()
}

/// What a client is told where the service's own words stay inside.
fn generic_text(code: Code) -> &'static str {
    match code {
        Code::AUTH_ERROR => "the service did not accept the login",
        Code::RETRY_ERROR => "the service is not available right now",
        Code::INTERNAL_ERROR => "internal error",
        Code::ALERT_ERROR | Code::TOAST_ERROR => "request failed",
        _ => "unknown error",
    }
}
