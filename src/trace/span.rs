//! Spans that are being recorded. Their names and attributes are chosen by the
//! recording modules.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{
    Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::handle::Tracing;

/// Bytes of the text of a failure, at most.
const MAX_REASON: usize = 1024;

/// A span that has begun. Dropped without [`Span::end`], it is not exported.
#[derive(Debug)]
pub struct Span {
    data: SpanData,
}

impl Span {
    pub(super) fn root(
        context: SpanContext,
        parent: SpanId,
        name: &'static str,
        kind: SpanKind,
        began: SystemTime,
        scope: InstrumentationScope,
    ) -> Self {
        let data = SpanData {
            span_context: context,
            parent_span_id: parent,
            parent_span_is_remote: parent != SpanId::INVALID,
            span_kind: kind,
            name: name.into(),
            start_time: began,
            end_time: began,
            attributes: Vec::with_capacity(8),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope,
        };
        Self { data }
    }

    /// A span within this one. It begins now.
    #[must_use]
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Self {
        let parent = &self.data.span_context;
        let state = parent.trace_state().clone();
        let context = sampled(parent.trace_id(), state);
        let scope = self.data.instrumentation_scope.clone();
        let mut child = Self::root(context, parent.span_id(), "", kind, SystemTime::now(), scope);
        child.data.name = name.into();
        child.data.parent_span_is_remote = false;
        child
    }

    /// The trace that it is part of.
    pub fn trace_id(&self) -> TraceId {
        self.data.span_context.trace_id()
    }

    /// Its id, as the parent of others.
    pub fn id(&self) -> SpanId {
        self.data.span_context.span_id()
    }

    /// Changes its name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        self.data.name = name.into();
    }

    /// Sets an attribute. A key should be given once.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.data.attributes.push(KeyValue::new(key, value));
    }

    /// Adds an event at a time.
    pub fn event(&mut self, name: &'static str, at: SystemTime, attributes: Vec<KeyValue>) {
        self.data.events.events.push(Event::new(name, at, attributes, 0));
    }

    /// Marks it as failed, with the reason. A long reason is cut, since services
    /// write it.
    pub fn fail(&mut self, reason: &str) {
        let cut = reason.floor_char_boundary(MAX_REASON);
        self.data.status = Status::error(reason.get(..cut).unwrap_or_default().to_owned());
    }

    /// Ends it now, and hands it over to be exported. Never blocks.
    pub fn end(mut self, tracing: &Tracing) {
        self.data.end_time = SystemTime::now();
        tracing.export(self.data);
    }
}

#[cfg(test)]
impl Span {
    pub(super) fn into_data(self) -> SpanData {
        self.data
    }
}

/// The context of a new span that is recorded.
pub(super) fn sampled(trace_id: TraceId, state: TraceState) -> SpanContext {
    SpanContext::new(trace_id, new_id(), TraceFlags::SAMPLED, false, state)
}

/// An id that no other span has, and that is not zero.
pub(super) fn new_id() -> SpanId {
    SpanId::from(rand::random::<u64>().max(1))
}
