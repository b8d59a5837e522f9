//! One attempt of a call: its request out on a connection, its response in.
//!
//! This is the line between gRPC and HTTP/2, for unary calls and for streams.
//! Whether to try again is decided in [`super::call`].
//!
//! # Flow control
//!
//! Bytes are given back to the peer's window when the caller takes their message
//! or waits for one. While it wants none, [`InFlight::hold`] moves arriving data
//! out of h2, which keeps some 250 bytes more for each frame, and the window stays
//! closed: one response can occupy at most the stream's window, however small its
//! messages are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, Request, StatusCode, header};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::connection::Connection;
use super::failure::{Failure, Fate, code_of_http};
use super::framing::{self, Decoder, Violation};
use super::linger::{self, Abandoned, Evidence};
use super::permit::Permit;
use super::requests::Outlet;
use super::status::{says_ok, says_over, status_of};
use super::stream::ClientStream;

/// How long before a call's deadline a status that says so counts as the time
/// being over: clocks of servers tick a little earlier.
const LAST: Duration = Duration::from_millis(50);

/// A request that was sent. Its stream must not be dropped before it has ended:
/// when this is dropped, an unfinished stream runs out in [`linger`], so that no
/// number of dropped calls harms the connection.
pub(super) struct InFlight {
    stream: Option<ClientStream>,
    permit: Option<Permit>,
    /// The deadline that was sent to the service, if any.
    deadline: Option<Instant>,
    evidence: Evidence,
    decoder: Decoder,
    /// How many bytes in the decoder are still missing from the peer's window.
    held: usize,
    /// Where further messages of the request come from.
    outlet: Option<Arc<Outlet>>,
}

/// How a request is sent.
pub(super) struct Sending<'a> {
    /// The current time, which the caller has read already.
    pub(super) now: Instant,
    /// The deadline in the head for the service, if any.
    pub(super) deadline: Option<Instant>,
    /// Whether a time-out counts against the connection.
    pub(super) counts: bool,
    /// Where further messages come from; `None`: there are none.
    pub(super) outlet: Option<&'a Arc<Outlet>>,
}

/// A response that goes no further.
pub(super) enum Ended {
    /// The stream is over, with this status or failure.
    Stream(Failure),
    /// Enough is known, but the peer may still be sending.
    Early(Failure),
}

impl InFlight {
    /// Sends a request; all of it at once, if there are no further messages.
    /// `message` is the first one; `None`: it comes later.
    pub(super) fn send(
        permit: Permit,
        head: Request<()>,
        message: Option<Bytes>,
        sending: &Sending<'_>,
    ) -> Result<Self, Failure> {
        let payload = message.map(framing::frame).transpose().map_err(Failure::unsendable)?;
        let connection = permit.connection();
        let sent = connection.requests().send_request(head, false);
        let (response, mut request) = sent.map_err(|error| match connection.closing() {
            Some(_) => Failure::not_sent(&error),
            None => Failure::unsendable(error),
        })?;
        if let Some(payload) = payload {
            // Fails only when the stream has just been closed, and then the
            // response says why.
            let _ = request.send_data(payload, sending.outlet.is_none());
        }
        let evidence =
            Evidence { since: sending.counts.then(|| connection.answers()), sent: sending.now };
        let outlet = sending.outlet.map(|outlet| {
            outlet.attach(request);
            Arc::clone(outlet)
        });
        Ok(Self {
            stream: Some(ClientStream::Awaited(response)),
            permit: Some(permit),
            deadline: sending.deadline,
            evidence,
            decoder: Decoder::default(),
            held: 0,
            outlet,
        })
    }

    /// Reads the response to a unary call, once.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn only_message(mut self) -> Result<Bytes, Failure> {
        let read = self.read_only_message().await;
        read.map_err(|ended| self.ended(ended))
    }

    async fn read_only_message(&mut self) -> Result<Bytes, Ended> {
        let head = self.head().await?;
        let message = loop {
            if let Some(message) = self.next()? {
                break Some(message);
            }
            if !self.pull().await? {
                break None;
            }
        };
        while message.is_some() {
            if !self.decoder.is_empty() {
                return Err(Ended::violation(Violation::Several));
            }
            if !self.pull().await? {
                break;
            }
        }
        self.trailers(&head).await?;
        self.stream = None;
        message.ok_or_else(|| Ended::Stream(malformed(Violation::None)))
    }

    /// Waits for the head of the response, once. Unless it is all there is, it
    /// is that of a gRPC response.
    pub(super) async fn head(&mut self) -> Result<Parts, Ended> {
        let Some(stream) = &mut self.stream else { return Err(Ended::violation(Violation::None)) };
        let permit = &mut self.permit;
        let head = match stream.head().await {
            Ok(Some(head)) => head,
            Ok(None) => return Err(Ended::violation(Violation::None)),
            Err(error) => {
                let why = permit.as_ref().and_then(|permit| permit.connection().broken_off());
                return Err(Ended::Stream(Failure::broken(&error).because(why)));
            }
        };
        if let Some(permit) = permit {
            // A server ends a call by itself when its time is over, whatever its
            // handlers do: that is no answer.
            if stream.is_ended() && says_over(&head.headers) && is_late(self.deadline) {
                self.evidence.hold_against(permit.connection());
            } else {
                permit.connection().answered();
            }
            permit.answered();
        }
        if !stream.is_ended()
            && let Some(failure) = not_grpc(&head)
        {
            return Err(Ended::Early(failure));
        }
        Ok(head)
    }

    /// The next message, if it has been read. The bytes that it takes may be sent
    /// anew by the peer.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Ended> {
        let message = self.decoder.next().map_err(Ended::violation)?;
        if self.held > 0 {
            // Also the bytes of an incomplete message: it may be larger than the
            // window.
            let taken = match &message {
                Some(message) => self.held.min(framing::size(message)),
                None => self.held,
            };
            self.held -= taken;
            if let Some(stream) = &mut self.stream {
                stream.release(taken);
            }
        }
        Ok(message)
    }

    /// Waits for more of the body, and gives it back to the peer's window at once:
    /// the caller waits for a message. Returns `false` at the end.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; nothing is lost.
    pub(super) async fn pull(&mut self) -> Result<bool, Ended> {
        let size = self.hold().await?;
        if let (Some(stream), Some(size)) = (&mut self.stream, size) {
            self.held -= size;
            stream.release(size);
        }
        Ok(size.is_some())
    }

    /// Waits for more of the body, and keeps it from the peer's window: the caller
    /// wants no message now. Returns how much came; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; nothing is lost.
    pub(super) async fn hold(&mut self) -> Result<Option<usize>, Ended> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        match stream.data().await {
            None => Ok(None),
            Some(Err(error)) => Err(self.broken(&error)),
            Some(Ok(chunk)) => {
                let size = chunk.len();
                self.held += size;
                self.decoder.push(chunk);
                Ok(Some(size))
            }
        }
    }

    /// Whether a message has been read. An error: the bytes read are no message.
    pub(super) fn has_message(&mut self) -> Result<bool, Violation> {
        self.decoder.has_message()
    }

    /// Whether a part of a message has been read.
    pub(super) fn is_within_message(&self) -> bool {
        !self.decoder.is_empty()
    }

    /// Reads the status behind the last message, and returns the trailers if it
    /// is OK. The stream is over then.
    pub(super) async fn trailers(&mut self, head: &Parts) -> Result<Option<HeaderMap>, Ended> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let trailers = match stream.trailers().await {
            Ok(trailers) => trailers,
            Err(error) => return Err(self.broken(&error)),
        };
        if !trailers.as_ref().is_some_and(says_ok) {
            // Some peers put a status without a message into the head.
            let in_head = || status_of(head.headers.clone());
            match trailers.clone().and_then(status_of).or_else(in_head) {
                Some(status) if status.code() == Code::Ok => {}
                Some(status) => return Err(Ended::Stream(Failure::answered(status))),
                None => return Err(Ended::Stream(no_status(head.status))),
            }
        }
        match self.decoder.finish() {
            Ok(()) => Ok(trailers),
            Err(violation) => Err(Ended::Stream(malformed(violation))),
        }
    }

    /// The response goes no further. If the stream is over as well, nothing is
    /// left to linger.
    pub(super) fn ended(&mut self, ended: Ended) -> Failure {
        match ended {
            Ended::Stream(failure) => {
                self.over();
                failure
            }
            Ended::Early(failure) => failure,
        }
    }

    /// The stream is over for the service.
    pub(super) fn over(&mut self) {
        // Where the request has not ended, dropping the stream would reset it.
        if self.outlet.as_ref().is_none_or(|outlet| outlet.end()) {
            self.stream = None;
        }
    }

    /// The connection that it was sent on.
    pub(super) fn connection(&self) -> Option<&Arc<Connection>> {
        self.permit.as_ref().map(Permit::connection)
    }

    /// The stream has failed under a response that has begun: the call has been
    /// processed, whatever the peer says.
    fn broken(&self, error: &h2::Error) -> Ended {
        let why = self.connection().and_then(|connection| connection.broken_off());
        Ended::Stream(Failure { fate: Fate::Unknown, ..Failure::broken(error) }.because(why))
    }
}

/// Whether it is so close to the deadline that a server may say so by itself.
pub(super) fn is_late(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() + LAST >= deadline)
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut is_open = false;
        if let Some(outlet) = &self.outlet {
            is_open = outlet.is_open();
            outlet.detach();
        }
        if let (Some(stream), Some(permit)) = (self.stream.take(), self.permit.take()) {
            let (deadline, evidence) = (self.deadline, self.evidence);
            linger::adopt(Abandoned { stream, permit, deadline, evidence, is_open });
        }
    }
}

impl Ended {
    fn violation(violation: Violation) -> Self {
        Self::Early(malformed(violation))
    }
}

fn malformed(violation: Violation) -> Failure {
    Failure::malformed(Status::internal(violation.to_string()))
}

/// The failure for a head that gRPC's rules do not allow in front of a message.
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
