//! A stream that knows whether its peer is alive.
//!
//! A large message on a slow network takes longer than any heartbeat, and neither
//! ping nor pong can overtake it. So the sign of life is not frames, but bytes:
//! received ones, and ones that the kernel takes after it had refused some, since
//! the client has acknowledged others then.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Notes signs of life while it reads and writes.
#[derive(Debug)]
pub(super) struct Pulse<S> {
    stream: S,
    alive: bool,
    /// The kernel's buffer was full when it was last written to.
    full: bool,
}

impl<S> Pulse<S> {
    /// A stream that has shown no sign of life yet.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, alive: false, full: false }
    }

    /// Whether there was a sign of life since the last look.
    pub(super) fn take_sign(&mut self) -> bool {
        std::mem::take(&mut self.alive)
    }

    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.full = true,
            Poll::Ready(Ok(1..)) => self.alive |= std::mem::take(&mut self.full),
            Poll::Ready(_) => {}
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Pulse<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.alive |= buf.filled().len() > before;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Pulse<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn writing_into_an_empty_buffer_is_no_sign_of_life() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut near = Pulse::new(near);
        near.write_all(b"12345678").await.unwrap();
        assert!(!near.take_sign(), "nobody has read it");
        let more = near.write_all(b"9");
        let (more, read) = tokio::join!(more, far.read_u8());
        more.unwrap();
        read.unwrap();
        assert!(near.take_sign(), "somebody has made room");
    }

    #[tokio::test]
    async fn every_byte_that_comes_is_a_sign_of_life() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut near = Pulse::new(near);
        far.write_u8(1).await.unwrap();
        near.read_u8().await.unwrap();
        assert!(near.take_sign());
        assert!(!near.take_sign());
    }
}
