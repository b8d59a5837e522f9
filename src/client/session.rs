//! A session, as the user of the client sees it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::agreement::Agreement;
use super::closed::Closed;
use super::connection::{self, Connection, Outgoing, Push, Pushes};
use super::options::Options;
use super::place::DialError;
use super::socket::{self, Socket};
use crate::proto::session::{CommonResp, RequestBody, ResponseBody, SetUserParamsReq};
use crate::protocol::Code;
use crate::protocol::seed::methods::{SET_CXN_PARAMS, SET_USER_PARAMS};
use crate::protocol::seed::rsa::WrapError;
use crate::protocol::seed::{Cipher, GREETING};

/// An open session. A clone is another handle of the same; the session is
/// closed when the last one is dropped.
#[derive(Clone)]
pub struct Session {
    connection: Arc<Connection>,
    outgoing: mpsc::Sender<Outgoing>,
    timeout: Duration,
}

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no WebSocket.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// There is a WebSocket, but no gateway behind it.
    #[error("{url} is not a gateway: its first message is {said}, expected `{GREETING}`")]
    NotAGateway {
        /// The URL as it was given.
        url: String,
        /// The frame that came instead of the greeting.
        said: String,
    },
    /// The secrets could not be encrypted.
    #[error("encryption failed: {0}")]
    Encrypt(#[from] WrapError),
    /// The gateway refused the device, or closed the session over it.
    #[error(transparent)]
    Device(CallError),
    /// It took too long.
    #[error("no session within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

/// A call that did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// It was answered with a code other than Success.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The session ended before it was answered.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// It was not answered in time.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

/// An answer that is not the response message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of failure.
    pub code: Code,
    /// The message of the `CommonResp`.
    pub msg: Option<String>,
    /// The serialized `CommonResp`, as it came.
    pub common_resp: Bytes,
    /// The id of the request, by which the gateway's log calls it.
    pub request_id: String,
}

impl Session {
    /// Opens a session: connects, waits for the greeting, and describes the
    /// device, unless the options have none. Must be called within a tokio
    /// runtime, on which the session's task then runs.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time; a connection is then closed.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        let limit = options.timeout;
        timeout(limit, Self::open(options)).await.unwrap_or(Err(ConnectError::Timeout(limit)))
    }

    async fn open(options: Options) -> Result<Self, ConnectError> {
        let mut socket = socket::dial(&options).await?;
        greeting(&mut socket, &options.url).await?;
        let mut device = options.device;
        let agreement = match (&mut device, &options.encrypt) {
            (Some(device), Some(key)) => Some(Agreement::new(device, key)?),
            _ => None,
        };
        let (connection, outgoing) = Connection::start(socket, agreement);
        let session = Self { connection, outgoing, timeout: options.timeout };
        if let Some(device) = device {
            // Not sealed itself: the other side derives the key from it.
            let exchange = session.exchange(SET_CXN_PARAMS, device.encode_to_vec().into(), None);
            exchange.await.map_err(ConnectError::Device)?;
        }
        Ok(session)
    }

    /// Names the user and shows its token.
    pub async fn login(&self, user_id: &str, token: &str) -> Result<(), CallError> {
        let user = SetUserParamsReq {
            user_id: user_id.to_owned(),
            token: token.to_owned(),
            ..SetUserParamsReq::default()
        };
        self.call(SET_USER_PARAMS, user.encode_to_vec().into()).await.map(drop)
    }

    /// Calls a method with its serialized request message, and returns its
    /// serialized response message. Any number of calls may be under way.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time; an answer that comes then is
    /// forgotten. The gateway does not learn of it.
    pub async fn call(&self, method: &str, data: Bytes) -> Result<Bytes, CallError> {
        let exchange = self.exchange(method, data, self.connection.cipher());
        timeout(self.timeout, exchange).await.unwrap_or(Err(CallError::Timeout(self.timeout)))
    }

    async fn exchange(
        &self,
        method: &str,
        data: Bytes,
        cipher: Option<&Cipher>,
    ) -> Result<Bytes, CallError> {
        let Some(mut waiting) = self.connection.expect_answer() else {
            return Err(self.closed().await.into());
        };
        let request = RequestBody { req_id: waiting.id(), method: method.to_owned(), data };
        // Where this fails the task is gone, and the answer will say so.
        drop(self.outgoing.send(Outgoing::Frame(frame(&request, cipher))).await);
        match waiting.answer().await {
            Some(answer) => outcome(answer),
            None => Err(self.closed().await.into()),
        }
    }

    /// The gateway's pushes, from now on. Taking it a second time ends the first;
    /// until it is taken, pushes are dropped.
    pub fn pushes(&self) -> Pushes {
        self.connection.pushes()
    }

    /// The same for very many sessions: `call` gets each push within the
    /// session's own task, which costs no queue and no other task. It must be
    /// quick.
    pub fn on_push(&self, call: impl Fn(Push) + Send + Sync + 'static) {
        self.connection.on_push(Arc::new(call));
    }

    /// Reads nothing more, and answers no ping, as a client does that has
    /// stalled; calls are not answered any more. The connection stays until the
    /// session is dropped, unless the gateway gives it up.
    pub async fn stop_reading(&self) {
        // Where this fails there is nothing to be read any more.
        drop(self.outgoing.send(Outgoing::StopReading).await);
    }

    /// Waits until the session has ended, and says why. May be dropped and
    /// called again at any time.
    pub async fn closed(&self) -> Closed {
        self.connection.closed().await
    }

    /// Says goodbye, and waits for the end: two seconds at most. Calls that
    /// are under way fail, unless they are answered until then.
    pub async fn close(self) -> Closed {
        // Where this fails the session has ended already.
        drop(self.outgoing.send(Outgoing::Close).await);
        self.closed().await
    }
}

/// Waits for the text frame that a gateway sends first.
async fn greeting(socket: &mut Socket, url: &str) -> Result<(), ConnectError> {
    let said = match socket.next().await {
        Some(Ok(Message::Text(text))) if text.as_str() == GREETING => return Ok(()),
        Some(Ok(Message::Close(frame))) => {
            return Err(ConnectError::Device(connection::by_gateway(frame).into()));
        }
        Some(Ok(Message::Text(text))) => format!("`{}`", text.as_str()),
        Some(Ok(_)) => "something else".to_owned(),
        Some(Err(error)) => format!("nothing ({error})"),
        None => "nothing".to_owned(),
    };
    Err(ConnectError::NotAGateway { url: url.to_owned(), said })
}

fn frame(request: &RequestBody, cipher: Option<&Cipher>) -> Bytes {
    let plain = request.encode_to_vec();
    match cipher {
        Some(cipher) => cipher.seal_copy(&plain),
        None => plain.into(),
    }
}

pub(super) fn outcome(answer: ResponseBody) -> Result<Bytes, CallError> {
    let code = Code::new(answer.code);
    if code.is_success() {
        return Ok(answer.data);
    }
    let msg = CommonResp::decode(answer.data.clone()).ok().and_then(|common| common.msg);
    Err(Refusal { code, msg, common_resp: answer.data, request_id: answer.req_id }.into())
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.msg.as_deref() {
            None | Some("") => self.code.fmt(f),
            Some(msg) => write!(f, "{}: {msg}", self.code),
        }
    }
}

impl std::error::Error for Refusal {}
