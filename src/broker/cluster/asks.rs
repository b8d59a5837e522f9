//! Questions that are under way, and the answers that come in for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{Message, StatusCode};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::mpsc;

use super::subjects;
use crate::proto::cluster::Answer;

/// The questions of this gateway that are under way.
#[derive(Default)]
pub(super) struct Asks {
    next: AtomicU64,
    pending: Mutex<HashMap<u64, mpsc::UnboundedSender<Arrival>>>,
}

/// An answer, or the lack of one.
pub(super) struct Arrival {
    /// The part of the question.
    pub(super) part: u32,
    /// `None`: there are no listeners.
    pub(super) answer: Option<Answer>,
}

/// A question that is under way, until this is dropped.
pub(super) struct Pending {
    /// Its number.
    pub(super) number: u64,
    asks: Arc<Asks>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
}

impl Asks {
    /// A new question.
    pub(super) fn open(self: &Arc<Self>) -> Pending {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // No more answers wait here than there are sessions to report.
        let (sender, arrivals) = mpsc::unbounded_channel();
        self.pending.lock().insert(number, sender);
        Pending { number, asks: Arc::clone(self), arrivals }
    }

    /// A message has come in under a [reply](super::Subjects::reply) subject.
    pub(super) fn arrived(&self, message: &Message) {
        let Some((number, part)) = subjects::read_reply(&message.subject) else { return };
        let sender = self.pending.lock().get(&number).cloned();
        // There is no receiver any more.
        let Some(sender) = sender else { return };
        let answer = if message.status == Some(StatusCode::NO_RESPONDERS) {
            None
        } else {
            match Answer::decode(message.payload.clone()) {
                Ok(answer) => Some(answer),
                Err(error) => {
                    tracing::warn!(%error, "another gateway's answer cannot be read");
                    return;
                }
            }
        };
        // As above.
        let _waiting = sender.send(Arrival { part, answer });
    }
}

impl Pending {
    /// The next arrival.
    ///
    /// # Cancel safety
    ///
    /// May be dropped; nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.asks.pending.lock().remove(&self.number);
    }
}
