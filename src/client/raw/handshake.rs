//! From options to a session that is logged in, on a bare socket.

use bytes::Bytes;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::frames::{self, Frame, Kind};
use super::message::{self, Incoming, ReqId, Template};
use super::upgrade::upgrade;
use crate::client::agreement::{self, Agreement};
use crate::client::closed::Closed;
use crate::client::options::Options;
use crate::client::place::Transport;
use crate::client::session::{self, CallError, ConnectError};
use crate::client::socket;
use crate::proto::session::{ResponseBody, SetUserParamsReq};
use crate::protocol::seed::methods::{SET_CXN_PARAMS, SET_USER_PARAMS};
use crate::protocol::seed::{Cipher, GREETING};

/// A session that is logged in, and its socket.
pub struct RawSession {
    /// The socket.
    pub stream: Box<dyn Transport>,
    /// The cipher of the frames, both ways.
    pub cipher: Option<Cipher>,
    /// Bytes received behind the answer to the login. Mostly none.
    pub received: Vec<u8>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// None was opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The user was not let in.
    #[error(transparent)]
    Login(CallError),
}

/// Connects, describes the device, unless the options have none, and logs in.
/// All of it together may take as long as the options allow.
///
/// # Cancel safety
///
/// The future may be dropped at any time; a connection is then closed.
pub async fn open(options: &Options, user_id: &str, token: &str) -> Result<RawSession, Refused> {
    let limit = options.timeout;
    let opened = timeout(limit, unlimited(options, user_id, token)).await;
    opened.unwrap_or(Err(ConnectError::Timeout(limit).into()))
}

async fn unlimited(options: &Options, user_id: &str, token: &str) -> Result<RawSession, Refused> {
    let (mut stream, request) = socket::reach(options).await.map_err(ConnectError::from)?;
    let received = match upgrade(&mut *stream, request, &options.url).await {
        Ok(received) => received,
        Err(error) => {
            // It may take one connection at a time.
            drop(stream);
            return Err(ConnectError::from(socket::recognise(options, error).await).into());
        }
    };
    let mut talk = Talk {
        stream,
        received,
        cipher: None,
        agreement: None,
        is_first: true,
        read_to: 0,
        exchanges: 0,
    };
    talk.greeting(&options.url).await?;
    if let Some(mut device) = options.device.clone() {
        let key = options.encrypt.as_ref();
        let agreement = key.map(|key| Agreement::new(&mut device, key)).transpose();
        talk.agreement = agreement.map_err(ConnectError::from)?;
        // Not sealed itself, but the answer is.
        let request = talk.request(SET_CXN_PARAMS, &device.encode_to_vec());
        talk.exchange(request).await.map_err(ConnectError::Device)?;
    }
    let (user_id, token) = (user_id.to_owned(), token.to_owned());
    let user = SetUserParamsReq { user_id, token, ..SetUserParamsReq::default() };
    let request = talk.request(SET_USER_PARAMS, &user.encode_to_vec());
    talk.exchange(request).await.map_err(Refused::Login)?;
    let Talk { stream, cipher, mut received, read_to, .. } = talk;
    received.drain(..read_to);
    received.shrink_to_fit();
    Ok(RawSession { stream, cipher, received })
}

/// One request after the other.
struct Talk {
    stream: Box<dyn Transport>,
    received: Vec<u8>,
    cipher: Option<Cipher>,
    agreement: Option<Agreement>,
    /// No frame has come behind the greeting yet: the first shows whether the
    /// gateway has chosen the IV.
    is_first: bool,
    /// Where the next frame begins in `received`.
    read_to: usize,
    exchanges: u32,
}

impl Talk {
    /// Waits for the text frame that a gateway sends first.
    async fn greeting(&mut self, url: &str) -> Result<(), ConnectError> {
        let said = match self.frame().await {
            Ok(Frame { kind: Kind::Text, payload }) => {
                let text = self.received.get(payload).unwrap_or_default();
                if text == GREETING.as_bytes() {
                    return Ok(());
                }
                format!("`{}`", String::from_utf8_lossy(text))
            }
            Ok(_) => "something else".to_owned(),
            Err(closed @ Closed::ByGateway { .. }) => {
                return Err(ConnectError::Device(closed.into()));
            }
            Err(error) => format!("nothing ({error})"),
        };
        Err(ConnectError::NotAGateway { url: url.to_owned(), said })
    }

    /// A request's frame, sealed as the session is now.
    fn request(&mut self, method: &str, data: &[u8]) -> Vec<u8> {
        self.exchanges += 1;
        let mut frame = Vec::new();
        let id = ReqId { slot: 0, turn: self.exchanges };
        Template::new(method, data).put(&mut frame, id, self.cipher.as_ref());
        frame
    }

    /// Sends the latest request, and waits until it is answered with Success.
    async fn exchange(&mut self, request: Vec<u8>) -> Result<(), CallError> {
        self.send(&request).await?;
        loop {
            let Frame { kind, payload } = self.frame().await?;
            if kind != Kind::Binary {
                continue;
            }
            let frame = self.received.get_mut(payload).unwrap_or_default();
            if std::mem::take(&mut self.is_first) {
                let chosen = agreement::server_iv(frame);
                let agreement = self.agreement.take();
                self.cipher = agreement.map(|known| known.cipher(chosen.as_deref()));
                if chosen.is_some() {
                    continue;
                }
            }
            let plain = match &self.cipher {
                Some(cipher) => cipher.open_in_place(frame).map_err(|_| Closed::Undecryptable)?,
                None => frame,
            };
            let read = message::read(plain);
            let read = read.map_err(|error| Closed::Garbled(format!("a frame that is {error}")))?;
            if let Incoming::Answer { req_id, code, data } = read
                && ReqId::parse(req_id).is_some_and(|id| id.turn == self.exchanges)
            {
                let data = Bytes::copy_from_slice(data);
                return session::outcome(ResponseBody { code, data, ..ResponseBody::default() })
                    .map(drop);
            }
        }
    }

    async fn send(&mut self, frame: &[u8]) -> Result<(), Closed> {
        let lost = |error: std::io::Error| Closed::Lost(error.to_string());
        self.stream.write_all(frame).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)
    }

    /// The next frame. Pings are answered, a close frame is the end.
    async fn frame(&mut self) -> Result<Frame, Closed> {
        loop {
            let frame = self.whole_frame().await?;
            let payload = self.received.get(frame.payload.clone()).unwrap_or_default();
            match frame.kind {
                Kind::Ping => {
                    let mut pong = Vec::new();
                    frames::put(&mut pong, Kind::Pong, payload, rand::random());
                    self.send(&pong).await?;
                }
                Kind::Close => {
                    let (code, reason) = frames::close(payload);
                    return Err(Closed::ByGateway { code, reason });
                }
                _ => return Ok(frame),
            }
        }
    }

    async fn whole_frame(&mut self) -> Result<Frame, Closed> {
        loop {
            let read = frames::read(&self.received, self.read_to);
            if let Some(frame) = read.map_err(|error| Closed::Garbled(error.to_string()))? {
                self.read_to = frame.payload.end;
                return Ok(frame);
            }
            self.received.drain(..self.read_to);
            self.read_to = 0;
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(Closed::Lost("the gateway hung up".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(Closed::Lost(error.to_string())),
            }
        }
    }
}
