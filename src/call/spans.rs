//! The spans of a request: one for all of it, and within it one for finding the
//! route and one for the call of the service.
//!
//! Names and attributes are OpenTelemetry's where it has some, and else begin
//! with `bridgehead.`; docs/tracing.md lists them. Tokens, messages and user ids
//! are never among them.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::HeaderValue;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use tonic::Code as Status;

use super::Arrival;
use super::caller::Caller;
use crate::metrics::status_label;
use crate::protocol::{Code, RequestHead};
use crate::routing::Route;
use crate::trace::{Place, Span, Tracing};
use crate::upstream::{Attempt, CallError, Destination, Trail};

/// The spans of one request. Dropped before an answer, they are marked as
/// cancelled.
pub(super) struct Spans {
    tracing: Arc<Tracing>,
    place: Place,
    /// `None` only once it has ended.
    request: Option<Span>,
    /// The current step: finding the route, or the call.
    step: Option<Span>,
    trail: Arc<Trail>,
}

impl Spans {
    /// Begins to record, if the place is recorded.
    pub(super) fn begin(
        tracing: Option<&Arc<Tracing>>,
        Arrival { place, encrypted }: Arrival,
        caller: &Caller,
        head: &RequestHead,
    ) -> Option<Box<Self>> {
        let tracing = tracing?;
        let parent = caller.trace_parent();
        let mut request = tracing.record(place, parent, "bridgehead.request", SpanKind::Server)?;
        let step = request.child("bridgehead.route", SpanKind::Internal);
        request.set("session.id", caller.session_id().to_owned());
        request.set("bridgehead.request.id", head.logged_id().to_owned());
        request.set("bridgehead.method", head.logged_method().to_owned());
        request.set("bridgehead.encrypted", encrypted);
        Some(Box::new(Self {
            tracing: Arc::clone(tracing),
            place,
            request: Some(request),
            step: Some(step),
            trail: Arc::default(),
        }))
    }

    /// The route is found and the message is ready: the call begins. Returns the
    /// traceparent of the call's span.
    pub(super) fn call(&mut self, route: &Route<Destination>) -> HeaderValue {
        if let Some(mut step) = self.step.take() {
            step.set("bridgehead.route", route.name.to_string());
            step.set("bridgehead.rpc", route.rpc.to_string());
            step.set("bridgehead.upstream", route.upstream.name().to_owned());
            step.set("bridgehead.spliced", route.has_identity());
            step.end(&self.tracing);
        }
        self.step = self.request.as_ref().map(|request| {
            // OpenTelemetry's name for a call is its method.
            let mut call = request.child(route.rpc.to_string(), SpanKind::Client);
            let (service, method) = route.rpc.split_once('/').unwrap_or_default();
            call.set("rpc.system", "grpc");
            call.set("rpc.service", service.to_owned());
            call.set("rpc.method", method.to_owned());
            call.set("bridgehead.upstream", route.upstream.name().to_owned());
            call
        });
        self.place.traceparent(self.step.as_ref(), None)
    }

    /// The trail for the call's attempts.
    pub(super) fn trail(&self) -> Arc<Trail> {
        Arc::clone(&self.trail)
    }

    /// The call is over.
    pub(super) fn called(&mut self, result: &Result<Bytes, CallError>) {
        let Some(mut call) = self.step.take() else { return };
        let error = result.as_ref().err();
        let status = error.map_or(Status::Ok, |error| error.status.code());
        call.set("rpc.grpc.status_code", i64::from(status as i32));
        if let Some(error) = error {
            call.set("error.type", status_label(status as i32));
            call.set("bridgehead.origin", format!("{:?}", error.origin).to_lowercase());
            call.fail(error.status.message());
        }
        self.end_call(call);
    }

    /// The client has its answer, or will have it with the next write.
    pub(super) fn answered(mut self: Box<Self>, code: Code) {
        let Some(mut request) = self.request.take() else { return };
        request.set("bridgehead.code", i64::from(code.number()));
        if !code.is_success() {
            request.set("error.type", code.to_string());
        }
        // A client's error is not a failure of the server's span.
        if matches!(code, Code::UNKNOWN_ERROR | Code::INTERNAL_ERROR | Code::RETRY_ERROR) {
            request.fail("");
        }
        request.end(&self.tracing);
    }

    /// The request was refused before a call, for this reason.
    pub(super) fn refused(mut self: Box<Self>, code: Code, reason: &str) {
        if let Some(mut step) = self.step.take() {
            step.set("error.type", code.to_string());
            step.fail(reason);
            step.end(&self.tracing);
        }
        self.answered(code);
    }

    /// Ends the call's span with the result of each attempt.
    fn end_call(&self, mut call: Span) {
        let attempts = self.trail.attempts();
        if let Some((server, port)) = attempts.last().map(Attempt::server) {
            call.set("server.address", server.to_owned());
            if let Some(port) = port {
                call.set("server.port", i64::from(port));
            }
        }
        call.set("bridgehead.attempts", i64::try_from(attempts.len()).unwrap_or(i64::MAX));
        for (number, attempt) in (1_i64..).zip(&attempts) {
            let Some((at, status)) = attempt.failure else { continue };
            let attributes = vec![
                KeyValue::new("bridgehead.attempt", number),
                KeyValue::new("bridgehead.endpoint", attempt.endpoint.to_string()),
                KeyValue::new("rpc.grpc.status_code", i64::from(status as i32)),
            ];
            call.event("bridgehead.attempt_failed", at, attributes);
        }
        call.end(&self.tracing);
    }
}

impl Drop for Spans {
    /// The session ended first: there is no receiver of the answer any more.
    fn drop(&mut self) {
        if let Some(mut call) = self.step.take() {
            call.set("error.type", "cancelled");
            call.fail("the session ended first");
            self.end_call(call);
        }
        if let Some(mut request) = self.request.take() {
            request.set("error.type", "cancelled");
            request.end(&self.tracing);
        }
    }
}
