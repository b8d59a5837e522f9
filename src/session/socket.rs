//! A client's WebSocket: messages in, frames out, over a stream of bytes.
//!
//! Reading and writing use buffers that all sessions of a thread share, for no
//! longer than a poll takes. A socket itself keeps only the beginning of an
//! incomplete message, and the bytes that the stream has not taken yet; an idle
//! one has neither.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Pulse;
use crate::protocol::Payload;
use crate::websocket::frame::{self, MAX_HEADER, Opcode};
use crate::websocket::{CloseFrame, Message, Reader, Violation};

/// Bytes per read, at most.
const READ: usize = 64 * 1024;
/// Bytes read ahead of messages that have to wait, at most.
const AHEAD: usize = 64 * 1024;
/// Bytes gathered for one write, roughly.
const WRITE: usize = 64 * 1024;
/// Payloads from this size on are written without a copy.
const LARGE: usize = 16 * 1024;

thread_local! {
    static READING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static WRITING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An outgoing frame.
#[derive(Debug)]
pub enum Outgoing {
    /// A message.
    Message(Payload),
    /// Wants a pong; at most 125 bytes.
    Ping(Bytes),
    /// The last frame; its reason has at most 123 bytes.
    Close(Option<CloseFrame>),
}

/// Where frames come from while the stream takes them.
pub trait Source {
    /// The next frame; `None`: there is none now.
    fn next(&mut self) -> Option<Outgoing>;
    /// The stream has taken every frame that was given until now.
    fn written(&mut self);
}

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The client has broken the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The stream broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A client's WebSocket over the stream `S`.
#[derive(Debug)]
pub struct Socket<S> {
    stream: Pulse<S>,
    reader: Reader,
    /// The payload of the pong that is due. Of several pings the last one counts
    /// (RFC 6455, section 5.5.3).
    pong: Option<Bytes>,
    /// Bytes that the stream has not taken yet.
    rest: Option<Box<Rest>>,
}

/// Frames on their way.
#[derive(Debug, Default)]
struct Rest {
    /// Written first.
    gathered: Bytes,
    /// Written second: a large payload, or none.
    large: Bytes,
}

impl<S> Socket<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// A socket over a stream whose HTTP upgrade is done. `read_ahead` holds the
    /// bytes that came behind the request.
    pub fn new(stream: S, read_ahead: &[u8], max_message: usize) -> Self {
        let mut reader = Reader::new(max_message);
        if !read_ahead.is_empty() {
            reader.feed(read_ahead);
        }
        Self { stream: Pulse::new(stream), reader, pong: None, rest: None }
    }

    /// The stream below.
    pub(super) fn stream(&mut self) -> &mut Pulse<S> {
        &mut self.stream
    }

    /// Reads the next message. `None`: the stream has ended.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, ReadError>> {
        loop {
            if let Some(message) = self.reader.take_next()? {
                self.note_pong(&message);
                return Poll::Ready(Ok(Some(message)));
            }
            if ready!(self.poll_read(cx, READ))? == 0 {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// The next ping or pong while messages have to wait: up to 64 KiB are read
    /// ahead of them. The end of the stream is reported in its turn.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Message>> {
        loop {
            if let Some(message) = self.reader.look_ahead() {
                self.note_pong(&message);
                return Poll::Ready(Ok(message));
            }
            let room = AHEAD.saturating_sub(self.reader.waiting());
            if room == 0 || ready!(self.poll_read(cx, room))? == 0 {
                return Poll::Pending;
            }
        }
    }

    fn note_pong(&mut self, message: &Message) {
        if let Message::Ping(payload) = message {
            self.pong = Some(payload.clone());
        }
    }

    /// Feeds the reader with up to `most` bytes that the stream has now. 0: it
    /// has ended.
    fn poll_read(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let mut buffer = READING.take();
        buffer.resize(READ, 0);
        let mut into = ReadBuf::new(buffer.get_mut(..most).unwrap_or_default());
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut into);
        let count = into.filled().len();
        if read.is_ready() {
            self.reader.feed(into.filled());
        }
        READING.set(buffer);
        ready!(read)?;
        Poll::Ready(Ok(count))
    }

    /// The same, as a future.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, ReadError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Writes all that `source` has. `Pending`: the stream took less than it
    /// was given, and `source` is asked for no more until it has.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(write(&mut self.stream, cx, &mut rest.gathered))?;
                ready!(write(&mut self.stream, cx, &mut rest.large))?;
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                self.rest = None;
                source.written();
            }
            let mut buffer = WRITING.take();
            let mut large = gather(&mut buffer, self.pong.take(), source);
            let mut gathered = &*buffer;
            let written = if gathered.is_empty() {
                WRITING.set(buffer);
                return Poll::Ready(Ok(()));
            } else {
                write_through(&mut self.stream, cx, &mut gathered, &mut large)
            };
            if written.is_pending() {
                let gathered = Bytes::copy_from_slice(gathered);
                self.rest = Some(Box::new(Rest { gathered, large }));
            }
            buffer.clear();
            buffer.shrink_to(WRITE + LARGE + MAX_HEADER);
            WRITING.set(buffer);
            ready!(written)?;
            source.written();
        }
    }

    /// The same, as a future.
    ///
    /// # Cancel safety
    ///
    /// Frames taken from `source` are kept, and go out with the next call.
    pub(super) async fn write(&mut self, source: &mut impl Source) -> io::Result<()> {
        poll_fn(|cx| self.poll_write(cx, source)).await
    }
}

/// Puts frames together, up to a large payload that is not copied.
fn gather(buffer: &mut Vec<u8>, pong: Option<Bytes>, source: &mut impl Source) -> Bytes {
    if let Some(payload) = pong {
        put(buffer, Opcode::Pong, &payload);
    }
    while buffer.len() < WRITE {
        match source.next() {
            Some(Outgoing::Message(Payload { opcode, bytes })) if bytes.len() >= LARGE => {
                frame::put_header(buffer, opcode, bytes.len());
                return bytes;
            }
            Some(Outgoing::Message(Payload { opcode, bytes })) => put(buffer, opcode, &bytes),
            Some(Outgoing::Ping(payload)) => put(buffer, Opcode::Ping, &payload),
            Some(Outgoing::Close(None)) => put(buffer, Opcode::Close, &[]),
            Some(Outgoing::Close(Some(CloseFrame { code, reason }))) => {
                put(buffer, Opcode::Close, &[&code.to_be_bytes(), reason.as_bytes()].concat());
            }
            None => break,
        }
    }
    Bytes::new()
}

fn put(buffer: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    frame::put_header(buffer, opcode, payload.len());
    buffer.extend_from_slice(payload);
}

/// Writes both, and has nothing left in between.
fn write_through<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    first: &mut &[u8],
    then: &mut Bytes,
) -> Poll<io::Result<()>> {
    ready!(write(stream, cx, first))?;
    ready!(write(stream, cx, then))?;
    Pin::new(stream).poll_flush(cx)
}

fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    bytes: &mut impl Buf,
) -> Poll<io::Result<()>> {
    while bytes.has_remaining() {
        let written = ready!(Pin::new(&mut *stream).poll_write(cx, bytes.chunk()))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        bytes.advance(written);
    }
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    #[derive(Default)]
    struct Frames {
        waiting: VecDeque<Outgoing>,
        given: usize,
        written: usize,
    }

    impl Source for Frames {
        fn next(&mut self) -> Option<Outgoing> {
            let next = self.waiting.pop_front();
            self.given += usize::from(next.is_some());
            next
        }

        fn written(&mut self) {
            self.written = self.given;
        }
    }

    fn socket(room: usize) -> (Socket<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(room);
        (Socket::new(near, &[], 1 << 20), far)
    }

    fn binary(len: usize) -> Outgoing {
        let opcode = Opcode::Binary;
        Outgoing::Message(Payload { opcode, bytes: vec![b'x'; len].into() })
    }

    #[tokio::test]
    async fn what_waits_goes_out_together_and_in_order() {
        let (mut socket, mut far) = socket(1 << 20);
        let close = CloseFrame { code: 1001, reason: "bye".into() };
        let mut frames = Frames {
            waiting: [
                binary(3),
                Outgoing::Ping(Bytes::from_static(b"p")),
                Outgoing::Close(Some(close)),
            ]
            .into(),
            ..Frames::default()
        };
        socket.write(&mut frames).await.unwrap();
        assert_eq!((frames.given, frames.written), (3, 3));
        let mut got = vec![0; 100];
        let count = far.read(&mut got).await.unwrap();
        assert_eq!(&got[..count], b"\x82\x03xxx\x89\x01p\x88\x05\x03\xE9bye");
    }

    #[tokio::test]
    async fn what_the_stream_does_not_take_goes_out_later_and_nothing_is_kept() {
        let (mut socket, mut far) = socket(1000);
        let mut frames = Frames {
            waiting: [binary(10), binary(1 << 20), binary(10), binary(70_000)].into(),
            ..Frames::default()
        };
        assert!(socket.write(&mut frames).now_or_never().is_none());
        assert_eq!((frames.given, frames.written), (2, 0), "no more than has begun to go out");
        let reading = tokio::spawn(async move {
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.unwrap();
            got
        });
        socket.write(&mut frames).await.unwrap();
        assert_eq!((frames.given, frames.written), (4, 4));
        assert!(socket.rest.is_none());
        socket.stream().shutdown().await.unwrap();
        let got = reading.await.unwrap();
        assert_eq!(got.len(), 12 + 10 + (1 << 20) + 12 + 10 + 70_000);
        assert!(got[12..].starts_with(b"\x82\x7F\0\0\0\0\0\x10\0\0xx"));
    }

    #[tokio::test]
    async fn the_last_ping_is_answered_and_before_all_else() {
        let (mut socket, mut far) = socket(1000);
        far.write_all(b"\x89\x81\0\0\0\0a\x89\x81\0\0\0\0b").await.unwrap();
        for payload in ["a", "b"] {
            assert_eq!(socket.next().await.unwrap(), Some(Message::Ping(payload.into())));
        }
        let mut frames = Frames { waiting: [binary(1)].into(), ..Frames::default() };
        socket.write(&mut frames).await.unwrap();
        let mut got = [0; 6];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"\x8A\x01b\x82\x01x");
    }

    #[tokio::test]
    async fn messages_are_read_to_the_end_of_the_stream() {
        let (near, mut far) = duplex(100);
        let mut socket = Socket::new(near, b"\x82\x81\0\0\0\0a\x82", 10);
        far.write_all(b"\x81\0\0\0\0b").await.unwrap();
        drop(far);
        for payload in ["a", "b"] {
            assert_eq!(socket.next().await.unwrap(), Some(Message::Binary(payload.into())));
        }
        assert_eq!(socket.next().await.unwrap(), None);
    }
}
