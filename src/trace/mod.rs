//! Distributed tracing: which requests and pushes are recorded, as spans, and
//! how the spans come to a collector.
//!
//! A handle, [`Tracing`], is there only where tracing is configured; without it,
//! and for what the sample leaves out, nothing is allocated and nothing locked.
//! That is why this speaks to OpenTelemetry's SDK directly, and events of the
//! log ([`tracing`]) are another matter.
//!
//! Here: the decision, W3C Trace Context (`context`), the export (`export`).
//! Not here: what the spans are and say, which is known to those who record
//! them (`session`, `push`).

mod context;
mod export;
mod sampling;
mod span;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use opentelemetry_sdk::trace::SpanData;

use export::Pipeline;
use sampling::Ratio;

pub use context::{Parent, TRACEPARENT, TRACESTATE};
pub use span::Span;

/// What is recorded, and where it goes. See the `tracing` section of routes.yaml.
#[derive(Clone)]
pub struct Config {
    /// The collector, `http://host:port` or `https://host:port`.
    pub collector: String,
    /// The share of traces begun here that is recorded, 0 to 1.
    pub sample: f64,
    /// What the gateway is called in traces.
    pub service_name: String,
    /// Which of several gateways this is.
    pub instance: String,
    /// gRPC metadata of every export, by lowercase name.
    pub headers: Vec<(String, String)>,
    /// How long one export may take.
    pub timeout: Duration,
    /// Whom an `https://` collector has to convince, and how.
    pub tls: Tls,
}

/// The headers may be secrets: their names are shown alone.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Config")
            .field("collector", &self.collector)
            .field("headers", &headers)
            .finish_non_exhaustive()
    }
}

/// TLS to the collector.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// PEM file: whom to trust. Absent: the public authorities.
    pub ca: Option<PathBuf>,
    /// PEM files: the gateway's certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name in the collector's certificate. Absent: the host of its URL.
    pub domain: Option<String>,
}

/// Why spans cannot be exported as configured.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A header's name or value is not one.
    #[error("the header `{0}` cannot be sent: write visible ASCII")]
    Header(String),
    /// The TLS material cannot be used.
    #[error("{0}")]
    Tls(String),
    /// The collector's URL, with what belongs to it, cannot be used.
    #[error("{0}")]
    Collector(String),
}

/// Decides what is recorded, and takes it over.
pub struct Tracing {
    ratio: Ratio,
    scope: InstrumentationScope,
    pipeline: Pipeline,
}

/// Where a request or a push stands: its trace, and whether it is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    trace_id: TraceId,
    /// When it began, if it is recorded.
    recorded: Option<SystemTime>,
}

impl Tracing {
    /// Must be called inside the runtime that is to do the exports. The
    /// collector need not be there.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let scope = InstrumentationScope::builder("bridgehead")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let pipeline = Pipeline::start(config)?;
        Ok(Self { ratio: Ratio::new(config.sample), scope, pipeline })
    }

    /// Finds out whether spans could be exported as configured, as far as that can
    /// be known without a collector. Must be called inside a runtime.
    ///
    /// # Errors
    ///
    /// Why they cannot.
    pub fn check(config: &Config) -> Result<(), StartError> {
        export::exporter(config).map(drop)
    }

    /// Sends what waits to be exported, for two seconds at most.
    pub async fn stop(&self) {
        self.pipeline.stop().await;
    }

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

    fn export(&self, span: SpanData) {
        self.pipeline.take(span);
    }
}

impl std::fmt::Debug for Tracing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracing").field("ratio", &self.ratio).finish_non_exhaustive()
    }
}

impl Place {
    /// Begins here: in the caller's trace and recorded if that is, or else in a
    /// new trace. Allocates nothing.
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
    /// caller where there is none, or of nobody. Its flag tells whether what
    /// it names is recorded.
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

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0";

    /// Nobody listens there; inside a runtime.
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
