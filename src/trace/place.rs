//! The place of something in a trace, and whether it is recorded.

use std::time::SystemTime;

use http::HeaderValue;
use opentelemetry::trace::{SpanId, SpanKind, TraceId};

use super::context::{self, Parent};
use super::handle::Tracing;
use super::span::{self, Span};

/// The place of a request or a push: its trace, and whether it is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub(super) trace_id: TraceId,
    /// When it began, if it is recorded.
    pub(super) recorded: Option<SystemTime>,
}

impl Tracing {
    /// The span that a place has in its trace; `None`: it is not recorded.
    pub fn record(
        &self,
        place: Place,
        parent: Option<&Parent>,
        name: &'static str,
        kind: SpanKind,
    ) -> Option<Span> {
        let began = place.recorded?;
        let state = parent.map(|parent| parent.state.clone()).unwrap_or_default();
        let parent = parent.map_or(SpanId::INVALID, |parent| parent.span_id);
        let context = span::sampled(place.trace_id, state);
        Some(Span::root(context, parent, name, kind, began, self.scope.clone()))
    }
}

impl Place {
    /// A new place: in the caller's trace, recorded if that is, or else in a new
    /// trace. Allocates nothing.
    pub fn new(tracing: Option<&Tracing>, parent: Option<&Parent>) -> Self {
        let trace_id = match parent {
            Some(parent) => parent.trace_id,
            None => TraceId::from(rand::random::<u128>().max(1)),
        };
        let takes = |tracing: &Tracing| match parent {
            Some(parent) => parent.is_sampled,
            None => tracing.ratio.takes(trace_id),
        };
        let recorded = tracing.is_some_and(takes).then(SystemTime::now);
        Self { trace_id, recorded }
    }

    /// The traceparent for a service: of the span that is recorded, or of the
    /// caller where there is none, or of a random parent without either. Its flag
    /// says whether the named span is recorded.
    pub fn traceparent(self, span: Option<&Span>, parent: Option<&Parent>) -> HeaderValue {
        match (span, parent) {
            (Some(span), _) => context::traceparent(span.trace_id(), span.id(), true),
            (None, Some(parent)) => parent.traceparent().clone(),
            (None, None) => {
                // Half of a random number is as random.
                let half = (u128::from_be_bytes(self.trace_id.to_bytes()) >> 64) as u64;
                context::traceparent(self.trace_id, SpanId::from(half.max(1)), false)
            }
        }
    }
}
