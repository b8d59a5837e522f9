//! From a URL to a byte stream: TCP, with or without TLS. The protocol over it is the caller's.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::http::{StatusCode, Uri};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::rustls::{self, InvalidMessage};

use super::tls::TlsError;

/// A byte stream for WebSocket or HTTP/2.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The URL cannot be used, or is one of another kind.
    #[error("`{url}` is not a usable URL: {reason}; expected a URL such as {example}")]
    Url {
        /// The URL as it was given.
        url: String,
        /// A usable URL.
        example: &'static str,
        /// Why it cannot be used.
        reason: String,
    },
    /// No server can be reached there.
    #[error("cannot connect to {address}: {source}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake with {address} failed: {}", crate::pem::handshake(source))]
    Tls {
        /// `host:port`.
        address: String,
        /// The error, such as a certificate that is not trusted.
        source: io::Error,
    },
    /// TLS cannot even begin.
    #[error(transparent)]
    TlsSetup(#[from] TlsError),
    /// A web server answered, but not with a WebSocket.
    #[error("{url} is not a WebSocket endpoint: the server answers {status}")]
    Http {
        /// The URL as it was given.
        url: String,
        /// The answer's status.
        status: StatusCode,
        /// Where the gateway says that clients connect, if it is one.
        path: Option<String>,
    },
    /// The server speaks HTTP/2 and nothing else, as gRPC servers do.
    #[error("{url} is not a WebSocket endpoint: a gRPC server answers")]
    Grpc {
        /// The URL as it was given.
        url: String,
    },
    /// The admin listener of a gateway answered.
    #[error("{url} is not a WebSocket endpoint: the admin listener of a gateway answers")]
    Admin {
        /// The URL as it was given.
        url: String,
    },
    /// The server does not speak WebSocket.
    #[error("the WebSocket handshake with {url} failed: {reason}")]
    WebSocket {
        /// The URL as it was given.
        url: String,
        /// The error.
        reason: String,
    },
    /// The server does not speak HTTP/2.
    #[error("the HTTP/2 handshake with {address} failed: {reason}")]
    Http2 {
        /// `host:port`.
        address: String,
        /// The error.
        reason: String,
    },
    /// It took too long.
    #[error("{address} did not answer within {}", humantime::format_duration(*limit))]
    Timeout {
        /// `host:port`.
        address: String,
        /// The limit.
        limit: Duration,
    },
}

/// Whether a TLS handshake failed because the server does not speak TLS: its
/// first byte is not that of a TLS record.
pub fn is_plain(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// The form of a URL.
pub(super) struct Scheme {
    pub(super) plain: &'static str,
    pub(super) secure: &'static str,
    /// The default ports: plain and secure.
    pub(super) ports: (u16, u16),
    pub(super) example: &'static str,
}

/// The destination of a URL.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) uri: Uri,
    pub(super) is_secure: bool,
    host: String,
    port: u16,
}

impl Place {
    pub(super) fn parse(url: &str, scheme: &Scheme) -> Result<Self, DialError> {
        let parsed = url.parse::<Uri>();
        let is_secure = match parsed.as_ref().map(Uri::scheme_str) {
            Ok(Some(name)) if name == scheme.plain => false,
            Ok(Some(name)) if name == scheme.secure => true,
            // `127.0.0.1:8080/ws` is no URI at all.
            Err(error) if url.is_empty() || url.contains("://") => {
                return Err(bad_url(url, scheme, error));
            }
            _ => {
                let reason =
                    format!("it does not begin with {}:// or {}://", scheme.plain, scheme.secure);
                return Err(bad_url(url, scheme, &reason));
            }
        };
        let uri = parsed.map_err(|error| bad_url(url, scheme, &error))?;
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(bad_url(url, scheme, &"it names no host"));
        }
        if is_secure && ServerName::try_from(host).is_err() {
            return Err(bad_url(
                url,
                scheme,
                &"its host is not a name that a certificate can have",
            ));
        }
        let (plain, secure) = scheme.ports;
        let port = uri.port_u16().unwrap_or(if is_secure { secure } else { plain });
        Ok(Self { is_secure, host: host.to_owned(), port, uri })
    }

    /// `host:port`.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Opens a connection, from `source` if there is one; over TLS where the
    /// URL says so, checked as `tls` says. No time limit of its own; may be dropped at any time.
    pub(super) async fn dial(
        &self,
        source: Option<IpAddr>,
        tls: impl FnOnce() -> Result<tokio_rustls::TlsConnector, TlsError>,
    ) -> Result<Box<dyn Transport>, DialError> {
        let tcp = match source {
            None => TcpStream::connect((self.host.as_str(), self.port)).await,
            Some(source) => self.connect_from(source).await,
        };
        let tcp = tcp
            .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
            .map_err(|source| DialError::Unreachable { address: self.address(), source })?;
        if !self.is_secure {
            return Ok(Box::new(tcp));
        }
        let unsecured = |source| DialError::Tls { address: self.address(), source };
        let name = ServerName::try_from(self.host.clone())
            .map_err(|error| unsecured(io::Error::other(error)))?;
        Ok(Box::new(tls()?.connect(name, tcp).await.map_err(unsecured)?))
    }

    async fn connect_from(&self, source: IpAddr) -> io::Result<TcpStream> {
        let mut addresses = lookup_host((self.host.as_str(), self.port)).await?;
        let of_the_same_kind = addresses.find(|address| address.is_ipv4() == source.is_ipv4());
        let Some(address) = of_the_same_kind else {
            return Err(io::Error::other(format!("it has no address that {source} can reach")));
        };
        let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(SocketAddr::new(source, 0))?;
        socket.connect(address).await
    }
}

pub(super) fn bad_url(url: &str, scheme: &Scheme, reason: &dyn ToString) -> DialError {
    DialError::Url { url: url.to_owned(), example: scheme.example, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Tls;

    const HTTP: Scheme = Scheme {
        plain: "http",
        secure: "https",
        ports: (80, 443),
        example: "http://127.0.0.1:9090",
    };

    #[test]
    fn a_url_leads_to_a_host_and_a_port() {
        for (url, address, is_secure) in [
            ("http://gateway:9090", "gateway:9090", false),
            ("http://gateway", "gateway:80", false),
            ("https://gateway/", "gateway:443", true),
            ("https://[::1]:9090", "[::1]:9090", true),
        ] {
            let place = Place::parse(url, &HTTP).unwrap();
            assert_eq!((place.address().as_str(), place.is_secure), (address, is_secure), "{url}");
        }
    }

    #[test]
    fn what_is_no_such_url_is_told_what_would_be() {
        for (url, says) in [
            ("ws://gateway", "it does not begin with http:// or https://"),
            ("gateway:9090", "it does not begin with http:// or https://"),
            ("gateway:9090/path", "it does not begin with http:// or https://"),
            ("http://", "empty string"),
            ("http:///x", "invalid format"),
            ("", "empty string"),
        ] {
            let error = Place::parse(url, &HTTP).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("http://127.0.0.1:9090"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_connection_can_come_from_another_address_of_this_machine() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let place = Place::parse(&url, &HTTP).unwrap();
        let (source, tls) = (Some([127, 0, 0, 9].into()), Tls::public);
        let connector = || Ok(tls()?.connector());
        let _connection = place.dial(source, connector).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1.ip().to_string(), "127.0.0.9");
        let v6 = Some(std::net::Ipv6Addr::LOCALHOST.into());
        let error = place.dial(v6, connector).await.err().unwrap().to_string();
        assert!(error.contains("no address that ::1 can reach"), "{error}");
    }
}
