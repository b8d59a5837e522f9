//! Decides whether a caller may make a call, and prepares it: finds the route,
//! checks login and encryption, and puts the caller's identity into the message.

use std::sync::Arc;
use std::time::SystemTime;

use super::caller::{Caller, LoginState};
use super::refusal::Refusal;
use super::refused::Refused;
use super::spans::Spans;
use super::{Arrival, Context, Targets, metadata};
use crate::auth::Judgement;
use crate::protocol::{Request, RequestHead};
use crate::routing::{Lookup, Route};
use crate::upstream::{Call, Destination};

/// A route, kept by the calls that use it.
pub(super) type SharedRoute = Arc<Route<Destination>>;

/// A call that can be made.
pub(super) struct Admitted {
    pub(super) route: SharedRoute,
    pub(super) call: Call,
    /// `Some`: it may be made if `auth.each_request` accepts it.
    pub(super) judgement: Option<Judgement>,
}

/// Admits a request.
pub(super) fn admit(
    context: &Context,
    targets: &Targets,
    caller: &mut Caller,
    (request, head): (&Request, &RequestHead),
    arrival: Arrival,
    spans: Option<&mut Spans>,
) -> Result<Admitted, Refused> {
    if context.require_encryption && !arrival.encrypted {
        let text = "encryption is required: send setCxnParams first";
        return Err(Refused::new(Refusal::NotEncrypted, text));
    }
    let routes = &targets.routes;
    let lookup = routes.lookup(&request.method);
    let public = match &lookup {
        Lookup::Route(route) => route.public,
        Lookup::Pending(_) | Lookup::Unknown => routes.is_public(&request.method),
    };
    if !public {
        check_login(caller.login_at(SystemTime::now()))?;
    }
    let route = match lookup {
        Lookup::Route(route) => Arc::clone(route),
        Lookup::Pending(_) => {
            return Err(Refused::new(Refusal::Unresolved, "the service is not reachable yet"));
        }
        Lookup::Unknown => return Err(Refused::new(Refusal::UnknownMethod, "unknown method")),
    };
    let message = route
        .prepare(&request.data, |layout| caller.encoded(layout), &request.req_id)
        .map_err(|bad| Refused::malformed(bad.to_string()))?;
    let place = arrival.place;
    let (traceparent, trail) = match spans {
        None => (place.traceparent(None, caller.trace_parent()), None),
        Some(spans) => (spans.call(&route), Some(spans.trail())),
    };
    let call = Call {
        path: route.path.clone(),
        metadata: caller.metadata(route.upstream.rules.as_ref()),
        own: metadata::of_call(&head.req_id, &route, traceparent),
        message,
        timeout: route.timeout,
        hurried: false,
        retry: route.retry,
        trail,
    };
    let judgement = match &targets.each_request {
        Some(each) if !public => Some(caller.judge(each, context.worker, &request.method)),
        _ => None,
    };
    Ok(Admitted { route, call, judgement })
}

fn check_login(login: LoginState) -> Result<(), Refused> {
    match login {
        LoginState::Valid => Ok(()),
        LoginState::Missing => Err(Refused::new(Refusal::NotLoggedIn, "not logged in")),
        LoginState::Expired => Err(Refused::new(Refusal::LoginExpired, "login expired")),
    }
}
