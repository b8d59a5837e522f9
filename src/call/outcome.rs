//! The outcome of a call for the client: the response message, the error code
//! that it carries, or the meaning of a gRPC status.

use std::borrow::Cow;

use bytes::Bytes;

use crate::metrics::status_label;
use crate::protocol::{Author, Code, Failure, Outcome, RequestHead, Verdict};
use crate::routing::Route;
use crate::upstream::{CallError, Destination};

/// The outcome of a call. Logs failures.
pub(super) fn of(
    route: &Route<Destination>,
    result: Result<Bytes, CallError>,
    session: &str,
    head: &RequestHead,
) -> Outcome {
    match result {
        Ok(response) => of_response(route, response),
        Err(error) => {
            let failure = of_error(route, &error);
            tracing::info!(
                session,
                request = head.logged_id(),
                method = &*route.name,
                upstream = route.upstream.name(),
                code = %failure.code,
                status = status_label(error.status.code() as i32),
                error = error.status.message(),
                origin = ?error.origin,
                "call failed"
            );
            failure.into()
        }
    }
}

fn of_response(route: &Route<Destination>, response: Bytes) -> Outcome {
    let (code, field) = match route.verdict(&response) {
        None => return Outcome::Response(response),
        Some((code, Cow::Borrowed(field))) => (code, response.slice_ref(field)),
        Some((code, Cow::Owned(field))) => (code, Bytes::from(field)),
    };
    Outcome::Verdict(Box::new(Verdict { code: Code::new(code), field, response }))
}

fn of_error(route: &Route<Destination>, error: &CallError) -> Failure {
    let status = error.status.code();
    let code = Code::new(route.codes.map(status));
    if route.expose_errors {
        let text = error.status.message().to_owned().into();
        return Failure { code, status, text, author: Author::Service };
    }
    Failure::new(code, status, generic_text(code))
}

/// The text for clients where the service's own words stay inside.
fn generic_text(code: Code) -> &'static str {
    match code {
        Code::AUTH_ERROR => "the service did not accept the login",
        Code::RETRY_ERROR => "the service is not available right now",
        Code::INTERNAL_ERROR => "internal error",
        Code::ALERT_ERROR | Code::TOAST_ERROR => "request failed",
        _ => "unknown error",
    }
}
