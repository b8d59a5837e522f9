//! The end of a session: what is queued goes out, then the close frame, then
//! the socket is closed in a way that lets the client read all of it.

use std::time::Duration;

use futures_util::{Sink, SinkExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Socket;
use crate::envelope::Close;

/// How long a client may take to read what is left.
const FLUSH: Duration = Duration::from_secs(2);
/// How long a client may take to close its side.
const LINGER: Duration = Duration::from_secs(2);

/// Closes a socket that gets no session.
pub async fn refuse<S>(mut socket: Socket<S>, close: &Close)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    say_goodbye(&mut socket, close, std::iter::empty()).await;
}

/// Writes `frames` and the close frame, then closes the socket. Waits for a
/// slow client four seconds at most.
pub(super) async fn say_goodbye<S>(
    socket: &mut Socket<S>,
    close: &Close,
    frames: impl Iterator<Item = Message>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame { code: close.code().into(), reason: close.reason().as_ref().into() };
    let goodbye = write_all(socket, frames.chain([Message::Close(Some(frame))]));
    if !matches!(timeout(FLUSH, goodbye).await, Ok(Ok(()))) {
        return; // gone, or not reading
    }
    hang_up(socket).await;
}

/// Ends the client's own close handshake.
pub(super) async fn acknowledge<S>(socket: &mut Socket<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // tungstenite has queued the answer to the client's close frame.
    if timeout(FLUSH, socket.flush()).await.is_ok() {
        hang_up(socket).await;
    }
}

async fn write_all<S>(socket: &mut S, frames: impl Iterator<Item = Message>) -> Result<(), Error>
where
    S: Sink<Message, Error = Error> + Unpin,
{
    for frame in frames {
        socket.feed(frame).await?;
    }
    socket.flush().await
}

/// Closing a socket while the client's bytes are still coming makes the kernel
/// send a reset, and that may overtake the close frame. So: say that nothing
/// more comes, then wait for the client to be done.
async fn hang_up<S>(socket: &mut Socket<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = socket.get_mut();
    let until_done = async {
        stream.shutdown().await?;
        let mut unread = [0; 512];
        while stream.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _either_way_it_is_over = timeout(LINGER, until_done).await;
}
