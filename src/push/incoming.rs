//! Accepts the connections of backends, and completes their TLS handshakes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::seldom::Seldom;
use crate::tls::Tls;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// TLS handshakes at once.
const HANDSHAKES: usize = 256;
/// Out of descriptors: how long to wait for some.
const PAUSE: Duration = Duration::from_millis(100);

/// A backend's connection, with or without TLS.
pub(super) struct Connection {
    stream: Pin<Box<dyn Duplex>>,
    info: TcpConnectInfo,
}

trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// Accepts until it is stopped. A handshake that fails or hangs ends its own
/// connection, and holds up no other.
pub(super) fn accept(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    mut stopped: watch::Receiver<bool>,
) -> impl Stream<Item = io::Result<Connection>> + Send + 'static {
    let (ready, mut accepted) = mpsc::channel(16);
    tokio::spawn(async move {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        let warnings = Seldom::default();
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted,
                // Stopped, or the server was dropped: the end in either case.
                _end = stopped.wait_for(|stop| *stop) => return,
                () = ready.closed() => return,
            };
            match stream {
                Ok((stream, peer)) => {
                    let Ok(turn) = Arc::clone(&handshakes).acquire_owned().await else { return };
                    let (tls, ready) = (tls.clone(), ready.clone());
                    tokio::spawn(async move {
                        if let Some(connection) = greet(stream, peer, tls).await {
                            drop(ready.send(Ok(connection)).await);
                        }
                        drop(turn);
                    });
                }
                Err(error) => {
                    if let Some(left_out) = warnings.is_due() {
                        tracing::warn!(
                            %error, left_out,
                            "the push API cannot accept a connection; the next such warning in a minute"
                        );
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    });
    futures_util::stream::poll_fn(move |cx| accepted.poll_recv(cx))
}

async fn greet(stream: TcpStream, peer: SocketAddr, tls: Option<Arc<Tls>>) -> Option<Connection> {
    // Without it small receipts wait for others; no reason to refuse a connection.
    drop(stream.set_nodelay(true));
    let info = stream.connect_info();
    let Some(tls) = tls else { return Some(Connection { stream: Box::pin(stream), info }) };
    match timeout(HANDSHAKE, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => Some(Connection { stream: Box::pin(stream), info }),
        Ok(Err(error)) => {
            tracing::info!(%peer, %error, "no TLS with a caller of the push API");
            None
        }
        Err(_) => {
            tracing::info!(%peer, "a caller of the push API took too long over TLS");
            None
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
