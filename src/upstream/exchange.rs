//! One attempt of a call: its request out on a connection, its response in.
//!
//! This is the line between gRPC and HTTP/2. Whether to try again is decided
//! in [`super::call`].

use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, Request, StatusCode, header};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::connection::Permit;
use super::failure::{Failure, Fate, code_of_http};
use super::framing::{self, Assembly, Violation};
use super::linger::{self, Abandoned, Evidence};
use super::status::{says_ok, says_over, status_of};
use super::stream::ClientStream;

/// How long before a call's deadline a status that says so counts as the time
/// being over: clocks of servers tick a little earlier.
pub(super) const LAST: Duration = Duration::from_millis(50);

/// A request that was sent. Its stream must not be dropped before it has ended:
/// what is left of it when this is dropped runs out in [`linger`], so that no
/// number of dropped calls harms the connection.
pub(super) struct InFlight {
    stream: Option<ClientStream>,
    permit: Option<Permit>,
    deadline: Instant,
    evidence: Evidence,
}

/// A response that is no message.
enum Ended {
    /// The stream is over, with this status or failure.
    Stream(Failure),
    /// Enough is known, but the peer may still be sending.
    Early(Failure),
}

impl InFlight {
    /// Sends a request, all of it at once. `now`: the time, as the caller has it
    /// already. `counts`: whether it speaks against the connection if there is no
    /// answer by the deadline.
    pub(super) fn send(
        permit: Permit,
        head: Request<()>,
        message: Bytes,
        now: Instant,
        deadline: Instant,
        counts: bool,
    ) -> Result<Self, Failure> {
        let payload = framing::frame(message).map_err(Failure::unsendable)?;
        let connection = permit.connection();
        let sent = connection.requests().send_request(head, false);
        let (response, mut request) = sent.map_err(|error| match connection.closing() {
            Some(_) => Failure::not_sent(&error),
            None => Failure::unsendable(error),
        })?;
        // Fails only when the stream has just been closed, and then the
        // response says why.
        let _ = request.send_data(payload, true);
        let evidence = Evidence { since: counts.then(|| connection.answers()), sent: now };
        let stream = Some(ClientStream::Awaited(response));
        Ok(Self { stream, permit: Some(permit), deadline, evidence })
    }

    /// Reads the response, once. Whatever comes of it, `self` is to be dropped then.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn response(&mut self) -> Result<Bytes, Failure> {
        let result = self.read().await;
        if !matches!(result, Err(Ended::Early(_))) {
            self.stream = None;
        }
        result.map_err(Ended::into_failure)
    }

    async fn read(&mut self) -> Result<Bytes, Ended> {
        let Some(stream) = &mut self.stream else { return Err(Ended::violation(Violation::None)) };
        let permit = &self.permit;
        let unanswered = |error: h2::Error| {
            let connection = permit.as_ref().map(Permit::connection);
            let why = connection.and_then(|connection| connection.broken_off());
            Ended::Stream(Failure::broken(&error).because(why))
        };
        let Some(head) = stream.head().await.map_err(unanswered)? else {
            return Err(Ended::violation(Violation::None));
        };
        if let Some(permit) = permit {
            // A server ends a call by itself when its time is over, whatever its
            // handlers do: that is no answer.
            let is_late = || Instant::now() + LAST >= self.deadline;
            if stream.is_ended() && says_over(&head.headers) && is_late() {
                self.evidence.hold_against(permit.connection());
            } else {
                permit.connection().answered();
            }
        }
        // From here on the call has been processed, whatever the peer says.
        let broken = |error: h2::Error| {
            Ended::Stream(Failure { fate: Fate::Unknown, ..Failure::broken(&error) })
        };
        if stream.is_ended() {
            return Err(Ended::Stream(trailers_only(head)));
        }
        if let Some(failure) = not_grpc(&head) {
            return Err(Ended::Early(failure));
        }

        let mut assembly = Assembly::default();
        while let Some(chunk) = stream.data().await {
            assembly.push(chunk.map_err(broken)?).map_err(Ended::violation)?;
        }
        let trailers = stream.trailers().await.map_err(broken)?;
        let finish = |assembly: Assembly| {
            assembly.finish().map_err(|violation| Ended::violation(violation).into_stream())
        };
        if trailers.as_ref().is_some_and(says_ok) {
            return finish(assembly);
        }
        // Some peers put a status without a message into the head.
        match trailers.and_then(status_of).or_else(|| status_of(head.headers)) {
            Some(status) if status.code() == Code::Ok => finish(assembly),
            Some(status) => Err(Ended::Stream(Failure::answered(status))),
            None => Err(Ended::Stream(no_status(head.status))),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let (Some(stream), Some(permit)) = (self.stream.take(), self.permit.take()) {
            let (deadline, evidence) = (self.deadline, self.evidence);
            linger::adopt(Abandoned { stream, permit, deadline, evidence });
        }
    }
}

impl Ended {
    fn violation(violation: Violation) -> Self {
        Self::Early(Failure::malformed(Status::internal(violation.to_string())))
    }

    fn into_stream(self) -> Self {
        Self::Stream(self.into_failure())
    }

    fn into_failure(self) -> Failure {
        match self {
            Self::Stream(failure) | Self::Early(failure) => failure,
        }
    }
}

/// A response that is a head alone, which must then carry the status.
fn trailers_only(head: Parts) -> Failure {
    let http = head.status;
    match status_of(head.headers) {
        Some(status) if status.code() == Code::Ok => {
            Failure::malformed(Status::internal(Violation::None.to_string()))
        }
        Some(status) => Failure::answered(status),
        None => no_status(http),
    }
}

/// What a head means that gRPC's rules do not allow in front of a message.
fn not_grpc(head: &Parts) -> Option<Failure> {
    if head.status != StatusCode::OK {
        // A proxy on the way may answer with both.
        return Some(match status_of(head.headers.clone()) {
            Some(status) if status.code() != Code::Ok => Failure::answered(status),
            _ => no_status(head.status),
        });
    }
    if is_grpc(&head.headers) {
        return None;
    }
    let given = head.headers.get(header::CONTENT_TYPE);
    let given = given.map_or("none".into(), |value| String::from_utf8_lossy(value.as_bytes()));
    Some(Failure::malformed(Status::unknown(format!(
        "the answer is not gRPC: its content-type is {given}"
    ))))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn no_status(http: StatusCode) -> Failure {
    Failure::malformed(Status::new(
        code_of_http(http),
        format!("the answer carries no grpc-status, and HTTP status {http}"),
    ))
}
