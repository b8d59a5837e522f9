//! Pushes on their way to the gateway: in order, beside the answers, and lost
//! where they cannot be delivered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::metrics::status_label;
use crate::proto::push::PushRequest;
use crate::proto::push::push_service_client::PushServiceClient;

/// Pushes that wait at most; a service would have a database for those beyond.
const QUEUE: usize = 1024;
/// How long one may take: the next ones wait for it.
const LIMIT: Duration = Duration::from_secs(5);

/// The Push API of the gateway in front of the services, once it is known where
/// that is. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct PushApi(Arc<OnceLock<PushServiceClient<Channel>>>);

/// Takes pushes and delivers them behind each other; clones share the queue.
#[derive(Debug, Clone)]
pub(super) struct Pusher {
    queue: mpsc::Sender<PushRequest>,
    has_overflowed: Arc<AtomicBool>,
}

impl PushApi {
    /// Sets its address: plain HTTP/2, without tokens. Only the first call counts.
    /// Must be called in a tokio runtime.
    pub fn is_at(&self, address: SocketAddr) {
        let Ok(endpoint) = Endpoint::from_shared(format!("http://{address}")) else { return };
        let channel = endpoint.connect_timeout(LIMIT).connect_lazy();
        self.0.get_or_init(|| PushServiceClient::new(channel));
    }

    /// Pushes, and waits until the gateway has it in all of its outboxes.
    async fn push(&self, push: PushRequest) -> Result<(), Status> {
        let client = self.0.get();
        let client = client.ok_or_else(|| Status::unavailable("it is not known where it is"))?;
        let delivery = async {
            let mut receipts = client.clone().push(push).await?.into_inner();
            while let Some(receipt) = receipts.message().await? {
                tracing::debug!(?receipt, "the demo has a receipt");
            }
            Ok(())
        };
        timeout(LIMIT, delivery)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
    }
}

impl Pusher {
    /// Begins to deliver, until the last clone is gone. Must be called in a
    /// tokio runtime.
    pub(super) fn start(api: PushApi) -> Self {
        let (pusher, mut queued) = Self::queue();
        tokio::spawn(async move {
            while let Some(push) = queued.recv().await {
                let push_id = push.push_id.clone();
                if let Err(status) = api.push(push).await {
                    let (code, reason) = (status_label(status.code() as i32), status.message());
                    tracing::warn!(push_id, code, reason, "the demo could not push");
                }
            }
        });
        pusher
    }

    /// A pusher, and the receiver of its pushes.
    pub(super) fn queue() -> (Self, mpsc::Receiver<PushRequest>) {
        let (queue, queued) = mpsc::channel(QUEUE);
        (Self { queue, has_overflowed: Arc::default() }, queued)
    }

    /// Takes a push; never waits.
    pub(super) fn push(&self, push: PushRequest) {
        let is_lost = self.queue.try_send(push).is_err();
        if is_lost && !self.has_overflowed.swap(true, Ordering::Relaxed) {
            tracing::warn!("the demo cannot push as fast as messages come; some are not pushed");
        }
    }
}
