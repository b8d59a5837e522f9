//! The HTTP request that opens a WebSocket (RFC 6455, section 4.2).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::forwarded::{self, Peer};
use super::{ClientPath, Config, host};
use crate::protocol::Protocol;
use crate::trace::Parent;

/// Longer `User-Agent` values are cut: the session keeps them, and every call carries them.
const MAX_USER_AGENT: usize = 512;
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// A socket that has been upgraded to WebSocket.
pub struct Upgraded<S> {
    /// The connection, without the HTTP machinery.
    pub stream: S,
    /// Bytes that the client has already sent behind its request.
    pub read_ahead: Bytes,
    /// The client's address, behind any trusted proxies.
    pub remote_ip: IpAddr,
    /// The `User-Agent` header; may be empty.
    pub user_agent: String,
    /// The trace that the client's calls continue.
    pub trace_parent: Option<Box<Parent>>,
    /// The protocol of the session.
    pub protocol: Protocol,
}

struct Request101 {
    upgrade: OnUpgrade,
    remote_ip: IpAddr,
    user_agent: String,
    trace_parent: Option<Box<Parent>>,
    protocol: Protocol,
}

/// Why a connection was not upgraded. It has ended by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOpened {
    /// Its requests were for something else or invalid, or it broke off.
    Http,
    /// Its last request came from a page that may not connect.
    Origin,
}

/// Speaks HTTP on `stream` until a request opens a WebSocket.
pub async fn negotiate<S>(stream: S, peer: Peer, config: &Config) -> Result<Upgraded<S>, NotOpened>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opened = Arc::new(Mutex::new(Err(NotOpened::Http)));
    let service = service_fn(|mut request: Request<Incoming>| {
        let response = respond(&mut request, peer, config, &opened);
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.handshake_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(peer = %peer.ip, %error, "no WebSocket came of this connection");
        return Err(NotOpened::Http);
    }
    let opened = std::mem::replace(&mut *opened.lock(), Err(NotOpened::Http));
    let Request101 { upgrade, remote_ip, user_agent, trace_parent, protocol } = opened?;
    let upgraded = upgrade.await.map_err(|_| NotOpened::Http)?;
    let parts = upgraded.downcast::<TokioIo<S>>().map_err(|_| NotOpened::Http)?;
    Ok(Upgraded {
        stream: parts.io.into_inner(),
        read_ahead: parts.read_buf,
        remote_ip,
        user_agent,
        trace_parent,
        protocol,
    })
}

fn respond(
    request: &mut Request<Incoming>,
    peer: Peer,
    config: &Config,
    opened: &Mutex<Result<Request101, NotOpened>>,
) -> Response<Full<Bytes>> {
    match check(request, config) {
        Ok(Asked::Greeting) => text(
            StatusCode::OK,
            format!(
                "Bridgehead {}: a WebSocket edge for gRPC services. Clients connect at {}\n",
                env!("CARGO_PKG_VERSION"),
                named(&config.paths)
            ),
        ),
        Ok(Asked::WebSocket { accept, protocol }) => {
            let headers = request.headers();
            let remote_ip = forwarded::client_ip(
                peer,
                headers,
                &config.client_address,
                &config.trusted_proxies,
            );
            let user_agent = user_agent(headers);
            let continues = config.continue_traces;
            let trace_parent =
                continues.then(|| Parent::from_headers(headers)).flatten().map(Box::new);
            let upgrade = hyper::upgrade::on(request);
            *opened.lock() =
                Ok(Request101 { upgrade, remote_ip, user_agent, trace_parent, protocol });
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            response
        }
        Err(refusal) => {
            *opened.lock() = Err(refusal.into());
            refusal.response(config)
        }
    }
}

enum Asked {
    Greeting,
    WebSocket { accept: HeaderValue, protocol: Protocol },
}

/// Why a request does not open a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Host(&'static str),
    NotFound,
    MethodNotAllowed,
    HttpVersion,
    NotAnUpgrade,
    WebSocketVersion,
    BadKey,
    Origin,
}

fn check<B>(request: &Request<B>, config: &Config) -> Result<Asked, Refusal> {
    let headers = request.headers();
    host::check(request.version(), headers).map_err(Refusal::Host)?;
    let path = request.uri().path();
    let Some(at) = config.paths.iter().find(|known| known.path == path) else {
        let greets = path == "/" && matches!(*request.method(), Method::GET | Method::HEAD);
        return if greets { Ok(Asked::Greeting) } else { Err(Refusal::NotFound) };
    };
    if request.method() != Method::GET {
        return Err(Refusal::MethodNotAllowed);
    }
    if request.version() != Version::HTTP_11 {
        return Err(Refusal::HttpVersion);
    }
    if !has_token(headers, &header::CONNECTION, "upgrade")
        || !has_token(headers, &header::UPGRADE, "websocket")
    {
        return Err(Refusal::NotAnUpgrade);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::WebSocketVersion);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(Refusal::BadKey)?;
    if !is_websocket_key(key.as_bytes()) {
        return Err(Refusal::BadKey);
    }
    if !origin_is_allowed(headers, &config.allowed_origins) {
        return Err(Refusal::Origin);
    }
    let accept = derive_accept_key(key.as_bytes());
    let accept = HeaderValue::try_from(accept).map_err(|_| Refusal::BadKey)?;
    Ok(Asked::WebSocket { accept, protocol: at.protocol })
}

/// The paths of clients, for people.
fn named(paths: &[ClientPath]) -> String {
    let paths: Vec<&str> = paths.iter().map(|known| known.path.as_str()).collect();
    paths.join(" or ")
}

impl From<Refusal> for NotOpened {
    fn from(refusal: Refusal) -> Self {
        if refusal == Refusal::Origin { Self::Origin } else { Self::Http }
    }
}

impl Refusal {
    fn response(self, config: &Config) -> Response<Full<Bytes>> {
        let (status, body) = match self {
            Self::Host(wrong) => (StatusCode::BAD_REQUEST, wrong.into()),
            Self::NotFound => {
                let paths = named(&config.paths);
                (StatusCode::NOT_FOUND, format!("not found; clients connect at {paths}"))
            }
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "a WebSocket is opened with GET".into())
            }
            Self::HttpVersion => {
                (StatusCode::BAD_REQUEST, "a WebSocket is opened over HTTP/1.1".into())
            }
            Self::NotAnUpgrade => (
                StatusCode::UPGRADE_REQUIRED,
                "a WebSocket endpoint: send `Connection: Upgrade` and `Upgrade: websocket`".into(),
            ),
            Self::WebSocketVersion => {
                (StatusCode::UPGRADE_REQUIRED, "send `Sec-WebSocket-Version: 13`".into())
            }
            Self::BadKey => {
                (StatusCode::BAD_REQUEST, "`Sec-WebSocket-Key` must be 16 bytes in base64".into())
            }
            Self::Origin => (StatusCode::FORBIDDEN, "this origin is not allowed".into()),
        };
        let mut response = text(status, body + "\n");
        let headers = response.headers_mut();
        match self {
            Self::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
            }
            Self::NotAnUpgrade | Self::WebSocketVersion => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        response
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|candidate| candidate.trim().eq_ignore_ascii_case(token)))
}

/// 16 bytes in base64 are 22 characters and `==`.
fn is_websocket_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|key| key.len() == 22 && key.iter().all(is_base64))
}

fn origin_is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.as_bytes();
    allowed.is_empty() || allowed.iter().any(|one| origin.eq_ignore_ascii_case(one.as_bytes()))
}

fn user_agent(headers: &HeaderMap) -> String {
    let value = headers.get(header::USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
    let cut = value.get(..MAX_USER_AGENT).unwrap_or(value);
    String::from_utf8_lossy(cut).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn verdict(change: impl FnOnce(&mut Request<()>)) -> Option<Refusal> {
        let config = Config {
            paths: vec![ClientPath {
                path: "/ws".into(),
                protocol: Protocol::Seed { server_iv: false },
            }],
            allowed_origins: vec!["https://app.example".into()],
            trusted_proxies: Vec::new(),
            client_address: forwarded::ClientAddress::XForwardedFor,
            proxy_protocol: false,
            handshake_timeout: Duration::from_secs(1),
            max_connections: 1,
            max_connections_per_ip: 0,
            continue_traces: true,
        };
        let mut request = Request::builder()
            .uri("/ws")
            .header("host", "gw.example.com")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("origin", "https://APP.example")
            .body(())
            .unwrap();
        change(&mut request);
        check(&request, &config).err()
    }

    fn with_header(name: &'static str, value: Option<&'static str>) -> Option<Refusal> {
        verdict(|request| match value {
            Some(value) => {
                request.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            None => {
                request.headers_mut().remove(name);
            }
        })
    }

    #[test]
    fn a_good_request_opens_a_websocket() {
        assert_eq!(verdict(|_| ()), None);
        assert_eq!(with_header("origin", None), None, "not a browser");
    }

    #[test]
    fn every_flaw_has_its_own_refusal() {
        assert!(matches!(with_header("host", None), Some(Refusal::Host(_))));
        assert!(matches!(with_header("host", Some("a b")), Some(Refusal::Host(_))));
        assert_eq!(with_header("connection", Some("close")), Some(Refusal::NotAnUpgrade));
        assert_eq!(with_header("upgrade", None), Some(Refusal::NotAnUpgrade));
        assert_eq!(
            with_header("sec-websocket-version", Some("8")),
            Some(Refusal::WebSocketVersion)
        );
        assert_eq!(with_header("sec-websocket-key", Some("short==")), Some(Refusal::BadKey));
        assert_eq!(with_header("sec-websocket-key", None), Some(Refusal::BadKey));
        assert_eq!(with_header("origin", Some("https://evil.example")), Some(Refusal::Origin));
        assert_eq!(verdict(|r| *r.method_mut() = Method::POST), Some(Refusal::MethodNotAllowed));
        assert_eq!(verdict(|r| *r.version_mut() = Version::HTTP_10), Some(Refusal::HttpVersion));
        assert_eq!(
            verdict(|r| *r.uri_mut() = hyper::Uri::from_static("/wss")),
            Some(Refusal::NotFound)
        );
    }

    #[test]
    fn the_root_says_what_this_is() {
        assert_eq!(verdict(|r| *r.uri_mut() = hyper::Uri::from_static("/")), None);
    }
}
