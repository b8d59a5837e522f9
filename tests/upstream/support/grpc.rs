//! A gRPC server controlled by a test, and calls to it.
//!
//! tonic does the gRPC, hyper the HTTP/2. It runs on a thread and runtime of
//! its own, so that it can be killed like a process: all of its sockets close
//! at once, even in the middle of calls.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use bridgehead::upstream::{Address, Call, CallError, Config, Metadata, Own, Upstream};
use bytes::{Buf, BufMut, Bytes};
use http::HeaderMap;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Response, Status};

use super::streams::{STREAMING, StreamHandler};

/// A call as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub metadata: HeaderMap,
    pub message: Bytes,
}

pub type Answer = Pin<Box<dyn Future<Output = Result<Bytes, Status>> + Send>>;
pub type Handler = Arc<dyn Fn(Received) -> Answer + Send + Sync>;

/// Makes a handler of an async closure.
pub fn handler<F>(f: impl Fn(Received) -> F + Send + Sync + 'static) -> Handler
where
    F: Future<Output = Result<Bytes, Status>> + Send + 'static,
{
    Arc::new(move |received| Box::pin(f(received)))
}

/// Answers every call with its own message.
pub fn echo() -> Handler {
    handler(|received| async move { Ok(received.message) })
}

/// How a server is set up.
#[derive(Clone)]
pub struct Setup {
    pub handler: Handler,
    /// The handler of methods that stream; `None`: there are none.
    pub streams: Option<StreamHandler>,
    pub tls: Option<Arc<tokio_rustls::rustls::ServerConfig>>,
    pub max_streams: Option<u32>,
}

impl Setup {
    pub fn new(handler: Handler) -> Self {
        Self { handler, streams: None, tls: None, max_streams: None }
    }
}

/// A running server. Dropping it kills it.
pub struct Server {
    pub address: SocketAddr,
    /// Connections accepted so far.
    pub accepted: Arc<AtomicUsize>,
    stop: watch::Sender<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stop {
    No,
    Accepting,
    Gracefully,
    Now,
}

enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => {
                let stream = listener.accept().await?.0;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

impl Server {
    /// Serves on a free port of 127.0.0.1.
    pub fn start(setup: Setup) -> Self {
        Self::start_on(bind("127.0.0.1:0".parse().unwrap()), setup)
    }

    /// Serves on a bound socket.
    pub fn start_on(listener: TcpListener, setup: Setup) -> Self {
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let listen = move || Listener::Tcp(tokio::net::TcpListener::from_std(listener).unwrap());
        Self::run(address, listen, setup)
    }

    /// Serves on a Unix socket.
    pub fn start_unix(path: &Path, setup: Setup) -> Self {
        let path = path.to_owned();
        let listen = move || Listener::Unix(tokio::net::UnixListener::bind(path).unwrap());
        Self::run("0.0.0.0:0".parse().unwrap(), listen, setup)
    }

    fn run(
        address: SocketAddr,
        listen: impl FnOnce() -> Listener + Send + 'static,
        setup: Setup,
    ) -> Self {
        let (stop, stopped) = watch::channel(Stop::No);
        let accepted = Arc::new(AtomicUsize::new(0));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let accepted = Arc::clone(&accepted);
            move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let listener = listen();
                    ready.send(()).unwrap();
                    let mut killed = stopped.clone();
                    tokio::select! {
                        () = accept(listener, setup, stopped, accepted) => {}
                        _ = killed.wait_for(|stop| *stop == Stop::Now) => {}
                    }
                });
                // Dropping the runtime drops every task, and with it every socket.
            }
        });
        is_ready.recv().unwrap();
        Self { address, accepted, stop, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes every socket at once, even in the middle of calls.
    pub fn kill(mut self) -> SocketAddr {
        self.end(Stop::Now);
        self.address
    }

    /// Says goodbye on every connection, accepts no more, and waits until all
    /// calls have ended.
    pub fn shut_down(mut self) {
        self.end(Stop::Gracefully);
    }

    /// Accepts no more and waits until its clients have closed every connection.
    pub fn wait_until_idle(mut self) {
        self.end(Stop::Accepting);
    }

    fn end(&mut self, how: Stop) {
        self.stop.send_replace(how);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(Stop::Now);
    }
}

/// Binds with `SO_REUSEADDR`, so that a port can be taken again at once.
pub fn bind(address: SocketAddr) -> TcpListener {
    try_bind(address).unwrap()
}

pub fn try_bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

async fn accept(
    listener: Listener,
    setup: Setup,
    mut stopped: watch::Receiver<Stop>,
    accepted: Arc<AtomicUsize>,
) {
    let mut connections = tokio::task::JoinSet::new();
    let told = stopped.clone();
    loop {
        tokio::select! {
            stream = listener.accept() => {
                let Ok(stream) = stream else { continue };
                accepted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connection(stream, setup.clone(), told.clone()));
            }
            _ = stopped.wait_for(|stop| *stop != Stop::No) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: Box<dyn Stream>, setup: Setup, mut stopped: watch::Receiver<Stop>) {
    let stream: Box<dyn Stream> = match &setup.tls {
        None => stream,
        Some(tls) => match TlsAcceptor::from(Arc::clone(tls)).accept(stream).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
    };
    let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    if let Some(max) = setup.max_streams {
        http2.max_concurrent_streams(max);
    }
    let service =
        hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (handler, streams) = (Arc::clone(&setup.handler), setup.streams.clone());
            async move {
                if let Some(streams) = streams
                    && request.uri().path() == STREAMING
                {
                    return Ok(tonic::server::Grpc::new(Raw).streaming(streams, request).await);
                }
                let (path, metadata) = (request.uri().path().to_owned(), request.headers().clone());
                let method = Method { handler, path, metadata };
                Ok::<_, Infallible>(tonic::server::Grpc::new(Raw).unary(method, request).await)
            }
        });
    let served = http2.serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let shut_down = async {
        let _ = stopped.wait_for(|stop| *stop == Stop::Gracefully).await;
    };
    tokio::select! {
        _ = served.as_mut() => {}
        () = shut_down => {
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
}

struct Method {
    handler: Handler,
    path: String,
    metadata: HeaderMap,
}

impl tower_service::Service<Request<Bytes>> for Method {
    type Response = Response<Bytes>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let answer = (self.handler)(Received {
            path: std::mem::take(&mut self.path),
            metadata: std::mem::take(&mut self.metadata),
            message: request.into_inner(),
        });
        Box::pin(async move { answer.await.map(Response::new) })
    }
}

/// Messages as the bytes they are.
#[derive(Clone, Copy)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// An upstream's configuration with two connections per endpoint.
pub fn config(addresses: &[&str]) -> Config {
    Config {
        name: "test".into(),
        address: addresses.iter().map(|text| Address::parse(text).unwrap()).collect(),
        connections: 2,
        tls: None,
    }
}

/// An upstream for one worker.
pub fn upstream(addresses: &[&str]) -> Arc<Upstream> {
    Arc::new(Upstream::new(config(addresses), 1).unwrap())
}

/// A call of some method with this message, no retry, within five seconds.
pub fn call(message: impl Into<Bytes>) -> Call {
    Call {
        path: "/test.Service/Method".parse().unwrap(),
        metadata: Arc::new(Metadata::new(HeaderMap::new())),
        own: Own::default(),
        message: message.into(),
        timeout: Duration::from_secs(5),
        hurried: false,
        retry: false,
        trail: None,
    }
}

/// Makes such a call.
pub async fn ask(upstream: &Arc<Upstream>, message: &'static str) -> Result<Bytes, CallError> {
    upstream.call(0, call(message)).await
}

/// Waits until `condition` holds; fails the test after ten seconds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within ten seconds: {what}");
}
