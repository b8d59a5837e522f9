//! Opens streams: the same attempts as those of a unary call, until the response
//! has begun.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status};

use super::Upstream;
use super::call::{self, Call, Goal, MAX_TIMEOUT};
use super::exchange::InFlight;
use super::failure::{Failure, Fate, Fault, Origin};
use super::permit::Permit;
use super::requests::{Outlet, Requests};
use super::response::{Begun, Limits, Report, Response, Rest};

/// Until the first message of a response, or its end, has come.
struct First {
    deadline: Option<Instant>,
    outlet: Option<Arc<Outlet>>,
    sends_message: bool,
}

impl Upstream {
    /// Makes one call with one message, and any number of them in the response,
    /// over the connections of `worker`.
    ///
    /// `call.timeout` is the time until the first message has come, retries included;
    /// after that, no message may stall for that long. It is not sent to the
    /// service. `whole` is the time of the whole call, which is sent.
    ///
    /// The response must be polled inside the worker's runtime. It holds all it
    /// needs, so the upstream may be dropped meanwhile.
    pub fn open(self: &Arc<Self>, worker: usize, call: Call, whole: Option<Duration>) -> Response {
        self.start(worker, call, whole, None, true)
    }

    /// The same where further messages of the request may follow. `first`: whether
    /// the message of the call is one.
    pub fn open_requests(
        self: &Arc<Self>,
        worker: usize,
        call: Call,
        whole: Option<Duration>,
        first: bool,
    ) -> (Requests, Response) {
        let outlet = Arc::<Outlet>::default();
        let response = self.start(worker, call, whole, Some(Arc::clone(&outlet)), first);
        (Requests::new(outlet), response)
    }

    fn start(
        self: &Arc<Self>,
        worker: usize,
        mut call: Call,
        whole: Option<Duration>,
        outlet: Option<Arc<Outlet>>,
        sends_message: bool,
    ) -> Response {
        let stall = call.timeout.min(MAX_TIMEOUT);
        let whole = whole.map(|whole| (Instant::now() + whole.min(MAX_TIMEOUT), whole));
        if let Some((_, whole)) = whole {
            call.timeout = call.timeout.min(whole);
        }
        let deadline = whole.map(|(at, _)| at);
        let first = First { deadline, outlet: outlet.clone(), sends_message };
        let upstream = Arc::clone(self);
        let trail = call.trail.clone();
        let opening = async move {
            let pool = upstream.pool_for(worker)?;
            drop(upstream);
            let begun = call::make(&pool, &mut call, &first).await?;
            Ok((begun, Report { pool: Arc::downgrade(&pool), trail }))
        };
        Response::new(Box::pin(opening), Limits { whole, stall }, outlet)
    }
}

impl Goal for First {
    type Reached = Begun;

    fn deadline(&self, _: Instant) -> Option<Instant> {
        self.deadline
    }

    fn outlet(&self) -> Option<&Arc<Outlet>> {
        self.outlet.as_ref()
    }

    fn sends_message(&self) -> bool {
        self.sends_message
    }

    /// A service may be silent on a stream for as long as it likes, and some send
    /// the head with the first message.
    fn counts(&self) -> bool {
        false
    }

    fn admit(&self, permit: &mut Permit) -> Result<(), Failure> {
        if permit.opens_stream() {
            return Ok(());
        }
        let why = "too many streams are open on a connection to the service";
        Err(Failure {
            status: Status::new(Code::ResourceExhausted, why),
            origin: Origin::Gateway,
            fate: Fate::Unprocessed,
            fault: Fault::None,
        })
    }

    async fn reach(mut sent: InFlight) -> Result<Begun, Failure> {
        let head = sent.head().await.map_err(|ended| sent.ended(ended))?;
        let first = loop {
            match sent.next() {
                Ok(Some(first)) => break Some(first),
                Ok(None) => {}
                Err(ended) => return Err(sent.ended(ended)),
            }
            match sent.pull().await {
                Ok(true) => {}
                Ok(false) => break None,
                Err(ended) => return Err(sent.ended(ended)),
            }
        };
        let rest = match first {
            Some(first) => Rest::First(first, sent),
            None => {
                let trailers = sent.trailers(&head).await.map_err(|ended| sent.ended(ended))?;
                sent.over();
                Rest::Nothing(trailers)
            }
        };
        Ok(Begun { head, rest })
    }
}
