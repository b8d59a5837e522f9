//! A client that a test controls frame by frame. It reads only on request:
//! unread frames stay in the socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bridgehead::proto::session::{
    PushBody, RequestBody, ResponseBody, SetCxnParamsReq, SetUserParamsReq,
};
use bridgehead::protocol::seed::{Cipher, PublicKey};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// The event that is the answer to a request.
const ANSWER: i32 = 2;

/// Identity and settings of a client.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) platform: String,
    pub(crate) device: String,
    /// The client's `app_version`, which identifies its session in the Push API.
    pub(crate) tag: String,
    /// Encrypts the session.
    pub(crate) key: Option<Arc<PublicKey>>,
    /// Receive buffer of the socket, in bytes: a small one is soon full.
    pub(crate) receive_buffer: Option<u32>,
}

/// An open session.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    cipher: Option<Cipher>,
    requests: u64,
}

/// A received frame, or the end.
#[derive(Debug)]
pub(crate) enum Incoming {
    Push {
        data: Bytes,
    },
    Answer {
        id: u64,
        code: i32,
        data: Bytes,
    },
    /// The end, with the close frame's code.
    Closed(u16),
    /// The end, without a close frame.
    Lost(String),
}

impl Client {
    /// Connects, describes itself and logs in. Fails with an unexpected frame.
    pub(crate) async fn connect(profile: &Profile) -> Result<Self, Incoming> {
        let lost = |error: &dyn ToString| Incoming::Lost(error.to_string());
        let tcp = dial(profile).await.map_err(|error| lost(&error))?;
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let opening = client_async_with_config(&*profile.url, tcp, Some(config));
        let (mut socket, _) = opening.await.map_err(|error| lost(&error))?;
        match socket.next().await {
            Some(Ok(Message::Text(text))) if text.as_str() == "connected" => {}
            Some(Ok(Message::Close(Some(frame)))) => {
                return Err(Incoming::Closed(frame.code.into()));
            }
            other => return Err(Incoming::Lost(format!("{other:?} is no greeting"))),
        }
        let mut client = Self { socket, cipher: None, requests: 0 };
        let mut device = SetCxnParamsReq {
            package_id: "test".into(),
            platform: profile.platform.clone(),
            device_id: profile.device.clone(),
            app_version: profile.tag.clone(),
            ..SetCxnParamsReq::default()
        };
        let mut cipher = None;
        if let Some(key) = &profile.key {
            device.aes_key = Some(key.wrap_secret(profile.tag.as_bytes()).unwrap().into());
            device.aes_iv = Some(key.wrap_secret(b"iv").unwrap().into());
            cipher = Some(Cipher::derive(profile.tag.as_bytes(), b"iv"));
        }
        client.send("/v1/conn/white/setCxnParams", device.encode_to_vec()).await;
        client.cipher = cipher;
        client.success().await?;
        client.log_in(&profile.user).await;
        client.success().await?;
        Ok(client)
    }

    /// Waits for the answer to the handshake, before which nothing else comes.
    async fn success(&mut self) -> Result<(), Incoming> {
        match self.next().await {
            Incoming::Answer { code: 0, .. } => Ok(()),
            other => Err(other),
        }
    }

    /// Sends a login as this user.
    pub(crate) async fn log_in(&mut self, user: &str) -> u64 {
        let user = SetUserParamsReq { user_id: user.into(), ..SetUserParamsReq::default() };
        self.send("/v1/conn/white/setUserParams", user.encode_to_vec()).await
    }

    /// Sends a request, and returns the id that its answer will have. If the
    /// session is over, reading returns the end.
    pub(crate) async fn send(&mut self, method: &str, data: Vec<u8>) -> u64 {
        self.requests += 1;
        let request = RequestBody {
            req_id: self.requests.to_string(),
            method: method.into(),
            data: data.into(),
        };
        let plain = request.encode_to_vec();
        let frame = match &self.cipher {
            Some(cipher) => cipher.seal_copy(&plain),
            None => plain.into(),
        };
        let _sent = self.socket.send(Message::Binary(frame)).await;
        self.requests
    }

    /// Reads the next push, answer or end. Cancel safe: nothing is lost.
    pub(crate) async fn next(&mut self) -> Incoming {
        loop {
            let frame = match self.socket.next().await {
                Some(Ok(Message::Binary(frame))) => frame,
                Some(Ok(Message::Close(frame))) => {
                    // Lets the gateway have its answer.
                    let _flushed = self.socket.flush().await;
                    return Incoming::Closed(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Incoming::Lost(error.to_string()),
                None => return Incoming::Lost("the end of the stream".into()),
            };
            let frame = match &self.cipher {
                Some(cipher) => cipher.open(frame).expect("a frame under the session's key"),
                None => frame,
            };
            let body = PushBody::decode(frame).expect("a PushBody");
            if body.event != ANSWER {
                return Incoming::Push { data: body.data };
            }
            let answer = ResponseBody::decode(body.data).expect("a ResponseBody");
            let id = answer.req_id.parse().expect("a reqId of this client's");
            return Incoming::Answer { id, code: answer.code, data: answer.data };
        }
    }

    /// Begins to say goodbye; the remaining frames are to be read.
    pub(crate) async fn say_goodbye(&mut self) {
        let _sent = self.socket.close(None).await;
    }

    /// Breaks the connection: the gateway sees a reset.
    pub(crate) fn reset(self) {
        let _reset = SockRef::from(self.socket.get_ref()).set_linger(Some(Duration::ZERO));
    }
}

async fn dial(profile: &Profile) -> io::Result<TcpStream> {
    let place = profile.url.strip_prefix("ws://").unwrap().split('/').next().unwrap();
    let socket = TcpSocket::new_v4()?;
    if let Some(size) = profile.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    let tcp = socket.connect(place.parse().unwrap()).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}
