//! The admin listener: for probes, Prometheus and people with `curl`.
//!
//! `/healthz` says that the process is alive, `/readyz` whether it should get
//! clients, with reasons if not, and `/metrics` has the counters. Nothing is
//! decided here: all content comes from [`Sources`].

mod readiness;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use readiness::Check;

use crate::edge::host;
use crate::metrics;
use crate::seldom::Seldom;

/// Connections at once; further ones wait.
const MAX_CONNECTIONS: usize = 64;
/// A request's head must be there by then.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection is closed after this time, even if it is active.
const PATIENCE: Duration = Duration::from_secs(60);
/// After an accept that failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const PATHS: &str = "there are /healthz, /readyz and /metrics\n";

/// The sources of the answers.
pub struct Sources {
    /// The checks of the gateway's readiness for clients.
    pub readiness: Box<dyn Fn() -> Vec<Check> + Send + Sync>,
    /// All metrics, in the text format of Prometheus.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
}

/// A running server. Dropping it ends it.
pub struct Server {
    task: JoinHandle<()>,
}

impl Server {
    /// Serves on a bound listener, in the calling runtime.
    ///
    /// # Errors
    ///
    /// The listener cannot be used.
    pub fn start(listener: std::net::TcpListener, sources: Sources) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { task: tokio::spawn(accept(listener, Arc::new(sources))) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, sources: Arc<Sources>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let warnings = Seldom::default();
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let sources = Arc::clone(&sources);
                tokio::spawn(async move {
                    let _too_long = timeout(PATIENCE, serve(stream, sources)).await;
                    drop(place);
                });
            }
            Err(error) => {
                if let Some(left_out) = warnings.is_due() {
                    tracing::warn!(
                        %error, left_out,
                        "cannot accept an admin connection; the next such warning in a minute"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, sources: Arc<Sources>) {
    let service = service_fn(move |request| {
        let response = respond(&request, &sources);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection broke");
    }
}

fn respond(request: &Request<Incoming>, sources: &Sources) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let host = host::check(request.version(), request.headers());
    let mut response = match request.uri().path() {
        _ if host.is_err() => {
            let wrong = host.err().unwrap_or_default();
            answer(StatusCode::BAD_REQUEST, TEXT, format!("{wrong}\n"))
        }
        _ if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            refused
        }
        "/healthz" => answer(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" => {
            let (is_ready, report) = readiness::report(&(sources.readiness)());
            let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            answer(status, "application/json", report)
        }
        "/metrics" => answer(StatusCode::OK, metrics::CONTENT_TYPE, (sources.metrics)()),
        _ => answer(StatusCode::NOT_FOUND, TEXT, PATHS),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
