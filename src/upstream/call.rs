//! A call, its possible results, and the attempts in between.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{self, PathAndQuery, Uri};
use http::{Method, Request, Version};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};

use super::connection::Connection;
use super::endpoint::Endpoint;
use super::exchange::{InFlight, Sending, is_late};
use super::failure::{Failure, Fate, Origin};
use super::metadata::{Metadata, Own, Timeout};
use super::permit::Permit;
use super::pool::{Pool, Unavailable};
use super::requests::Outlet;
use super::trail::Trail;

/// How often a call that provably never reached a service is sent in all.
const ATTEMPTS: u32 = 3;
/// How long a call that may have reached one waits before it is sent again, at
/// most; spread over the second half of it.
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// A request message of this size or more is not kept for another attempt for
/// as long as the answer takes, but for [`HELD`].
const LARGE: usize = 1024;
/// Within this time a peer that does not process a call says so. Memory is worth
/// more than another attempt after that.
const HELD: Duration = Duration::from_secs(1);
/// The longest timeout; `grpc-timeout` can express little more in milliseconds.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_hours(24);

/// One call: a unary one, or the beginning of a stream.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method, `/package.Service/Method`.
    pub path: PathAndQuery,
    /// The metadata that it shares with other calls.
    pub metadata: Arc<Metadata>,
    /// The values of the metadata that it has of its own.
    pub own: Own,
    /// The serialized request message.
    pub message: Bytes,
    /// How long the caller waits, retries included; at most a day. For a stream, how
    /// long it waits for the first message.
    pub timeout: Duration,
    /// Whether the caller is in more of a hurry than the method's route is: to
    /// run out of this time says nothing about the service.
    pub hurried: bool,
    /// Whether the method may be executed twice, so that a call whose fate is
    /// unknown may be sent again.
    pub retry: bool,
    /// Records every attempt; `None`: attempts are not recorded.
    pub trail: Option<Arc<Trail>>,
}

/// A call that did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", crate::metrics::status_text(status))]
pub struct CallError {
    /// Code, message, details and metadata.
    pub status: Status,
    /// The side that reported it.
    pub origin: Origin,
    /// The address the call was last sent to, if it was sent at all.
    pub endpoint: Option<Arc<str>>,
}

/// How far an attempt goes before the call has succeeded, and cannot be sent again.
pub(super) trait Goal: Sync {
    /// The result of success.
    type Reached;

    /// The deadline that is sent to the service. `first`: that of the attempts.
    fn deadline(&self, first: Instant) -> Option<Instant>;

    /// Where further messages of the request come from.
    fn outlet(&self) -> Option<&Arc<Outlet>>;

    /// Whether the call's own message is sent at once.
    fn sends_message(&self) -> bool;

    /// Whether to run out of time says something about the service.
    fn counts(&self) -> bool;

    /// Converts the permit into one for the call's kind.
    fn admit(&self, permit: &mut Permit) -> Result<(), Failure>;

    /// Reads the response so far.
    fn reach(sent: InFlight) -> impl Future<Output = Result<Self::Reached, Failure>> + Send;
}

/// A unary call: the one message, with an OK behind it.
pub(super) struct Unary;

impl Goal for Unary {
    type Reached = Bytes;

    fn deadline(&self, first: Instant) -> Option<Instant> {
        Some(first)
    }

    fn outlet(&self) -> Option<&Arc<Outlet>> {
        None
    }

    fn sends_message(&self) -> bool {
        true
    }

    fn counts(&self) -> bool {
        true
    }

    fn admit(&self, _: &mut Permit) -> Result<(), Failure> {
        Ok(())
    }

    fn reach(sent: InFlight) -> impl Future<Output = Result<Bytes, Failure>> + Send {
        sent.only_message()
    }
}

/// Makes a call; see [`super::Upstream::call`].
/// The message is taken out of `call` once it is not needed any more.
pub(super) async fn make<G: Goal>(
    pool: &Pool,
    call: &mut Call,
    goal: &G,
) -> Result<G::Reached, CallError> {
    let deadline = Instant::now() + call.timeout.min(MAX_TIMEOUT);
    let mut last = None;
    // When the time is over, the attempt is dropped, and the sent request lingers.
    match timeout_at(deadline, attempts(pool, call, goal, deadline, &mut last)).await {
        Ok(result) => result,
        Err(_) => Err(CallError {
            status: Status::deadline_exceeded(format!("no answer within {:?}", call.timeout)),
            origin: Origin::Gateway,
            endpoint: last.map(|endpoint| Arc::clone(endpoint.label())),
        }),
    }
}

/// Sends the call until it is answered, or its fate forbids another attempt.
async fn attempts<G: Goal>(
    pool: &Pool,
    call: &mut Call,
    goal: &G,
    deadline: Instant,
    last: &mut Option<Arc<Endpoint>>,
) -> Result<G::Reached, CallError> {
    pool.retries.lock().earn();
    let mut previous: Option<CallError> = None;
    let mut retried = false;
    let mut attempt = 1;
    let told = goal.deadline(deadline);
    loop {
        let mut permit = match pool.acquire(last.as_ref()).await {
            Ok(permit) => permit,
            // The first failure says more than the lack of another endpoint.
            Err(unavailable) => return Err(previous.unwrap_or_else(|| unavailable.into())),
        };
        let connection = Arc::clone(permit.connection());
        let endpoint = last.insert(Arc::clone(connection.endpoint()));
        if let Some(trail) = &call.trail {
            trail.sent(endpoint);
        }
        let may_repeat = call.retry && !retried;
        let mut keeps = may_repeat || attempt < ATTEMPTS;
        let message = if keeps { call.message.clone() } else { std::mem::take(&mut call.message) };
        let message = goal.sends_message().then_some(message);
        let now = Instant::now();
        // An attempt that had little of the time left says nothing by running out of it.
        let remaining = deadline.saturating_duration_since(now);
        let counts =
            goal.counts() && !call.hurried && remaining * 2 >= call.timeout.min(MAX_TIMEOUT);
        let sending = Sending { now, deadline: told, counts, outlet: goal.outlet() };
        let sent = goal.admit(&mut permit).and_then(|()| {
            let remaining = told.map(|at| at.saturating_duration_since(now));
            let head = request(call, &connection, remaining, retried);
            InFlight::send(permit, head.map_err(Failure::unsendable)?, message, &sending)
        });
        let result = match sent {
            Ok(in_flight) => {
                let mut response = pin!(G::reach(in_flight));
                // There may be a hundred of them in a hundred calls.
                let is_burden = keeps && !may_repeat && call.message.len() >= LARGE;
                match is_burden.then(|| Box::pin(sleep(HELD))) {
                    None => response.await,
                    Some(held) => tokio::select! {
                        biased;
                        result = &mut response => result,
                        () = held => {
                            keeps = false;
                            call.message = Bytes::new();
                            response.await
                        }
                    },
                }
            }
            Err(failure) => Err(failure),
        };
        let failure = match result {
            Ok(reached) => {
                succeeded(pool, endpoint);
                return Ok(reached);
            }
            Err(failure) => failure,
        };
        if let Some(trail) = &call.trail {
            trail.failed(failure.status.code());
        }
        pool.failed(&connection, &failure);
        let is_over = matches!(failure.status.code(), Code::DeadlineExceeded | Code::Cancelled)
            && is_late(told);
        if failure.origin == Origin::Service && !is_over {
            succeeded(pool, endpoint);
        }
        let may_leave_again = match failure.fate {
            _ if goal.outlet().is_some_and(|outlet| outlet.is_used()) => false,
            Fate::Unprocessed => attempt < ATTEMPTS && keeps,
            Fate::Unknown => {
                may_repeat
                    && failure.status.code() == Code::Unavailable
                    && pool.retries.lock().spend(std::time::Instant::now())
            }
        };
        let error = CallError {
            status: failure.status,
            origin: failure.origin,
            endpoint: Some(Arc::clone(endpoint.label())),
        };
        if !may_leave_again {
            return Err(error);
        }
        pool.journal().retried();
        previous = Some(error);
        attempt += 1;
        if failure.fate == Fate::Unknown {
            retried = true;
            sleep(RETRY_DELAY.mul_f64(rand::random_range(0.5..1.0))).await;
        }
    }
}

/// The endpoint answered.
fn succeeded(pool: &Pool, endpoint: &Endpoint) {
    if endpoint.succeeded() {
        pool.back(endpoint);
    }
}

/// The head of one attempt's request.
fn request(
    call: &Call,
    connection: &Connection,
    remaining: Option<Duration>,
    retried: bool,
) -> Result<Request<()>, http::Error> {
    let target = &connection.endpoint().target;
    let mut uri = uri::Parts::default();
    uri.scheme = Some(target.scheme());
    uri.authority = Some(target.authority.clone());
    uri.path_and_query = Some(call.path.clone());
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::from_parts(uri)?;
    let timeout = remaining.map(|remaining| Timeout::new(remaining, call.timeout.min(MAX_TIMEOUT)));
    let introduces = connection.is_first_call();
    *request.headers_mut() = call.metadata.of_attempt(&call.own, timeout, retried, introduces);
    Ok(request)
}

impl From<Unavailable> for CallError {
    fn from(Unavailable(problem): Unavailable) -> Self {
        Self { status: Status::unavailable(&*problem), origin: Origin::Gateway, endpoint: None }
    }
}
