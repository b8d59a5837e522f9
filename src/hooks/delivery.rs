//! One event on its way: attempts, and the waits between them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;

use super::{Event, Outcome, Rpc};
use crate::callout::{Answer, Because, NoResponse};
use crate::upstream::Backoff;

/// How old an event may become; then it is given up. It bounds how long a
/// session's next event may be held up, too.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The wait after one failed attempt.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The wait after many.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// An event to be delivered to a hook. It keeps its hook across a reload.
pub(super) struct Delivery {
    event: Event,
    rpc: Arc<Rpc>,
    worker: usize,
    message: Bytes,
    give_up: Instant,
}

/// Why an event is not delivered yet.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("not sent: too many calls of this hook are under way")]
    Waiting,
    #[error("no answer")]
    Unanswered,
    #[error("{}", crate::metrics::status_text(.0))]
    Status(Status),
    #[error("the response {}{}", .0, .1.as_deref().map(|why| format!(": {why}")).unwrap_or_default())]
    NotAccepted(Because, Option<String>),
    #[error(transparent)]
    NoResponse(NoResponse),
}

impl Delivery {
    /// An event that has just happened.
    pub(super) fn new(event: Event, rpc: &Arc<Rpc>, worker: usize, message: Bytes) -> Self {
        Self { event, rpc: Arc::clone(rpc), worker, message, give_up: Instant::now() + PATIENCE }
    }

    /// The serialized request message.
    pub(super) fn message(&self) -> &Bytes {
        &self.message
    }

    /// The event.
    pub(super) fn event(&self) -> Event {
        self.event
    }

    /// Calls the hook until it has taken the event, or the event is too old.
    /// `hurry` ends a wait early.
    pub(super) async fn deliver(&self, session: &str, hurry: &Notify) -> Outcome {
        let (hook, rpc) = (self.event.name(), self.rpc.callout.rpc());
        let mut attempts = 0_u32;
        let mut failure = Failure::Waiting;
        let attempting = self.attempt(session, hurry, &mut attempts, &mut failure);
        let delivered = timeout_at(self.give_up, attempting).await;
        match delivered {
            Ok(()) => {
                tracing::debug!(session, hook, rpc, attempts, "hook delivered");
                Outcome::Delivered
            }
            Err(_) => {
                tracing::warn!(session, hook, rpc, attempts, status = %failure, "hook given up");
                Outcome::GivenUp
            }
        }
    }

    async fn attempt(
        &self,
        session: &str,
        hurry: &Notify,
        attempts: &mut u32,
        failure: &mut Failure,
    ) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        while let Err(failed) = self.call(attempts, failure).await {
            let hook = self.event.name();
            tracing::debug!(session, hook, attempts = *attempts, status = %failed, "hook failed");
            *failure = failed;
            tokio::select! {
                () = sleep(backoff.failed(rand::random())) => {}
                () = hurry.notified() => backoff.succeeded(),
            }
        }
    }

    async fn call(&self, attempts: &mut u32, failure: &mut Failure) -> Result<(), Failure> {
        // The semaphore is never closed; if it were, a call too many would do no
        // harm.
        let _slot = self.rpc.slots.acquire().await.ok();
        *attempts += 1;
        if matches!(failure, Failure::Waiting) {
            *failure = Failure::Unanswered;
        }
        let response = (self.rpc.call)(self.worker, self.message.clone()).await;
        match self.rpc.callout.read(response.map_err(Failure::Status)?) {
            Ok(Answer::Yes) => Ok(()),
            Ok(Answer::No { because, reason }) => Err(Failure::NotAccepted(because, reason)),
            Err(error) => Err(Failure::NoResponse(error)),
        }
    }
}
