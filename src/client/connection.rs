//! An open socket at work: answers find their calls, pushes their reader.
//!
//! One task drives both directions, each at its own pace: a socket that takes no
//! more frames does not hold up reading.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, Stream, StreamExt};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

use super::agreement::{self, Agreement};
use super::closed::Closed;
use super::socket::Socket;
use crate::proto::session::{PushBody, PushEvent, ResponseBody};
use crate::protocol::seed::Cipher;

/// Frames that are written before they are flushed together.
const BATCH: usize = 64;
/// Pushes that wait for their reader before the socket waits, too.
const PUSHES: usize = 1024;
/// How long the other side has to finish closing.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Something that the gateway sends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The number of the event: one of `PushEvent`, or any other.
    pub event: i32,
    /// The event's data.
    pub data: Bytes,
}

/// A session's pushes, in the order of their coming; ends with the session.
///
/// The owner must keep reading it: with 1024 pushes waiting, the socket is not read
/// any more, and calls wait, too.
#[derive(Debug)]
pub struct Pushes(mpsc::Receiver<Push>);

impl Pushes {
    /// The next push; `None` after the last. May be dropped at any time, and
    /// no push is lost.
    pub async fn next(&mut self) -> Option<Push> {
        self.0.recv().await
    }
}

impl Stream for Pushes {
    type Item = Push;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Push>> {
        self.0.poll_recv(cx)
    }
}

/// Where pushes go.
#[derive(Clone)]
enum PushReader {
    Queue(mpsc::Sender<Push>),
    Call(Arc<dyn Fn(Push) + Send + Sync>),
}

/// Work for the writing half.
pub(super) enum Outgoing {
    /// A frame, encrypted where it must be.
    Frame(Bytes),
    /// Not a frame: the socket is not read any more.
    StopReading,
    /// The close frame, after which nothing is sent.
    Close,
}

/// State shared by the session and the task behind it.
pub(super) struct Connection {
    agreement: Option<Agreement>,
    /// Set by the first frame to arrive: it shows whether the gateway has chosen the IV.
    cipher: OnceLock<Option<Cipher>>,
    calls: Mutex<Calls>,
    pushes: Mutex<Option<PushReader>>,
    closed: watch::Sender<Option<Closed>>,
}

/// The calls that wait for their answers, until there is none to come.
#[derive(Default)]
struct Calls {
    waiting: HashMap<u64, oneshot::Sender<ResponseBody>>,
    last_id: u64,
    is_over: bool,
}

/// A call that waits; forgotten when this is dropped.
pub(super) struct Waiting<'a> {
    connection: &'a Connection,
    id: u64,
    answer: oneshot::Receiver<ResponseBody>,
}

impl Connection {
    /// Starts the task. It sends everything that is put into the channel; when all
    /// senders are gone, the socket is closed.
    pub(super) fn start(
        socket: Socket,
        agreement: Option<Agreement>,
    ) -> (Arc<Self>, mpsc::Sender<Outgoing>) {
        let connection = Arc::new(Self {
            agreement,
            cipher: OnceLock::new(),
            calls: Mutex::default(),
            pushes: Mutex::default(),
            closed: watch::Sender::new(None),
        });
        let (sender, outgoing) = mpsc::channel(BATCH);
        tokio::spawn(drive(socket, outgoing, Arc::clone(&connection)));
        (connection, sender)
    }

    /// Registers a call before its request goes out; `None` when it is too late.
    pub(super) fn expect_answer(&self) -> Option<Waiting<'_>> {
        let mut calls = self.calls.lock();
        if calls.is_over {
            return None;
        }
        calls.last_id += 1;
        let id = calls.last_id;
        let (sender, answer) = oneshot::channel();
        calls.waiting.insert(id, sender);
        Some(Waiting { connection: self, id, answer })
    }

    /// The cipher of the frames; none before the first one has arrived.
    pub(super) fn cipher(&self) -> Option<&Cipher> {
        self.cipher.get().and_then(Option::as_ref)
    }

    /// Takes over the pushes, from now on.
    pub(super) fn pushes(&self) -> Pushes {
        let (sender, receiver) = mpsc::channel(PUSHES);
        self.read_pushes(PushReader::Queue(sender));
        Pushes(receiver)
    }

    /// Has every push given to a function, from now on.
    pub(super) fn on_push(&self, call: Arc<dyn Fn(Push) + Send + Sync>) {
        self.read_pushes(PushReader::Call(call));
    }

    fn read_pushes(&self, reader: PushReader) {
        let calls = self.calls.lock();
        if !calls.is_over {
            *self.pushes.lock() = Some(reader);
        }
    }

    /// Waits for the end. May be dropped at any time.
    pub(super) async fn closed(&self) -> Closed {
        let mut closed = self.closed.subscribe();
        let ended = closed.wait_for(Option::is_some).await;
        // The sender lives as long as `self`, so there is always an end.
        ended.ok().and_then(|closed| closed.clone()).unwrap_or(Closed::ByClient)
    }

    /// Takes a frame apart. Answers go to their calls here; a push is left.
    fn receive(&self, frame: Bytes) -> Result<Option<Push>, Closed> {
        if self.cipher.get().is_none() {
            let chosen = agreement::server_iv(&frame);
            self.cipher.get_or_init(|| {
                self.agreement.as_ref().map(|known| known.cipher(chosen.as_deref()))
            });
            if chosen.is_some() {
                return Ok(None);
            }
        }
        let frame = match self.cipher() {
            Some(cipher) => cipher.open(frame).map_err(|_| Closed::Undecryptable)?,
            None => frame,
        };
        let body =
            PushBody::decode(frame).map_err(|error| self.unintelligible("PushBody", &error))?;
        if body.event != PushEvent::PushResponseBody as i32 {
            return Ok(Some(Push { event: body.event, data: body.data }));
        }
        let answer = ResponseBody::decode(body.data)
            .map_err(|error| self.unintelligible("ResponseBody", &error))?;
        let id = answer.req_id.parse().unwrap_or_default();
        if let Some(waiting) = self.calls.lock().waiting.remove(&id) {
            // The caller may have gone meanwhile.
            drop(waiting.send(answer));
        }
        Ok(None)
    }

    fn unintelligible(&self, message: &str, error: &prost::DecodeError) -> Closed {
        // A wrong key gets past the padding once in 256 frames.
        match self.cipher() {
            Some(_) => Closed::Undecryptable,
            None => Closed::Garbled(format!("a frame that is not a {message}: {error}")),
        }
    }

    fn end(&self, why: Closed) {
        self.closed.send_replace(Some(why));
        let mut calls = self.calls.lock();
        calls.is_over = true;
        calls.waiting.clear();
        *self.pushes.lock() = None;
    }
}

impl Waiting<'_> {
    /// The `reqId` to send.
    pub(super) fn id(&self) -> String {
        self.id.to_string()
    }

    /// Waits for the answer; `None` when the session ends before.
    pub(super) async fn answer(&mut self) -> Option<ResponseBody> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.connection.calls.lock().waiting.remove(&self.id);
    }
}

/// Reads and writes until one of both comes to an end.
async fn drive(
    socket: Socket,
    mut outgoing: mpsc::Receiver<Outgoing>,
    connection: Arc<Connection>,
) {
    let (sink, mut frames) = socket.split();
    let why = {
        let mut reading = pin!(read(&mut frames, &connection));
        tokio::select! {
            why = &mut reading => why,
            written = write(sink, &mut outgoing) => {
                if matches!(written, Ok(Written::StopReading)) {
                    // Until it is closed or dropped.
                    while matches!(outgoing.recv().await, Some(Outgoing::Frame(_))) {}
                    return connection.end(Closed::ByClient);
                }
                // Frames under way may still arrive, among them the gateway's reason.
                let heard = timeout(CLOSE_WAIT, reading).await;
                match (written, heard) {
                    (Ok(_), _) => Closed::ByClient,
                    (Err(_), Ok(why)) => why,
                    (Err(error), Err(_)) => Closed::Lost(error.to_string()),
                }
            }
        }
    };
    let is_mutual = matches!(why, Closed::ByGateway { .. });
    connection.end(why);
    if is_mutual {
        // Answers the close frame, and lets the gateway close the connection.
        drop(timeout(CLOSE_WAIT, frames.for_each(|_| async {})).await);
    }
}

/// Why there is nothing more to write.
enum Written {
    Close,
    StopReading,
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    outgoing: &mut mpsc::Receiver<Outgoing>,
) -> Result<Written, tungstenite::Error> {
    let mut batch = Vec::with_capacity(BATCH);
    'open: while outgoing.recv_many(&mut batch, BATCH).await > 0 {
        for next in batch.drain(..) {
            match next {
                Outgoing::Frame(frame) => sink.feed(Message::Binary(frame)).await?,
                Outgoing::Close => break 'open,
                Outgoing::StopReading => return Ok(Written::StopReading),
            }
        }
        sink.flush().await?;
    }
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    sink.send(Message::Close(Some(normal))).await?;
    Ok(Written::Close)
}

async fn read(frames: &mut SplitStream<Socket>, connection: &Connection) -> Closed {
    loop {
        match frames.next().await {
            Some(Ok(Message::Binary(frame))) => match connection.receive(frame) {
                Ok(Some(push)) => deliver(push, connection).await,
                Ok(None) => {}
                Err(why) => return why,
            },
            Some(Ok(Message::Close(frame))) => return by_gateway(frame),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Closed::Lost(error.to_string()),
            None => return Closed::Lost("the gateway hung up".to_owned()),
        }
    }
}

async fn deliver(push: Push, connection: &Connection) {
    let reader = connection.pushes.lock().clone();
    match reader {
        None => {}
        Some(PushReader::Call(call)) => call(push),
        Some(PushReader::Queue(queue)) => {
            let is_read = queue.send(push).await.is_ok();
            if !is_read {
                *connection.pushes.lock() = None;
            }
        }
    }
}

pub(super) fn by_gateway(frame: Option<CloseFrame>) -> Closed {
    match frame {
        Some(frame) => Closed::ByGateway {
            code: Some(frame.code.into()),
            reason: frame.reason.as_str().to_owned(),
        },
        None => Closed::ByGateway { code: None, reason: String::new() },
    }
}
