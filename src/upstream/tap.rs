//! Observes a peer below HTTP/2: whether anything was received, and its first
//! bytes, which show its protocol.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many of the first bytes are kept: the status line of an HTTP/1 answer
/// should be among them, and a GOAWAY behind SETTINGS.
const KEPT: usize = 256;

/// The received data of one connection.
#[derive(Debug, Default)]
pub(super) struct Heard {
    reads: AtomicU64,
    first: Mutex<Vec<u8>>,
    /// Whether the connection is established.
    greeted: AtomicBool,
}

impl Heard {
    /// How often bytes were received.
    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// The connection is established: from here on write errors matter.
    pub(super) fn greeted(&self) {
        self.greeted.store(true, Ordering::Relaxed);
    }

    /// The first bytes, as far as they have been received.
    pub(super) fn first(&self) -> Vec<u8> {
        self.first.lock().clone()
    }
}

/// A byte stream that records received data.
pub(super) struct Tapped<S> {
    stream: S,
    heard: Arc<Heard>,
    /// Whether the first bytes are complete.
    complete: bool,
}

impl<S> Tapped<S> {
    pub(super) fn new(stream: S, heard: Arc<Heard>) -> Self {
        Self { stream, heard, complete: false }
    }

    /// A peer that stops reading at once may have sent a reason, but a writer sees
    /// the end before the reason. So the end is left to the reader.
    fn as_if_heard(
        &self,
        written: Poll<io::Result<usize>>,
        given: impl FnOnce() -> usize,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(_)) if !self.heard.greeted.load(Ordering::Relaxed) => {
                Poll::Ready(Ok(given()))
            }
            written => written,
        }
    }

    fn note(&mut self, received: &[u8]) {
        if received.is_empty() {
            return;
        }
        self.heard.reads.fetch_add(1, Ordering::Relaxed);
        if !self.complete {
            let mut first = self.heard.first.lock();
            let missing = KEPT.saturating_sub(first.len());
            first.extend(received.iter().take(missing));
            self.complete = first.len() >= KEPT;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note(buf.filled().get(before..).unwrap_or_default());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.as_if_heard(written, || buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.as_if_heard(written, || bufs.iter().map(|buf| buf.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_received_is_counted_and_its_beginning_kept() {
        let (mut peer, near) = duplex(1024);
        let heard = Arc::new(Heard::default());
        let mut tapped = Tapped::new(near, Arc::clone(&heard));
        let mut buffer = [0; 300];
        for (sent, reads) in [(5, 1), (240, 2), (300, 3)] {
            peer.write_all(&vec![b'a'; sent]).await.unwrap();
            tapped.read_exact(&mut buffer[..sent]).await.unwrap();
            assert_eq!(heard.reads(), reads);
        }
        assert_eq!(heard.first(), [b'a'; KEPT]);
        drop(peer);
        assert_eq!(tapped.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(heard.reads(), 3, "the end is no byte");
    }

    #[tokio::test]
    async fn what_cannot_be_written_matters_once_the_connection_is_one() {
        let (peer, near) = duplex(1024);
        let heard = Arc::new(Heard::default());
        let mut tapped = Tapped::new(near, Arc::clone(&heard));
        drop(peer);
        tapped.write_all(b"hello").await.unwrap();
        assert_eq!(tapped.read(&mut [0; 8]).await.unwrap(), 0, "who reads hears of it");
        heard.greeted();
        tapped.write_all(b"hello").await.unwrap_err();
    }
}
