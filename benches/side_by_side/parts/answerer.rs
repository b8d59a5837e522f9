//! The floor under everything over WebSocket: a server on the gateway's own stack
//! that answers every request at once, by itself, with as many bytes as the service
//! would. It knows so much of the session protocol that the same generator can load
//! it as loads the gateway: no routes, no identity, no encryption, no service
//! behind it.

use bridgehead::proto::session::{PushBody, PushEvent, RequestBody, ResponseBody};
use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::spread;
use crate::failure::Failure;

/// Bytes of each buffer of a socket.
const BUFFER: usize = 1024;
/// As long as the service's answers, about.
static ANSWER: [u8; 74] = [b'.'; 74];

pub(super) fn run() -> Result<(), Failure> {
    spread::run(|connections| async {
        let mut incoming = std::pin::pin!(spread::incoming(connections));
        let tasks = tokio::task::LocalSet::new();
        let accept = async {
            while let Some(Ok(stream)) = incoming.next().await {
                tokio::task::spawn_local(async {
                    // Load generators come and go.
                    let _ended = answer_all(stream).await;
                });
            }
        };
        tasks.run_until(accept).await;
    })
}

/// Answers until the other side has enough; requests that arrive together are
/// answered together.
async fn answer_all(stream: TcpStream) -> Result<(), Error> {
    let config = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(16 * BUFFER);
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    socket.send(Message::text("connected")).await?;
    while let Some(message) = socket.next().await {
        let mut next = Some(message);
        while let Some(message) = next {
            if let Message::Binary(frame) = message? {
                socket.feed(Message::Binary(answer(frame))).await?;
            }
            next = socket.next().now_or_never().flatten();
        }
        socket.flush().await?;
    }
    Ok(())
}

fn answer(frame: Bytes) -> Bytes {
    let RequestBody { req_id, method, .. } = RequestBody::decode(frame).unwrap_or_default();
    let data = if method.contains("/conn/") { &ANSWER[..0] } else { &ANSWER[..] };
    let answer = ResponseBody { req_id, method, code: 0, data: Bytes::from_static(data) };
    let event = PushEvent::PushResponseBody.into();
    PushBody { event, data: answer.encode_to_vec().into() }.encode_to_vec().into()
}
