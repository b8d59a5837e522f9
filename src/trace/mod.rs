//! Distributed tracing: which requests and pushes are recorded, as spans, and
//! how the spans come to a collector.
//!
//! A handle, [`Tracing`], is there only where tracing is configured; without it,
//! and for requests outside the sample, nothing is allocated and nothing locked.
//! That is why this speaks to OpenTelemetry's SDK directly, and events of the log
//! ([`tracing`]) are another matter.
//!
//! Here: the decision, W3C Trace Context (`context`), the export (`export`).
//! Not here: the spans' names and attributes, which the recording modules choose
//! (`session`, `push`).

mod config;
mod context;
mod export;
mod handle;
mod place;
mod sampling;
mod span;

pub use config::{Config, StartError, Tls};
pub use context::{Parent, TRACEPARENT, TRACESTATE};
pub use handle::Tracing;
pub use place::Place;
pub use span::Span;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::trace::{SpanKind, TraceId};

    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0";

    /// No collector listens there. Must be called inside a runtime.
    fn tracing(sample: f64) -> Tracing {
        let config = Config {
            collector: "http://127.0.0.1:1".into(),
            sample,
            service_name: "test".into(),
            instance: "one".into(),
            headers: Vec::new(),
            timeout: Duration::from_secs(1),
            tls: Tls::default(),
        };
        Tracing::start(&config).unwrap()
    }

    fn caller(flag: char) -> Parent {
        let traceparent = format!("{CALLER}{flag}").parse().unwrap();
        Parent::from_headers(&[(TRACEPARENT, traceparent)].into_iter().collect()).unwrap()
    }

    fn record(tracing: &Tracing, parent: Option<&Parent>) -> (Place, Option<Span>) {
        let place = Place::new(Some(tracing), parent);
        (place, tracing.record(place, parent, "span", SpanKind::Server))
    }

    #[tokio::test]
    async fn the_sample_decides_where_a_trace_begins() {
        assert!(record(&tracing(1.0), None).1.is_some());
        assert!(record(&tracing(0.0), None).1.is_none());
        let none = Place::new(None, None);
        assert!(tracing(1.0).record(none, None, "span", SpanKind::Server).is_none());
    }

    #[tokio::test]
    async fn the_caller_decides_for_its_own_trace() {
        let (place, span) = record(&tracing(0.0), Some(&caller('1')));
        let span = span.unwrap();
        assert_eq!(span.trace_id(), caller('1').trace_id);
        let told = place.traceparent(Some(&span), Some(&caller('1')));
        assert_eq!(told, format!("00-{}-{}-01", span.trace_id(), span.id()));
        let (place, span) = record(&tracing(1.0), Some(&caller('0')));
        assert!(span.is_none());
        assert_eq!(place.traceparent(None, Some(&caller('0'))), format!("{CALLER}0"));
    }

    #[test]
    fn without_tracing_a_callers_trace_is_passed_through() {
        let parent = caller('1');
        let place = Place::new(None, Some(&parent));
        assert!(place.recorded.is_none());
        assert_eq!(place.traceparent(None, Some(&parent)), format!("{CALLER}1"));
    }

    #[test]
    fn a_trace_that_nobody_records_says_so_and_is_well_formed() {
        let place = |id: u128| Place { trace_id: TraceId::from(id), recorded: None };
        assert_eq!(
            place(1).traceparent(None, None),
            "00-00000000000000000000000000000001-0000000000000001-00"
        );
        assert_eq!(
            place(0x0123_4567_89ab_cdef << 64).traceparent(None, None),
            "00-0123456789abcdef0000000000000000-0123456789abcdef-00"
        );
        let (one, other) = (Place::new(None, None), Place::new(None, None));
        assert_ne!(one.trace_id, other.trace_id);
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_an_error_at_the_start() {
        let good = Config {
            collector: "https://127.0.0.1:1".into(),
            sample: 1.0,
            service_name: "test".into(),
            instance: "one".into(),
            headers: Vec::new(),
            timeout: Duration::from_secs(1),
            tls: Tls::default(),
        };
        assert!(Tracing::start(&good).is_ok());
        let headers = vec![("x-key".to_owned(), "a\nb".to_owned())];
        let error = Tracing::start(&Config { headers, ..good.clone() }).unwrap_err();
        assert!(matches!(error, StartError::Header(name) if name == "x-key"));
        let tls = Tls { ca: Some("/nowhere/ca.pem".into()), ..Tls::default() };
        let error = Tracing::start(&Config { tls, ..good.clone() }).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/ca.pem: "), "{error}");
        let error = Tracing::start(&Config { collector: "http://a b".into(), ..good }).unwrap_err();
        assert!(matches!(error, StartError::Collector(_)), "{error}");
    }
}
