//! From a URL to an open WebSocket.

use std::io;

use hyper::http::{StatusCode, Uri};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, handshake::client::Request};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::options::Options;
use super::tls::{Tls, TlsError};

/// A WebSocket over TCP, with or without TLS.
pub(super) type Socket = WebSocketStream<Box<dyn Transport>>;

/// What a WebSocket may travel over.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The URL is none, or not of a WebSocket.
    #[error("`{url}` is no WebSocket URL such as ws://127.0.0.1:8080/ws: {reason}")]
    Url {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody can be reached there.
    #[error("cannot connect to {address}: {source}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("no TLS with {address}: {source}")]
    Tls {
        /// `host:port`.
        address: String,
        /// What went wrong, such as a certificate that is not believed.
        source: io::Error,
    },
    /// TLS cannot even begin.
    #[error(transparent)]
    TlsSetup(#[from] TlsError),
    /// A web server answered, but not with a WebSocket.
    #[error("{url} is no WebSocket: the server answers {status}")]
    Http {
        /// The URL as it was given.
        url: String,
        /// The answer's status.
        status: StatusCode,
    },
    /// Whoever answered does not speak WebSocket.
    #[error("no WebSocket at {url}: {reason}")]
    WebSocket {
        /// The URL as it was given.
        url: String,
        /// What went wrong.
        reason: String,
    },
}

/// Opens the socket. No time limit of its own; may be dropped at any time.
pub(super) async fn dial(options: &Options) -> Result<Socket, DialError> {
    let target = Target::parse(&options.url)?;
    let tcp = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
        .map_err(|source| DialError::Unreachable { address: target.address(), source })?;
    let transport: Box<dyn Transport> = if target.is_secure {
        let tls = options.tls.clone().map_or_else(Tls::public, Ok)?;
        let name = ServerName::try_from(target.host.clone())
            .map_err(|error| bad_url(&options.url, &error))?;
        let stream = tls.connector().connect(name, tcp).await;
        Box::new(stream.map_err(|source| DialError::Tls { address: target.address(), source })?)
    } else {
        Box::new(tcp)
    };
    let request = upgrade_request(options, target.uri)?;
    match client_async_with_config(request, transport, Some(config())).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => {
            Err(DialError::Http { url: options.url.clone(), status: response.status() })
        }
        Err(error) => {
            Err(DialError::WebSocket { url: options.url.clone(), reason: error.to_string() })
        }
    }
}

struct Target {
    uri: Uri,
    is_secure: bool,
    host: String,
    port: u16,
}

impl Target {
    fn parse(url: &str) -> Result<Self, DialError> {
        let uri: Uri = url.parse().map_err(|error| bad_url(url, &error))?;
        let is_secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(bad_url(url, &"it does not begin with ws:// or wss://")),
        };
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(bad_url(url, &"it names no host"));
        }
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Ok(Self { is_secure, host: host.to_owned(), port, uri })
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn bad_url(url: &str, reason: &dyn ToString) -> DialError {
    DialError::Url { url: url.to_owned(), reason: reason.to_string() }
}

fn upgrade_request(options: &Options, uri: Uri) -> Result<Request, DialError> {
    let mut request = uri.into_client_request().map_err(|error| bad_url(&options.url, &error))?;
    for (name, value) in &options.headers {
        request.headers_mut().append(name, value.clone());
    }
    Ok(request)
}

/// Small buffers: they are allocated for each socket, and there may be thousands.
fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(8 << 10).write_buffer_size(16 << 10)
}
