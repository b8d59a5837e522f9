//! An echo server over the gateway's own WebSocket code, for the Autobahn test
//! suite: the opening handshake of `edge`, the frames of `websocket`, the socket
//! and the closing handshake of `session`. No part of the product.
//!
//! Like a session, it reads everything that has arrived, then writes all answers
//! at once; and it reads nothing while the peer does not take its answers.
//!
//! Prints its address, and serves until it is killed: `tests/autobahn/run.sh`.

#![allow(clippy::print_stdout, reason = "run.sh reads the address")]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bridgehead::edge::forwarded::Peer;
use bridgehead::edge::upgrade::negotiate;
use bridgehead::edge::{self, ClientAddress, ClientPath};
use bridgehead::protocol::{Payload, Protocol};
use bridgehead::session::{self, Ended, Outgoing, Socket, Source};
use bridgehead::websocket::Message;
use bridgehead::websocket::frame::Opcode;
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The largest message of the suite: section 9.
const MAX_MESSAGE: usize = 16 << 20;
/// Messages that are read before their echoes are written.
const MAX_UNWRITTEN: usize = 64;
/// How long a client may take for the last echoes.
const FLUSH: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let config = Arc::new(edge::Config {
        paths: vec![ClientPath { path: "/".into(), protocol: Protocol::Seed { server_iv: false } }],
        allowed_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        client_address: ClientAddress::Connection,
        proxy_protocol: false,
        handshake_timeout: Duration::from_secs(10),
        max_connections: 1000,
        max_connections_per_ip: 0,
        continue_traces: false,
    });
    loop {
        let (stream, peer) = listener.accept().await?;
        let config = Arc::clone(&config);
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            if let Ok(upgraded) = negotiate(stream, Peer::at(peer.ip()), &config).await {
                let socket = Socket::new(upgraded.stream, &upgraded.read_ahead, MAX_MESSAGE);
                echo(socket).await;
            }
            io::Result::Ok(())
        });
    }
}

/// Sends each message back, until the connection ends.
async fn echo(mut socket: Socket<TcpStream>) {
    let mut echoes = Echoes::default();
    let ended = poll_fn(|cx| serve(&mut socket, &mut echoes, cx)).await;
    let rest = poll_fn(|cx| socket.poll_write(cx, &mut echoes));
    if matches!(ended, Ended::Lost(_)) || !matches!(timeout(FLUSH, rest).await, Ok(Ok(()))) {
        return;
    }
    match ended {
        Ended::Closed(close) => session::refuse(socket, &close).await,
        Ended::ByClient(frame) => session::acknowledge(&mut socket, frame).await,
        Ended::Lost(_) => {}
    }
}

/// Reads and writes in turn until the client has nothing more to say.
fn serve(socket: &mut Socket<TcpStream>, echoes: &mut Echoes, cx: &mut Context<'_>) -> Poll<Ended> {
    loop {
        if let Err(error) = ready!(socket.poll_write(cx, echoes)) {
            return Poll::Ready(Ended::Lost(error));
        }
        for read in 0..MAX_UNWRITTEN {
            let message = match socket.poll_next(cx) {
                Poll::Ready(Ok(Some(message))) => message,
                Poll::Ready(Ok(None)) => {
                    return Poll::Ready(Ended::Lost(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Pending if read == 0 => return Poll::Pending,
                Poll::Pending => break,
            };
            match message {
                Message::Binary(payload) => echoes.0.push_back(outgoing(Opcode::Binary, payload)),
                Message::Text(text) => {
                    echoes.0.push_back(outgoing(Opcode::Text, text.into_bytes()));
                }
                Message::Close(frame) => return Poll::Ready(Ended::ByClient(frame)),
                // The socket answers pings by itself.
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    }
}

fn outgoing(opcode: Opcode, bytes: Bytes) -> Outgoing {
    Outgoing::Message(Payload { opcode, bytes })
}

/// Messages to send back.
#[derive(Default)]
struct Echoes(VecDeque<Outgoing>);

impl Source for Echoes {
    fn next(&mut self) -> Option<Outgoing> {
        self.0.pop_front()
    }

    fn written(&mut self) {}
}
