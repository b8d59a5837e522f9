//! The end of a session: the queue is written, then the close frame, then the
//! socket is closed so that the client can read all of it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::confirmations::Confirmations;
use super::socket::{Outgoing, Socket, Source};
use crate::outbox::Ticket;
use crate::protocol::{Close, Payload};
use crate::websocket::{CloseFrame, Message};

/// How long a client may take to read the rest.
const FLUSH: Duration = Duration::from_secs(2);
/// How long a client may take to close its side.
const LINGER: Duration = Duration::from_secs(2);

/// Closes a socket without a session.
pub async fn refuse<S>(mut socket: Socket<S>, close: &Close)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut none = Confirmations::default();
    say_goodbye(&mut socket, close, std::iter::empty(), &mut none).await;
}

/// Writes `frames` and the close frame, then closes the socket. Waits for a
/// slow client four seconds at most.
pub(super) async fn say_goodbye<S>(
    socket: &mut Socket<S>,
    close: &Close,
    frames: impl Iterator<Item = (Payload, Option<Ticket>)>,
    confirmations: &mut Confirmations,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let close = CloseFrame { code: close.code(), reason: close.reason().into() };
    let close = Some(Outgoing::Close(Some(close)));
    let mut goodbye = Goodbye { frames, confirmations, close };
    if !matches!(timeout(FLUSH, socket.write(&mut goodbye)).await, Ok(Ok(()))) {
        return; // gone, or not reading
    }
    hang_up(socket, confirmations).await;
}

/// Answers the client's close frame with the same.
pub async fn acknowledge<S>(socket: &mut Socket<S>, close: Option<CloseFrame>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut none = Confirmations::default();
    let frames = std::iter::empty();
    let close = Some(Outgoing::Close(close));
    let mut goodbye = Goodbye { frames, confirmations: &mut none, close };
    if timeout(FLUSH, socket.write(&mut goodbye)).await.is_ok() {
        hang_up(socket, &mut none).await;
    }
}

/// The last frames.
struct Goodbye<'a, I> {
    frames: I,
    confirmations: &'a mut Confirmations,
    /// The close frame; `None`: it has been given out.
    close: Option<Outgoing>,
}

impl<I: Iterator<Item = (Payload, Option<Ticket>)>> Source for Goodbye<'_, I> {
    fn next(&mut self) -> Option<Outgoing> {
        if let Some((frame, ticket)) = self.frames.next() {
            if let Some(ticket) = ticket {
                self.confirmations.sent(ticket);
            }
            return Some(Outgoing::Message(frame));
        }
        let ping = self.confirmations.ping_behind().map(Outgoing::Ping);
        ping.or_else(|| self.close.take())
    }

    fn written(&mut self) {
        self.confirmations.written();
    }
}

/// Closing a socket while the client's bytes are still coming makes the kernel
/// send a reset, and that may overtake the close frame. So: shut down the sending
/// side, then wait for the client to be done.
async fn hang_up<S>(socket: &mut Socket<S>, confirmations: &mut Confirmations)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let until_done = async {
        if confirmations.is_waiting() {
            await_pongs(socket, confirmations).await;
        }
        let stream = socket.stream();
        stream.shutdown().await?;
        let mut unread = [0; 512];
        while stream.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _either_way_it_is_over = timeout(LINGER, until_done).await;
}

/// Reads the last pongs. A close frame that arrives is not necessarily an answer
/// to ours: the client may have sent it of its own accord.
async fn await_pongs<S>(socket: &mut Socket<S>, confirmations: &mut Confirmations)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while confirmations.is_waiting() {
        match socket.next().await {
            Ok(Some(Message::Pong(payload))) => confirmations.pong(&payload),
            Ok(Some(Message::Close(_)) | None) | Err(_) => return,
            Ok(Some(_)) => {}
        }
    }
}
