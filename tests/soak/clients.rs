//! Clients that live at random: they call, leave, vanish, sleep, come again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bridgehead::proto::session::{
    PushBody, PushEvent, RequestBody, ResponseBody, SetCxnParamsReq, SetUserParamsReq,
};
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::USERS;
use crate::dice::Dice;
use crate::records::{PushId, Records};
use crate::services::Text;

/// How long anything that must come may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn user(client: usize) -> String {
    format!("user-{}", client % USERS)
}

pub fn device(client: usize) -> String {
    format!("device-{client}")
}

/// One client of many lives: a connection after the other, until told to stop.
pub async fn live(
    client: usize,
    url: String,
    records: Arc<Records>,
    mut dice: Dice,
    stopped: watch::Receiver<bool>,
) {
    let mut life = 0;
    let mut left_open = None;
    while !*stopped.borrow() {
        life += 1;
        let mark = format!("{client}.{life}");
        // Now and then a device comes again before it has gone.
        let mut connection = Connection::open(client, mark, &url, &records).await;
        drop(left_open.take());
        connection.work(&mut dice, &stopped).await;
        if dice.chance(20) {
            left_open = Some(connection);
        } else {
            connection.leave(&mut dice).await;
        }
        sleep(dice.millis(0, 60)).await;
    }
}

/// Half of the clients are on a narrow network: what they do not read soon
/// piles up in the gateway.
async fn connect(url: &str, is_narrow: bool) -> WebSocketStream<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    if is_narrow {
        socket.set_recv_buffer_size(4096).unwrap();
    }
    let address = url.trim_start_matches("ws://").trim_end_matches("/ws").parse().unwrap();
    let stream = socket.connect(address).await.unwrap();
    tokio_tungstenite::client_async(url, stream).await.unwrap().0
}

struct Connection {
    socket: WebSocketStream<TcpStream>,
    mark: String,
    records: Arc<Records>,
    /// The last push of each pusher.
    last: HashMap<u32, u64>,
    /// Requests that are not answered yet.
    asked: HashMap<String, String>,
    requests: u64,
    is_over: bool,
}

impl Connection {
    async fn open(client: usize, mark: String, url: &str, records: &Arc<Records>) -> Self {
        let nth = records.connections.fetch_add(1, Ordering::Relaxed);
        let connecting = connect(url, nth.is_multiple_of(2));
        let socket = timeout(PATIENCE, connecting).await.unwrap();
        let mut connection = Self {
            socket,
            mark: mark.clone(),
            records: Arc::clone(records),
            last: HashMap::new(),
            asked: HashMap::new(),
            requests: 0,
            is_over: false,
        };
        let device = SetCxnParamsReq {
            platform: "ios".into(),
            device_id: device(client),
            app_version: mark,
            ..SetCxnParamsReq::default()
        };
        let login = SetUserParamsReq { user_id: user(client), ..SetUserParamsReq::default() };
        connection.send("/v1/conn/white/setCxnParams", &device, String::new()).await;
        connection.send("/v1/conn/white/setUserParams", &login, String::new()).await;
        while !connection.asked.is_empty() && !connection.is_over {
            connection.receive(Instant::now() + PATIENCE).await;
        }
        connection
    }

    /// Sends a request; `expected` is the text that its answer must have.
    async fn send(&mut self, method: &str, message: &impl prost::Message, expected: String) {
        self.requests += 1;
        let req_id = self.requests.to_string();
        let data = message.encode_to_vec().into();
        let request = RequestBody { req_id: req_id.clone(), method: method.into(), data };
        self.asked.insert(req_id, expected);
        let frame = Message::Binary(request.encode_to_vec().into());
        // Where this fails the session has been closed, which reading will tell.
        drop(timeout(PATIENCE, self.socket.send(frame)).await);
    }

    async fn work(&mut self, dice: &mut Dice, stopped: &watch::Receiver<bool>) {
        let end = Instant::now() + dice.millis(20, 1500);
        while Instant::now() < end && !self.is_over && !*stopped.borrow() {
            if dice.chance(30) {
                let text = format!("{} {}", self.mark, self.requests);
                self.send("/say", &Text { text: text.clone() }, text).await;
            }
            if dice.chance(3) {
                // Reads nothing: pushes pile up, pings stay without an answer.
                sleep(dice.millis(50, 1500)).await;
            }
            self.receive(Instant::now() + dice.millis(1, 40)).await;
        }
    }

    /// Takes in what comes, one frame, until then.
    async fn receive(&mut self, until: Instant) {
        tokio::select! {
            frame = self.socket.next() => match frame {
                Some(Ok(Message::Binary(frame))) => self.take(&frame),
                Some(Ok(Message::Close(_)) | Err(_)) | None => self.is_over = true,
                Some(Ok(_)) => {}
            },
            () = sleep_until(until) => {}
        }
    }

    fn take(&mut self, frame: &[u8]) {
        let push = PushBody::decode(frame).unwrap();
        if push.event == PushEvent::PushResponseBody as i32 {
            let answer = ResponseBody::decode(push.data).unwrap();
            let expected = self.asked.remove(&answer.req_id).unwrap();
            assert_eq!(answer.code, 0, "{}: {answer:?}", self.mark);
            assert_eq!(Text::decode(answer.data).unwrap().text, expected);
            self.records.calls.fetch_add(1, Ordering::Relaxed);
        } else {
            let id = push_id(&push.data);
            self.records.received(&self.mark, &mut self.last, id);
        }
    }

    async fn leave(mut self, dice: &mut Dice) {
        match dice.below(3) {
            // With all due forms.
            0 => {
                drop(timeout(PATIENCE, self.socket.close(None)).await);
                while !self.is_over {
                    self.receive(Instant::now() + PATIENCE).await;
                }
            }
            // Killed: the kernel sends a reset.
            1 => {
                let socket = socket2::SockRef::from(self.socket.get_ref());
                drop(socket.set_linger(Some(Duration::ZERO)));
            }
            // Gone without a word.
            _ => {}
        }
    }
}

/// What a push's data begins with.
pub fn data(id: PushId, padding: usize) -> bytes::Bytes {
    let mut data = id.0.to_be_bytes().to_vec();
    data.extend(id.1.to_be_bytes());
    data.resize(data.len() + padding, 0);
    data.into()
}

fn push_id(data: &[u8]) -> PushId {
    let pusher = u32::from_be_bytes(data[..4].try_into().unwrap());
    (pusher, u64::from_be_bytes(data[4..12].try_into().unwrap()))
}
