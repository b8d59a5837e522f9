//! Methods that stream, of the server in `grpc`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bridgehead::upstream::{Call, CallError, Response as Messages, Upstream};
use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::grpc::{Server, Setup, call, echo};

/// The path of the methods that stream.
pub const STREAMING: &str = "/test.Service/Stream";

pub type Outgoing = BoxStream<'static, Result<Bytes, Status>>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Outgoing>, Status>> + Send>>;

/// Answers the messages of a request with those of a response.
#[derive(Clone)]
pub struct StreamHandler(Arc<dyn Fn(Request<Streaming<Bytes>>) -> Answer + Send + Sync>);

impl tower_service::Service<Request<Streaming<Bytes>>> for StreamHandler {
    type Response = Response<Outgoing>;
    type Error = Status;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Answer {
        (self.0)(request)
    }
}

/// Serves a method that streams, and echoes the calls of others.
pub fn serve<F, S>(
    answer: impl Fn(Request<Streaming<Bytes>>) -> F + Send + Sync + 'static,
) -> Server
where
    F: Future<Output = Result<S, Status>> + Send + 'static,
    S: Stream<Item = Result<Bytes, Status>> + Send + 'static,
{
    serve_with(None, answer)
}

/// The same with a limit on the streams of a connection.
pub fn serve_with<F, S>(
    max_streams: Option<u32>,
    answer: impl Fn(Request<Streaming<Bytes>>) -> F + Send + Sync + 'static,
) -> Server
where
    F: Future<Output = Result<S, Status>> + Send + 'static,
    S: Stream<Item = Result<Bytes, Status>> + Send + 'static,
{
    let handler = StreamHandler(Arc::new(move |request| {
        let messages = answer(request);
        Box::pin(async move { messages.await.map(|messages| Response::new(messages.boxed())) })
    }));
    Server::start(Setup { streams: Some(handler), max_streams, ..Setup::new(echo()) })
}

/// A call of the method that streams, with five seconds for the first message.
pub fn stream(message: impl Into<Bytes>) -> Call {
    Call { path: STREAMING.parse().unwrap(), ..call(message) }
}

/// The messages up to the end, and how that is.
pub async fn all(response: &mut Messages) -> (Vec<Bytes>, Result<(), CallError>) {
    let mut messages = Vec::new();
    loop {
        let message = tokio::time::timeout(Duration::from_secs(10), response.message());
        match message.await.unwrap() {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Ok(())),
            Err(error) => return (messages, Err(error)),
        }
    }
}

/// The calls on all connections, abandoned ones included.
pub fn in_flight(upstream: &Upstream) -> usize {
    upstream.status().iter().map(|status| status.in_flight).sum()
}
