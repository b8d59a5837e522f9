//! The Push API: the gRPC server through which backends reach clients.
//!
//! Only the protocol: requests are checked and translated for the
//! [`broker`](crate::broker), and its results are streamed back. Callers are
//! authenticated here: bearer tokens ([`tokens`]), certificates
//! ([`crate::tls`]). Nothing here knows of WebSockets.

pub mod codec;
mod counted;
mod generated;
mod incoming;
mod oversize;
mod receipt;
mod requests;
mod service;
mod span;
mod stopping;
mod stream;
pub mod tokens;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::server::NamedService;
use tonic::service::InterceptorLayer;
use tonic::transport::Server as Transport;

use crate::broker::Broker;
use crate::metrics::Pushes;
use crate::proto::push::FILE_DESCRIPTOR_SET;
use crate::tls::Tls;
use crate::trace::Tracing;
use counted::Counted;
use generated::push_service_server::PushServiceServer;
use oversize::mend_status;
pub use requests::MAX_PUSH_ID;
use service::Service;
use stopping::stopping;
use tokens::Tokens;

/// The largest request: gRPC's usual 4 MiB.
const MAX_REQUEST: usize = 4 * 1024 * 1024;
/// Calls at once over one connection.
const MAX_CALLS: u32 = 1024;
/// Unread bytes that a backend may send, per call and per connection (HTTP/2
/// flow control). A stream of pushes is not read while it is to wait, and must
/// leave room for the calls beside it. h2 also bounds the small DATA frames
/// that wait to be read, by half of the connection's window: a call's share
/// full of the smallest pushes counts 1.6 MB there, and running out of it
/// ends the connection.
const CALL_WINDOW: u32 = 64 * 1024 - 1;
const CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;
/// HTTP/2 pings detect backends that vanish without closing the connection.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long calls may take to end when the server stops.
const GOODBYE: Duration = Duration::from_secs(2);

/// A running server. Dropping it ends it at once.
pub struct Server {
    stop: watch::Sender<bool>,
    health: tonic_health::server::HealthReporter,
    task: JoinHandle<()>,
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listener cannot be used.
    #[error("{0}")]
    Listener(#[from] io::Error),
    /// The descriptors that were compiled in cannot be reflected.
    #[error("the push API has no reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl Server {
    /// Serves on a bound listener, in the calling runtime.
    pub async fn start(
        listener: std::net::TcpListener,
        tls: Option<Arc<Tls>>,
        tokens: Arc<Tokens>,
        broker: Arc<Broker>,
        metrics: &Pushes,
        tracing: Option<Arc<Tracing>>,
    ) -> Result<Self, StartError> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let (stop, stopped) = watch::channel(false);
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<PushServiceServer<Service>>().await;
        let counted = Arc::new(Counted::new(metrics));
        let service = PushServiceServer::new(Service::new(
            broker,
            Arc::clone(&counted),
            tracing,
            stopped.clone(),
        ))
        .max_decoding_message_size(MAX_REQUEST);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let (v1, v1alpha) = (reflection().build_v1()?, reflection().build_v1alpha()?);
        // Health is open: probes of schedulers have no tokens.
        let guard = InterceptorLayer::new(tokens::Guard::new(tokens, counted));
        let router = Transport::builder()
            .max_concurrent_streams(MAX_CALLS)
            .initial_stream_window_size(CALL_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .layer(tower::util::MapResponseLayer::new(mend_status))
            .add_service(health_service)
            .add_service(tower::Layer::layer(&guard, service))
            .add_service(tower::Layer::layer(&guard, v1))
            .add_service(tower::Layer::layer(&guard, v1alpha));
        let incoming = incoming::accept(listener, tls, stopped.clone());
        let task = tokio::spawn(async move {
            let serving = router.serve_with_incoming_shutdown(incoming, stopping(stopped));
            if let Err(error) = serving.await {
                tracing::error!(%error, "the push API has failed");
            }
        });
        Ok(Self { stop, health, task })
    }

    /// Reports this gateway as not serving, and goes on serving.
    pub async fn drain(&self) {
        self.health.set_not_serving::<PushServiceServer<Service>>().await;
        self.health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    }

    /// Ends watches, lets other calls finish for two seconds, and stops.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // Clearing the status also ends its health watches.
        for service in ["", PushServiceServer::<Service>::NAME] {
            self.health.clear_service_status(service).await;
        }
        if tokio::time::timeout(GOODBYE, &mut self.task).await.is_err() {
            tracing::warn!("calls of the push API were cut off");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
