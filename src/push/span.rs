//! The trace of a push: one span, from its request to its last receipt.
//!
//! docs/tracing.md lists the attributes. The recipients and the content of the
//! push are not among them.

use std::sync::Arc;

use opentelemetry::trace::SpanKind;
use tonic::metadata::MetadataMap;

use crate::broker::Push;
use crate::outbox::Confirm;
use crate::proto::push::push_receipt::Outcome;
use crate::trace::{Parent, Place, Span, Tracing};

/// Attributes with the number of receipts, by outcome.
const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Queued, "bridgehead.push.queued"),
    (Outcome::Written, "bridgehead.push.written"),
    (Outcome::Acknowledged, "bridgehead.push.acknowledged"),
    (Outcome::Offline, "bridgehead.push.offline"),
    (Outcome::Overflowed, "bridgehead.push.overflowed"),
    (Outcome::Closed, "bridgehead.push.closed"),
    (Outcome::Expired, "bridgehead.push.expired"),
];

/// Where the pushes of one call stand in a trace.
pub(super) struct Traced {
    tracing: Arc<Tracing>,
    parent: Option<Parent>,
}

/// The span of a push under way. Ends when it is dropped.
pub(super) struct PushSpan {
    tracing: Arc<Tracing>,
    /// `None` only once it has ended.
    span: Option<Span>,
    receipts: [u32; OUTCOMES.len()],
    is_complete: bool,
}

impl Traced {
    /// Continues the trace that the call's metadata names. `None`: nothing is
    /// recorded here.
    pub(super) fn of(tracing: Option<&Arc<Tracing>>, metadata: &MetadataMap) -> Option<Self> {
        let tracing = Arc::clone(tracing?);
        Some(Self { tracing, parent: Parent::from_headers(metadata.as_ref()) })
    }

    /// Begins the span of one push, unless the sample leaves it out.
    pub(super) fn begin(&self, id: &str, push: &Push) -> Option<Box<PushSpan>> {
        let parent = self.parent.as_ref();
        let place = Place::new(Some(&self.tracing), parent);
        let mut span = self.tracing.record(place, parent, "bridgehead.push", SpanKind::Server)?;
        let confirm = match push.confirm {
            Confirm::Queued => "queued",
            Confirm::Written => "written",
            Confirm::Acknowledged => "acknowledged",
        };
        span.set("bridgehead.push.id", id.to_owned());
        span.set("bridgehead.push.event", i64::from(push.event));
        span.set("bridgehead.push.confirm", confirm);
        span.set("bridgehead.push.bytes", i64::try_from(push.data.len()).unwrap_or(i64::MAX));
        let tracing = Arc::clone(&self.tracing);
        Some(Box::new(PushSpan {
            tracing,
            span: Some(span),
            receipts: [0; OUTCOMES.len()],
            is_complete: false,
        }))
    }
}

impl PushSpan {
    /// One more receipt.
    pub(super) fn receipt(&mut self, outcome: Outcome) {
        let counts = OUTCOMES.iter().zip(&mut self.receipts);
        for (_, count) in counts.filter(|((known, _), _)| *known == outcome) {
            *count += 1;
        }
    }

    /// There are no more receipts.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }
}

impl Drop for PushSpan {
    fn drop(&mut self) {
        let Some(mut span) = self.span.take() else { return };
        let counts = || OUTCOMES.iter().zip(&self.receipts);
        let offline = |(outcome, _): &(Outcome, _)| *outcome == Outcome::Offline;
        let sessions: u32 = counts().filter(|(of, _)| !offline(of)).map(|(_, count)| count).sum();
        span.set("bridgehead.push.sessions", i64::from(sessions));
        for ((_, key), count) in counts().filter(|(_, count)| **count > 0) {
            span.set(key, i64::from(*count));
        }
        if !self.is_complete {
            span.set("error.type", "cancelled");
            span.fail("the backend did not wait for all receipts");
        }
        span.end(&self.tracing);
    }
}
