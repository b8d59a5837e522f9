//! The end of a session: what is queued goes out, then the close frame, then
//! the socket is closed in a way that lets the client read all of it.

use std::time::Duration;

use futures_util::{Sink, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Socket;
use super::confirmations::Confirmations;
use crate::envelope::Close;
use crate::outbox::Ticket;

/// How long a client may take to read what is left.
const FLUSH: Duration = Duration::from_secs(2);
/// How long a client may take to close its side.
const LINGER: Duration = Duration::from_secs(2);

/// Closes a socket that gets no session.
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
    frames: impl Iterator<Item = (Message, Option<Ticket>)>,
    confirmations: &mut Confirmations,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame { code: close.code().into(), reason: close.reason().into() };
    let goodbye = write_all(socket, frames, frame, confirmations);
    if !matches!(timeout(FLUSH, goodbye).await, Ok(Ok(()))) {
        return; // gone, or not reading
    }
    confirmations.written();
    hang_up(socket, confirmations).await;
}

/// Ends the client's own close handshake.
pub(super) async fn acknowledge<S>(socket: &mut Socket<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // tungstenite has queued the answer to the client's close frame.
    if timeout(FLUSH, socket.flush()).await.is_ok() {
        hang_up(socket, &mut Confirmations::default()).await;
    }
}

async fn write_all<S>(
    socket: &mut S,
    frames: impl Iterator<Item = (Message, Option<Ticket>)>,
    close: CloseFrame,
    confirmations: &mut Confirmations,
) -> Result<(), Error>
where
    S: Sink<Message, Error = Error> + Unpin,
{
    for (frame, ticket) in frames {
        socket.feed(frame).await?;
        if let Some(ticket) = ticket {
            confirmations.sent(ticket);
        }
    }
    if let Some(payload) = confirmations.ping_behind() {
        socket.feed(Message::Ping(payload)).await?;
    }
    socket.feed(Message::Close(Some(close))).await?;
    socket.flush().await
}

/// Closing a socket while the client's bytes are still coming makes the kernel
/// send a reset, and that may overtake the close frame. So: say that nothing
/// more comes, then wait for the client to be done.
async fn hang_up<S>(socket: &mut Socket<S>, confirmations: &mut Confirmations)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let until_done = async {
        if confirmations.is_waiting() {
            await_pongs(socket, confirmations).await;
        }
        let stream = socket.get_mut();
        stream.shutdown().await?;
        let mut unread = [0; 512];
        while stream.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _either_way_it_is_over = timeout(LINGER, until_done).await;
}

/// Reads the last pongs. A close frame that comes is no answer to ours for
/// sure: the client may have sent it of its own accord.
async fn await_pongs<S>(socket: &mut Socket<S>, confirmations: &mut Confirmations)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while confirmations.is_waiting() {
        match socket.next().await {
            Some(Ok(Message::Pong(payload))) => confirmations.pong(&payload),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            Some(Ok(_)) => {}
        }
    }
}
