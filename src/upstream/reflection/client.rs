//! The reflection service's client: a connection of its own, and a stream of
//! questions over it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream;
use http::HeaderMap;
use http::uri::{PathAndQuery, Uri};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::super::dial::{CONNECT_TIMEOUT, Target};
use super::super::greeting;
use super::super::resolver;
use super::super::source::Source;
use super::super::status::made_readable;
use super::super::tap::{Heard, Tapped};
use super::super::{Rules, Upstream};

/// The largest answer: a file with all of its imports.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A connection for one round of questions, closed when dropped.
pub(super) struct Connection {
    service: Http2,
    origin: Uri,
    /// Of every call.
    metadata: MetadataMap,
    heard: Arc<Heard>,
    _driver: JoinSet<()>,
}

/// Connects to the first endpoint of an upstream that answers. The error is the
/// last one's.
pub(super) async fn connect(
    upstream: &Upstream,
    rules: Option<&Rules>,
) -> Result<Connection, String> {
    let metadata = rules.map(|rules| rules.set().clone()).unwrap_or_default();
    let mut problem = "it has no address".to_owned();
    for source in &upstream.sources {
        let targets = match source {
            Source::Single(target) => vec![target.clone()],
            Source::Name(name) => match resolver::resolve(&*name.resolver, &name.host).await {
                Ok(addresses) => addresses.into_iter().map(|at| name.target(at)).collect(),
                Err(error) => {
                    problem = error.to_string();
                    continue;
                }
            },
        };
        for target in targets {
            match timeout(CONNECT_TIMEOUT, open(&target, &metadata)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => problem = error,
                Err(_) => problem = format!("{} does not answer", target.label),
            }
        }
    }
    Err(problem)
}

async fn open(target: &Target, metadata: &HeaderMap) -> Result<Connection, String> {
    let io = target.dial().await.map_err(|error| error.to_string())?;
    let origin = Uri::builder()
        .scheme(target.scheme())
        .authority(target.authority.clone())
        .path_and_query("/")
        .build()
        .map_err(|error| error.to_string())?;
    let heard = Arc::new(Heard::default());
    let stream = TokioIo::new(Tapped::new(io, Arc::clone(&heard)));
    let (requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .map_err(|error| format!("{}: {error}", target.label))?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // Its calls report how it ended.
        let _ = connection.await;
    });
    let metadata = MetadataMap::from_headers(metadata.clone());
    Ok(Connection { service: Http2(requests), origin, metadata, heard, _driver: driver })
}

/// A version of the reflection service. Their messages are the same.
#[derive(Debug, Clone, Copy)]
pub(super) enum Version {
    V1,
    V1Alpha,
}

impl Version {
    fn path(self) -> PathAndQuery {
        PathAndQuery::from_static(match self {
            Self::V1 => "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Self::V1Alpha => "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        })
    }
}

/// Asks one question after the other.
pub(super) struct Client<'a> {
    connection: &'a Connection,
    version: Version,
    /// Opened by the first question, and by the next after a failure: some
    /// servers end it when they do not know the answer.
    conversation: Option<Conversation>,
}

struct Conversation {
    questions: mpsc::UnboundedSender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
}

impl<'a> Client<'a> {
    pub(super) fn new(connection: &'a Connection, version: Version) -> Self {
        Self { connection, version, conversation: None }
    }

    /// The answer to a question. An error response is an error here, like errors
    /// of the call.
    pub(super) async fn ask(
        &mut self,
        question: MessageRequest,
    ) -> Result<MessageResponse, Status> {
        let answer = self.converse(question).await;
        let answer = answer.map_err(|status| self.connection.explained(status));
        if answer.is_err() {
            self.conversation = None;
        }
        match answer?.message_response {
            Some(MessageResponse::ErrorResponse(error)) => {
                Err(Status::new(Code::from_i32(error.error_code), error.error_message))
            }
            Some(answer) => Ok(answer),
            None => Err(Status::internal("an empty answer")),
        }
    }

    async fn converse(
        &mut self,
        question: MessageRequest,
    ) -> Result<ServerReflectionResponse, Status> {
        let question =
            ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let conversation = match &mut self.conversation {
            Some(conversation) => {
                // Fails only when the stream has ended, which the answer shows.
                let _ = conversation.questions.send(question);
                conversation
            }
            // The first question is there before the stream is opened: some
            // servers do not begin to answer without one.
            none => none.insert(self.connection.converse(self.version, question).await?),
        };
        let ended = || Status::unavailable("the server ended the conversation");
        conversation.answers.message().await?.ok_or_else(ended)
    }
}

impl Connection {
    /// Identifies the peer, where the call has failed because it does not
    /// speak HTTP/2, or not for long.
    fn explained(&self, status: Status) -> Status {
        // A status that tonic made of a transport's error carries that error.
        let is_transport = std::error::Error::source(&status).is_some();
        match greeting::unwelcome(&self.heard.first()) {
            Some(problem) if is_transport => Status::unavailable(problem),
            _ => status,
        }
    }

    async fn converse(
        &self,
        version: Version,
        first: ServerReflectionRequest,
    ) -> Result<Conversation, Status> {
        let (questions, asked) = mpsc::unbounded_channel();
        // The receiver is here, so this cannot fail.
        let _ = questions.send(first);
        let asked = stream::unfold(asked, |mut asked| async move {
            asked.recv().await.map(|question| (question, asked))
        });
        let mut grpc = Grpc::with_origin(self.service.clone(), self.origin.clone())
            .max_decoding_message_size(MAX_ANSWER);
        let codec = ProstCodec::default();
        let mut request = Request::new(asked);
        request.metadata_mut().clone_from(&self.metadata);
        let answers = grpc.streaming(request, version.path(), codec).await?;
        Ok(Conversation { questions, answers: answers.into_inner() })
    }
}

/// An HTTP/2 connection as tonic's clients want it.
#[derive(Clone)]
struct Http2(SendRequest<Body>);

type Exchange = Pin<Box<dyn Future<Output = Result<http::Response<Body>, hyper::Error>> + Send>>;

impl tower_service::Service<http::Request<Body>> for Http2 {
    type Response = http::Response<Body>;
    type Error = hyper::Error;
    type Future = Exchange;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Exchange {
        let response = self.0.send_request(request);
        Box::pin(async move { response.await.map(harmless) })
    }
}

/// Removes the parts of a response that would make tonic panic.
fn harmless(response: http::Response<Incoming>) -> http::Response<Body> {
    let (mut head, body) = response.into_parts();
    head.headers = made_readable(head.headers);
    let body = body.map_frame(|frame| match frame.into_trailers() {
        Ok(trailers) => Frame::trailers(made_readable(trailers)),
        Err(frame) => frame,
    });
    http::Response::from_parts(head, Body::new(body))
}
