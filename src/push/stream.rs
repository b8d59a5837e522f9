//! Pushes of one call, and their receipts: both directions at once, with an
//! end to the patience for a backend that does not read.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::stream::SelectAll;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use super::counted::{Counted, Ongoing};
use super::oversize::is_too_large;
use super::receipt::{Of, PushReceipt};
use super::requests;
use super::span::{PushSpan, Traced};
use super::stopping::stopping;
use crate::broker::{Broker, Lane, Push, Receipts};
use crate::proto::push::PushRequest;

/// Receipts that are handed to the connection together, and how often as many
/// may wait for it to take them.
const CHUNK: usize = 64;
const READY: usize = 4;
/// A backend that takes no receipt for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pushes of one call under way at once; while there are as many, no further
/// request is read.
const MAX_PUSHES: usize = 1024;
/// The same for the receipts that are still to come, unless one push alone
/// has more.
const MAX_RECEIPTS: usize = 256 * 1024;

/// The stream of receipts to a backend.
pub(super) struct Answers {
    ready: mpsc::Receiver<Result<Vec<PushReceipt>, Status>>,
    /// Received receipts, to be returned one by one.
    next: std::vec::IntoIter<PushReceipt>,
    gave_up: Arc<AtomicBool>,
}

/// Where answers are given to a backend.
struct Back {
    ready: mpsc::Sender<Result<Vec<PushReceipt>, Status>>,
    /// The backend has not read for too long.
    gave_up: Arc<AtomicBool>,
}

fn channel(capacity: usize) -> (Back, Answers) {
    let (sender, ready) = mpsc::channel(capacity);
    let gave_up = Arc::new(AtomicBool::new(false));
    let back = Back { ready: sender, gave_up: Arc::clone(&gave_up) };
    (back, Answers { ready, next: Vec::new().into_iter(), gave_up })
}

impl Stream for Answers {
    type Item = Result<PushReceipt, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(receipt) = self.next.next() {
                return Poll::Ready(Some(Ok(receipt)));
            }
            match std::task::ready!(self.ready.poll_recv(cx)) {
                Some(Ok(chunk)) => self.next = chunk.into_iter(),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None if self.gave_up.swap(false, Ordering::AcqRel) => {
                    let text = format!("no receipt was read for {} s", PATIENCE.as_secs());
                    return Poll::Ready(Some(Err(Status::resource_exhausted(text))));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Sends one push; the request has been found good.
pub(super) async fn one(
    broker: &Broker,
    counted: &Arc<Counted>,
    traced: Option<Traced>,
    id: String,
    push: Push,
) -> Answers {
    let (traced, mut lane) = (traced.as_ref(), Lane::default());
    let mut pushed = Pushed::begin(broker, counted, traced, id, push, &mut lane).await;
    let (back, answers) = channel(READY.min(pushed.receipts.len().div_ceil(CHUNK).max(1)));
    tokio::spawn(async move {
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = gather(&mut pushed) => chunk,
                // The caller has gone: the rest has no receiver.
                () = back.ready.closed() => return,
            };
            if chunk.is_empty() || back.give(Ok(chunk)).await.is_err() {
                return;
            }
        }
    });
    answers
}

/// The receipts that are there, but not more than a connection is handed
/// together: waits for one; none is the end.
///
/// # Cancel safety
///
/// May be dropped; no receipt is lost.
async fn gather(pushed: &mut (impl Stream<Item = PushReceipt> + Unpin)) -> Vec<PushReceipt> {
    let mut chunk = Vec::new();
    let mut next = pushed.next().await;
    while let Some(receipt) = next {
        chunk.push(receipt);
        next = if chunk.len() < CHUNK { pushed.next().now_or_never().flatten() } else { None };
    }
    chunk
}

/// Sends pushes as they come, until there is one that cannot be sent, or the
/// server stops.
pub(super) fn many(
    broker: Arc<Broker>,
    counted: Arc<Counted>,
    traced: Option<Traced>,
    requests: Streaming<PushRequest>,
    stopped: watch::Receiver<bool>,
) -> Answers {
    let (back, answers) = channel(READY);
    tokio::spawn(async move {
        // An error means that there is no receiver any more.
        let _end = converse(&broker, &counted, traced.as_ref(), requests, stopped, &back).await;
    });
    answers
}

async fn converse(
    broker: &Arc<Broker>,
    counted: &Arc<Counted>,
    traced: Option<&Traced>,
    mut requests: Streaming<PushRequest>,
    stopped: watch::Receiver<bool>,
    back: &Back,
) -> Result<(), Gone> {
    let mut stop = pin!(stopping(stopped));
    let mut pushes = SelectAll::new();
    let mut receipts_to_come = 0;
    let mut end = None;
    let mut lane = Lane::default();
    while end.is_none() || !pushes.is_empty() {
        let is_full = pushes.len() >= MAX_PUSHES || receipts_to_come >= MAX_RECEIPTS;
        tokio::select! {
            // None: the last push was found to have no further receipt. That
            // may be all there was to wait for.
            chunk = gather(&mut pushes), if !pushes.is_empty() => {
                // Receipts of other gateways are not among those expected.
                receipts_to_come = receipts_to_come.saturating_sub(chunk.len());
                if pushes.is_empty() {
                    receipts_to_come = 0;
                }
                if !chunk.is_empty() {
                    back.give(Ok(chunk)).await?;
                }
            }
            request = requests.message(), if end.is_none() && !is_full => {
                match begin(broker, counted, traced, request, &mut lane).await {
                    Ok(Some(begun)) => {
                        receipts_to_come += begun.receipts.len();
                        pushes.push(begun);
                    }
                    Ok(None) => end = Some(Ok(())),
                    Err(status) => end = Some(Err(status)),
                }
            }
            () = &mut stop, if end.is_none() => {
                end = Some(Err(Status::unavailable("the gateway stops")));
            }
            () = back.ready.closed() => return Err(Gone),
        }
    }
    match end {
        Some(Err(status)) => back.give(Err(status)).await,
        _ => Ok(()),
    }
}

async fn begin(
    broker: &Arc<Broker>,
    counted: &Arc<Counted>,
    traced: Option<&Traced>,
    request: Result<Option<PushRequest>, Status>,
    lane: &mut Lane,
) -> Result<Option<Pushed>, Status> {
    let Some(request) = request.map_err(mend)? else { return Ok(None) };
    let (id, push) = counted.checked(requests::push(request, broker))?;
    Ok(Some(Pushed::begin(broker, counted, traced, id, push, lane).await))
}

/// As `oversize::mend_status`, for a message within a stream.
fn mend(status: Status) -> Status {
    if status.code() == Code::OutOfRange && is_too_large(status.message().as_bytes()) {
        return Status::resource_exhausted(status.message());
    }
    status
}

/// The answers have no reader any more.
struct Gone;

impl Back {
    async fn give(&self, answer: Result<Vec<PushReceipt>, Status>) -> Result<(), Gone> {
        // Nearly always there is room, and no need for a clock.
        let answer = match self.ready.try_send(answer) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(answer)) => answer,
            Err(TrySendError::Closed(_)) => return Err(Gone),
        };
        match timeout(PATIENCE, self.ready.send(answer)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone),
            Err(_) => {
                tracing::warn!(patience = ?PATIENCE, "a backend does not read its receipts");
                self.gave_up.store(true, Ordering::Release);
                Err(Gone)
            }
        }
    }
}

/// A push under way.
struct Pushed {
    receipts: Receipts,
    of: Arc<Of>,
    counted: Arc<Counted>,
    began: Instant,
    span: Option<Box<PushSpan>>,
    /// Counts it as long as it is under way.
    _ongoing: Ongoing,
}

impl Pushed {
    async fn begin(
        broker: &Broker,
        counted: &Arc<Counted>,
        traced: Option<&Traced>,
        id: String,
        push: Push,
        lane: &mut Lane,
    ) -> Self {
        let (counted, began) = (Arc::clone(counted), Instant::now());
        let ongoing = counted.push(push.confirm);
        let span = traced.and_then(|traced| traced.begin(&id, &push));
        let of = Of { id, confirm: push.confirm, node: Arc::clone(broker.node()) };
        let receipts = broker.push(push, lane).await;
        Self { receipts, of: Arc::new(of), counted, began, span, _ongoing: ongoing }
    }
}

impl Stream for Pushed {
    type Item = PushReceipt;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PushReceipt>> {
        let this = &mut *self;
        let tell = |receipt| {
            let told = PushReceipt { receipt, of: Arc::clone(&this.of) };
            this.counted.receipt(told.outcome(), this.of.confirm, this.began);
            if let Some(span) = &mut this.span {
                span.receipt(told.outcome());
            }
            told
        };
        let next = this.receipts.poll_next_unpin(cx).map(|receipt| receipt.map(tell));
        if let (Poll::Ready(None), Some(span)) = (&next, &mut this.span) {
            span.complete();
        }
        next
    }
}
