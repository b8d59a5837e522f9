//! From recorded spans to a collector: OTLP over gRPC, in batches, beside
//! everything else. Spans that the collector does not take in time are lost,
//! counted, and reported in the log once in a while.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor,
};
use parking_lot::Mutex;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use zeroize::Zeroizing;

use super::config::{Config, StartError, Tls};
use crate::pem::{self, PemError};

/// Spans that may wait for the collector.
const QUEUE: usize = 4096;
/// Spans that are sent together.
const BATCH: usize = 512;
/// How long a span waits for others, at most.
const DELAY: Duration = Duration::from_secs(1);
/// The time between two log lines about a failing collector.
const REPEAT: Duration = Duration::from_mins(1);
/// How long the last spans may take when the gateway stops.
const GOODBYE: Duration = Duration::from_secs(2);

const TOO_SLOW: &str = "it takes fewer than there are: record a smaller share (tracing.sample)";

/// The way to the collector.
pub(super) struct Pipeline {
    processor: Arc<BatchSpanProcessor>,
    backlog: Arc<Backlog>,
}

/// Counters of waiting and of lost spans.
#[derive(Debug, Default)]
struct Backlog {
    waiting: AtomicUsize,
    lost: AtomicU64,
}

impl Pipeline {
    /// Nothing is connected yet: the collector need not be there. Must be
    /// called inside the runtime that is to do the work.
    pub(super) fn start(config: &Config) -> Result<Self, StartError> {
        let exporter = exporter(config)?;
        let backlog = Arc::<Backlog>::default();
        let exporter = Patient {
            inner: exporter,
            collector: config.collector.clone(),
            backlog: Arc::clone(&backlog),
            said: Mutex::default(),
        };
        let batch = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let processor = BatchSpanProcessor::new(exporter, batch);
        Ok(Self { processor: Arc::new(processor), backlog })
    }

    /// Takes a span over, unless too many wait already. Never blocks.
    pub(super) fn take(&self, span: SpanData) {
        if self.backlog.waiting.fetch_add(1, Ordering::Relaxed) < QUEUE {
            self.processor.on_end(span);
        } else {
            self.backlog.waiting.fetch_sub(1, Ordering::Relaxed);
            self.backlog.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends the waiting spans, as far as two seconds allow. Later spans are
    /// lost.
    pub(super) async fn stop(&self) {
        let processor = Arc::clone(&self.processor);
        let stopped = tokio::task::spawn_blocking(move || processor.shutdown_with_timeout(GOODBYE));
        if !matches!(stopped.await, Ok(Ok(()))) {
            let spans = self.backlog.waiting.load(Ordering::Relaxed);
            tracing::warn!(spans, "the last spans did not reach the collector in time");
        }
    }
}

/// Not connected yet.
pub(super) fn exporter(config: &Config) -> Result<opentelemetry_otlp::SpanExporter, StartError> {
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(config.collector.as_str())
        .with_timeout(config.timeout)
        .with_interceptor(adding(headers(&config.headers)?));
    if config.collector.starts_with("https://") {
        exporter = exporter.with_tls_config(tls(&config.tls)?);
    }
    let mut exporter = exporter.build().map_err(|e| StartError::Collector(e.to_string()))?;
    exporter.set_resource(&resource(config));
    Ok(exporter)
}

/// The resource of every span: the environment's attributes
/// (`OTEL_RESOURCE_ATTRIBUTES`), overridden by the configuration's.
fn resource(config: &Config) -> Resource {
    Resource::builder()
        .with_service_name(config.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", config.instance.clone()))
        .build()
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, StartError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let wrong = || StartError::Header(name.clone());
        let key: http::HeaderName = name.parse().map_err(|_| wrong())?;
        let mut value: http::HeaderValue = value.parse().map_err(|_| wrong())?;
        // gRPC requires visible ASCII.
        value.to_str().map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// Sets headers of every export, in place of the environment's
/// (`OTEL_EXPORTER_OTLP_HEADERS`).
fn adding(headers: HeaderMap) -> impl Interceptor + Clone {
    let added = MetadataMap::from_headers(headers);
    move |mut request: tonic::Request<()>| {
        for pair in added.iter() {
            if let KeyAndValueRef::Ascii(name, value) = pair {
                request.metadata_mut().insert(name.clone(), value.clone());
            }
        }
        Ok(request)
    }
}

/// tonic requires PEM. It gets material that has been parsed already, so that it
/// finds no error: its errors would quote the file's bytes.
fn tls(tls: &Tls) -> Result<ClientTlsConfig, StartError> {
    let mut config = ClientTlsConfig::new();
    config = match &tls.ca {
        Some(ca) => {
            let found = holding(ca, pem::certificates)?;
            pem::authorities(found.clone()).map_err(|error| unusable(ca, &error))?;
            config.ca_certificate(Certificate::from_pem(written(&found)?))
        }
        None => config.with_webpki_roots(),
    };
    if let Some((cert, key)) = &tls.client {
        let (chain, private) = (holding(cert, pem::certificates)?, holding(key, pem::private_key)?);
        pem::identity(chain.clone(), private.clone_key()).map_err(|error| {
            StartError::Tls(format!("{} and {}: {error}", cert.display(), key.display()))
        })?;
        let label = match private {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        let private = encoded(label, private.secret_der())?;
        config = config.identity(Identity::from_pem(written(&chain)?, private));
    }
    if let Some(domain) = &tls.domain {
        config = config.domain_name(domain);
    }
    Ok(config)
}

/// The result of `parse` on a file.
fn holding<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, PemError>,
) -> Result<T, StartError> {
    let file = std::fs::read(path).map_err(|error| unusable(path, &error))?;
    parse(&Zeroizing::new(file)).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &dyn fmt::Display) -> StartError {
    StartError::Tls(format!("{}: {error}", path.display()))
}

fn written(certificates: &[CertificateDer<'_>]) -> Result<String, StartError> {
    certificates.iter().map(|der| encoded("CERTIFICATE", der)).collect()
}

fn encoded(label: &str, der: &[u8]) -> Result<String, StartError> {
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der)
        .map_err(|_| StartError::Tls(format!("a {label} cannot be encoded")))
}

/// An exporter that complains once in a while rather than every time.
struct Patient<E> {
    inner: E,
    collector: String,
    backlog: Arc<Backlog>,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    /// When the last complaint was made.
    at: Option<Instant>,
    /// That complaint was about a collector that took nothing, and nothing
    /// has been taken since.
    is_down: bool,
}

impl<E: SpanExporter> SpanExporter for Patient<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.backlog.waiting.fetch_sub(spans, Ordering::Relaxed);
        if result.is_err() {
            self.backlog.lost.fetch_add(spans as u64, Ordering::Relaxed);
        }
        self.tell(result.err().map(|error| pem::handshake(&error)), Instant::now());
        // The error has been logged already.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }
}

impl<E> Patient<E> {
    /// Logs the state of the export, unless that was done lately.
    fn tell(&self, problem: Option<String>, now: Instant) {
        let mut said = self.said.lock();
        let collector = &*self.collector;
        let lost = || self.backlog.lost.swap(0, Ordering::Relaxed);
        let is_down = problem.is_some();
        if !is_down && std::mem::take(&mut said.is_down) {
            let lost = lost();
            tracing::info!(collector, lost, "spans reach the collector again");
            return;
        }
        let is_slow = self.backlog.lost.load(Ordering::Relaxed) > 0;
        let Some(problem) = problem.or_else(|| is_slow.then(|| TOO_SLOW.to_owned())) else {
            return;
        };
        if said.at.is_none_or(|at| now.saturating_duration_since(at) >= REPEAT) {
            let lost = lost();
            tracing::warn!(collector, lost, problem, "spans do not reach the collector");
            *said = Said { at: Some(now), is_down };
        }
    }
}

impl<E> fmt::Debug for Patient<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient").field("collector", &self.collector).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanId, SpanKind, TraceId, TraceState};
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;
    use crate::trace::span::{Span, sampled};

    /// Fails until `works` is set.
    #[derive(Debug, Default)]
    struct Collector {
        works: AtomicBool,
    }

    impl SpanExporter for Collector {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            if self.works.load(Ordering::Relaxed) {
                return Ok(());
            }
            Err(OTelSdkError::InternalFailure("away".into()))
        }
    }

    fn patient() -> Patient<Collector> {
        Patient {
            inner: Collector::default(),
            collector: "http://c:1".into(),
            backlog: Arc::default(),
            said: Mutex::default(),
        }
    }

    fn lost(patient: &Patient<Collector>) -> u64 {
        patient.backlog.lost.load(Ordering::Relaxed)
    }

    fn span() -> SpanData {
        let context = sampled(TraceId::from(1), TraceState::NONE);
        let (now, scope) = (std::time::SystemTime::now(), InstrumentationScope::default());
        Span::root(context, SpanId::INVALID, "span", SpanKind::Server, now, scope).into_data()
    }

    #[test]
    fn a_complaint_is_made_once_a_minute_and_tells_all_that_was_lost() {
        let (patient, now) = (patient(), Instant::now());
        let fails = |lost_by_now: u64, after: Duration| {
            patient.backlog.lost.fetch_add(lost_by_now, Ordering::Relaxed);
            patient.tell(Some("away".into()), now + after);
        };
        fails(3, Duration::ZERO);
        assert_eq!(lost(&patient), 0, "told");
        fails(4, Duration::from_secs(30));
        fails(5, Duration::from_secs(59));
        assert_eq!(lost(&patient), 9, "kept for later");
        fails(1, REPEAT);
        assert_eq!(lost(&patient), 0);
        assert!(patient.said.lock().is_down);
        fails(2, REPEAT + Duration::from_secs(1));
        patient.tell(None, now + REPEAT + Duration::from_secs(2));
        assert!(!patient.said.lock().is_down);
        assert_eq!(lost(&patient), 0, "told with the good news");
    }

    #[test]
    fn a_collector_that_is_too_slow_is_complained_of_as_well() {
        let (patient, now) = (patient(), Instant::now());
        patient.tell(None, now);
        assert!(patient.said.lock().at.is_none());
        for (after, kept) in [(0, 0), (30, 7), (60, 0)] {
            patient.backlog.lost.fetch_add(7, Ordering::Relaxed);
            patient.tell(None, now + Duration::from_secs(after));
            assert_eq!(lost(&patient), kept, "{after}");
            assert!(!patient.said.lock().is_down);
        }
    }

    #[tokio::test]
    async fn what_fails_is_lost_and_no_longer_waits() {
        let patient = patient();
        patient.backlog.waiting.store(5, Ordering::Relaxed);
        patient.said.lock().at = Some(Instant::now());
        assert!(patient.export(vec![span(), span()]).await.is_ok());
        assert_eq!(lost(&patient), 2);
        patient.backlog.lost.store(0, Ordering::Relaxed);
        patient.inner.works.store(true, Ordering::Relaxed);
        assert!(patient.export(vec![span(), span(), span()]).await.is_ok());
        assert_eq!(lost(&patient), 0);
        assert_eq!(patient.backlog.waiting.load(Ordering::Relaxed), 0);
    }
}
