//! From an address to a byte stream: name resolution, TCP, TLS, Unix sockets.
//! HTTP/2 starts where this ends.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{self, InvalidMessage};

use super::address::{Address, HostPort};
use super::resolver::{self, ResolveError, Resolver};

/// How long one attempt to connect may take, to the first HTTP/2 answer.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long sent bytes may stay unacknowledged before the peer counts as dead.
/// HTTP/2 pings would find the same, but grpc-go and C-core servers answer
/// frequent ones with GOAWAY `ENHANCE_YOUR_CALM`.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// How long a connection is silent before TCP probes whether the peer lives.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Between two such probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A connected byte stream of any kind.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A peer that could not be connected to.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("cannot connect to {to}: {error}")]
    Connect { to: String, error: io::Error },
    #[error("TLS handshake with {to} failed: {}", crate::pem::handshake(error))]
    Tls { to: String, error: io::Error },
    #[error(
        "{to} does not speak TLS here: write http:// instead of https://, or dns:/// without `tls`"
    )]
    NoTls { to: String },
    #[error("{to} does not offer HTTP/2 over TLS (ALPN `h2`)")]
    NoHttp2 { to: String },
}

/// TLS, and the name the peer must prove.
#[derive(Clone)]
pub(super) struct Secured {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

/// One endpoint: the address to dial, and the scheme and authority of its requests.
#[derive(Clone)]
pub(super) struct Target {
    /// Its name in logs and errors.
    pub(super) label: Arc<str>,
    /// The `:authority` of requests.
    pub(super) authority: Authority,
    pub(super) at: Place,
    pub(super) tls: Option<Secured>,
}

/// Where an endpoint listens.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Resolved anew at every connect.
    Host(HostPort, Arc<dyn Resolver>),
    Socket(SocketAddr),
    Unix(PathBuf),
}

impl Target {
    /// The target of an address that is a single endpoint.
    pub(super) fn new(address: &Address, at: Place, authority: Authority) -> Self {
        Self { label: address.to_string().into(), authority, at, tls: None }
    }

    /// The `:scheme` of requests.
    pub(super) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// Connects. The caller bounds the time of the whole; of several resolved
    /// addresses each gets its share, so that a silent one does not hide the
    /// next.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; a half-made connection is closed.
    pub(super) async fn dial(&self) -> Result<Box<dyn Io>, DialError> {
        let stream = match &self.at {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| {
                    DialError::Connect { to: path.display().to_string(), error }
                })?;
                return Ok(Box::new(stream));
            }
            Place::Socket(address) => connect(*address).await?,
            Place::Host(host, resolver) => {
                connect_any(&resolver::resolve(&**resolver, host).await?).await?
            }
        };
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => secure(stream, tls, &self.label).await,
        }
    }
}

async fn connect_any(addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let share = CONNECT_TIMEOUT / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut failed = None;
    for &address in addresses {
        let attempt = timeout(share, connect(address)).await.unwrap_or_else(|_| {
            Err(DialError::Connect {
                to: address.to_string(),
                error: io::ErrorKind::TimedOut.into(),
            })
        });
        match attempt {
            Ok(stream) => return Ok(stream),
            // The first is the one the resolver prefers, so its error says most.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    // There was at least one address.
    Err(failed.unwrap_or_else(|| DialError::Connect {
        to: "nowhere".into(),
        error: io::ErrorKind::AddrNotAvailable.into(),
    }))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, DialError> {
    let open = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        Ok(stream)
    };
    open.await.map_err(|error| DialError::Connect { to: address.to_string(), error })
}

async fn secure(stream: TcpStream, tls: &Secured, label: &str) -> Result<Box<dyn Io>, DialError> {
    let stream = tls
        .connector
        .connect(tls.name.clone(), stream)
        .await
        .map_err(|error| refused(label.to_owned(), error))?;
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Ok(Box::new(stream)),
        _ => Err(DialError::NoHttp2 { to: label.to_owned() }),
    }
}

/// A TLS handshake that failed.
fn refused(to: String, error: io::Error) -> DialError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        // The first byte is that of no TLS record.
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            DialError::NoTls { to }
        }
        _ => DialError::Tls { to, error },
    }
}
