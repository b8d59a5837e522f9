//! The response of a stream, as its caller sees it: messages one by one, and the
//! status behind them.

use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::response::Parts;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::call::CallError;
use super::exchange::{Ended, InFlight};
use super::failure::Origin;
use super::pool::Pool;
use super::requests::Outlet;
use super::trail::Trail;

/// The response to a call that was opened. Nothing happens unless one of
/// [`Self::message`] and [`Self::hold`] is being awaited, so one of them should be
/// at all times: small messages that pile up in h2 meanwhile cost much memory,
/// and may end the connection.
///
/// Dropping it abandons the call: the service stops sending when the stream's
/// window is full, and the stream is reset when that does no harm.
pub struct Response {
    progress: Progress,
    limits: Limits,
    outlet: Option<Arc<Outlet>>,
    head: Option<Parts>,
    trailers: Option<HeaderMap>,
}

/// The call until its response has begun.
pub(super) type Opening = Pin<Box<dyn Future<Output = Result<(Begun, Report), CallError>> + Send>>;

enum Progress {
    Opening(Opening),
    Open(Box<Open>),
    /// It failed while the caller took no message.
    Failed(Box<CallError>),
    Ended,
}

/// How long a stream may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// When it must have ended, and the time it was given.
    pub(super) whole: Option<(Instant, Duration)>,
    /// How long the rest of a message may take to go on.
    pub(super) stall: Duration,
}

/// A response that has begun.
pub(super) struct Begun {
    pub(super) head: Parts,
    pub(super) rest: Rest,
}

/// The beginning of a response, behind its head.
pub(super) enum Rest {
    /// Its first message, and that there may be more.
    First(Bytes, InFlight),
    /// There is no message, and the status is OK, with these trailers.
    Nothing(Option<HeaderMap>),
}

/// A response that has not ended.
struct Open {
    in_flight: InFlight,
    first: Option<Bytes>,
    /// Whether all of the body has been read.
    read: bool,
    /// Why it ends behind the messages that were read.
    broken: Option<Ended>,
    /// Since when the rest of a message is waited for.
    stalled: Option<Instant>,
    report: Report,
}

/// The receivers of a failure.
pub(super) struct Report {
    /// Does not keep an upstream alive that is used by nothing but streams.
    pub(super) pool: Weak<Pool>,
    pub(super) trail: Option<Arc<Trail>>,
}

impl Response {
    pub(super) fn new(opening: Opening, limits: Limits, outlet: Option<Arc<Outlet>>) -> Self {
        let progress = Progress::Opening(opening);
        Self { progress, limits, outlet, head: None, trailers: None }
    }

    /// The metadata in front of the messages, once the first message, or the end,
    /// has been awaited. Before that the call may still be sent again.
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.head.as_ref().map(|head| &head.headers)
    }

    /// The metadata behind the messages, once the end has come with an OK. With
    /// another status, it is in the error.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The next message. `None`: the service has ended the call with an OK. An
    /// error ends it as well, and is returned once.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time, and called again; nothing is lost.
    pub async fn message(&mut self) -> Result<Option<Bytes>, CallError> {
        let result = self.next().await;
        if !matches!(result, Ok(Some(_))) {
            self.end();
        }
        result
    }

    /// Waits with the call while the caller takes no message. Data from the
    /// service is kept, and its window stays closed. Resolves when the next
    /// [`Self::message`] would return the end, which needs no room.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time, and called again; nothing is lost.
    pub async fn hold(&mut self) {
        if let Progress::Opening(opening) = &mut self.progress {
            match opening.as_mut().await {
                Ok((begun, report)) => self.begin(begun, report),
                Err(error) => self.progress = Progress::Failed(Box::new(error)),
            }
        }
        let Progress::Open(open) = &mut self.progress else { return };
        match self.limits.whole {
            None => open.hold().await,
            // The end has come then too.
            Some((at, _)) => drop(timeout_at(at, open.hold()).await),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        if let Progress::Opening(opening) = &mut self.progress {
            let (begun, report) = opening.as_mut().await?;
            self.begin(begun, report);
        }
        match &mut self.progress {
            Progress::Open(open) => {
                let message = open.message(self.limits).await?;
                if message.is_none()
                    && let Some(head) = &self.head
                {
                    self.trailers = open.trailers(head).await?;
                }
                Ok(message)
            }
            Progress::Failed(error) => Err((**error).clone()),
            Progress::Opening(_) | Progress::Ended => Ok(None),
        }
    }

    fn begin(&mut self, begun: Begun, report: Report) {
        self.head = Some(begun.head);
        match begun.rest {
            Rest::First(first, in_flight) => {
                let first = Some(first);
                let open =
                    Open { in_flight, first, read: false, broken: None, stalled: None, report };
                self.progress = Progress::Open(Box::new(open));
            }
            Rest::Nothing(trailers) => {
                self.trailers = trailers;
                self.end();
            }
        }
    }

    fn end(&mut self) {
        if let Some(outlet) = &self.outlet {
            outlet.close();
        }
        self.progress = Progress::Ended;
    }
}

impl Open {
    async fn message(&mut self, limits: Limits) -> Result<Option<Bytes>, CallError> {
        let late = |time| format!("the call has not ended within {time:?}");
        if let Some((_, time)) = limits.whole.filter(|(at, _)| *at <= Instant::now()) {
            return Err(self.out_of_time(late(time)));
        }
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        loop {
            match self.in_flight.next() {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(ended) => return Err(self.failed(ended)),
            }
            if let Some(ended) = self.broken.take() {
                return Err(self.failed(ended));
            }
            if self.read {
                return Ok(None);
            }
            let stalls = self.in_flight.is_within_message().then(|| {
                let since = *self.stalled.get_or_insert_with(Instant::now);
                since + limits.stall
            });
            let ends = limits.whole.map(|(at, _)| at);
            let pulled = match stalls.into_iter().chain(ends).min() {
                None => Ok(self.in_flight.pull().await),
                Some(at) => timeout_at(at, self.in_flight.pull()).await,
            };
            match (pulled, limits.whole) {
                (Ok(Ok(more)), _) => (self.read, self.stalled) = (!more, None),
                (Ok(Err(ended)), _) => return Err(self.failed(ended)),
                (Err(_), Some((at, time))) if at <= Instant::now() => {
                    return Err(self.out_of_time(late(time)));
                }
                (Err(_), _) => {
                    let time = limits.stall;
                    let why = format!("a message of the response has not gone on for {time:?}");
                    return Err(self.out_of_time(why));
                }
            }
        }
    }

    /// Resolves when nothing more can come, and no message is left.
    async fn hold(&mut self) {
        self.stalled = None;
        loop {
            let Ok(has_message) = self.in_flight.has_message() else { return };
            if self.read || self.broken.is_some() {
                if !has_message && self.first.is_none() {
                    return;
                }
                pending::<()>().await;
            }
            // All of it at once: h2 keeps data that is not read.
            match self.in_flight.hold().await {
                Ok(Some(_)) => {}
                Ok(None) => self.read = true,
                Err(ended) => self.broken = Some(ended),
            }
        }
    }

    async fn trailers(&mut self, head: &Parts) -> Result<Option<HeaderMap>, CallError> {
        match self.in_flight.trailers(head).await {
            Ok(trailers) => {
                self.in_flight.over();
                Ok(trailers)
            }
            Err(ended) => Err(self.failed(ended)),
        }
    }

    /// The response has failed after it had begun: the call is not sent again.
    fn failed(&mut self, ended: Ended) -> CallError {
        let failure = self.in_flight.ended(ended);
        let Report { pool, trail } = &self.report;
        if let Some(trail) = trail {
            trail.failed(failure.status.code());
        }
        if let (Some(pool), Some(connection)) = (pool.upgrade(), self.in_flight.connection()) {
            pool.failed(connection, &failure);
        }
        self.error(failure.status, failure.origin)
    }

    fn out_of_time(&self, why: String) -> CallError {
        self.error(Status::deadline_exceeded(why), Origin::Gateway)
    }

    fn error(&self, status: Status, origin: Origin) -> CallError {
        let connection = self.in_flight.connection();
        let endpoint = connection.map(|connection| Arc::clone(connection.endpoint().label()));
        CallError { status, origin, endpoint }
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").finish_non_exhaustive()
    }
}
