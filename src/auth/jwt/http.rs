//! One GET at a time, over HTTP/1.1, for documents of an identity provider.
//!
//! It happens every few minutes, so each request has a connection of its own,
//! and nothing is kept that could have broken meanwhile. Everything is bounded:
//! time, size, redirects, headers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use super::url::{KeysUrl, UrlProblem};

/// From the look-up of the name to the last byte, redirects included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For one address, so that another of the same name gets its chance.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A set of a hundred keys with certificates is smaller.
const MAX_BODY: usize = 512 * 1024;
const MAX_HEADERS: usize = 64 * 1024;
const MAX_REDIRECTS: usize = 3;
/// A longer ETag is not sent back.
const MAX_ETAG: usize = 256;

/// Fetches documents. A clone is cheap.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
}

/// A server's answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// The document.
    Document {
        body: Bytes,
        /// For asking whether it has changed.
        etag: Option<HeaderValue>,
        /// How long it holds, according to the server.
        max_age: Option<Duration>,
    },
    /// It is still the one that the ETag came with.
    Unchanged { max_age: Option<Duration> },
}

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{host} cannot be looked up: {error}")]
    LookUp { host: String, error: io::Error },
    #[error("cannot connect to {authority}: {error}")]
    Connect { authority: String, error: io::Error },
    #[error("{0} is plain http and leads to another machine")]
    NotLoopback(String),
    #[error("the TLS handshake with {authority} failed: {}", crate::pem::handshake(error))]
    Tls { authority: String, error: io::Error },
    #[error("no HTTP with {authority}: {error}")]
    Http { authority: String, error: hyper::Error },
    #[error("no answer within {}s", TIMEOUT.as_secs())]
    TimedOut,
    #[error("{url} answers {status} instead of 200")]
    Status { url: KeysUrl, status: StatusCode },
    #[error("{url} answers with more than {} KiB", MAX_BODY / 1024)]
    TooLarge { url: KeysUrl },
    #[error("{url} ends its answer early: {error}")]
    Body { url: KeysUrl, error: Box<dyn std::error::Error + Send + Sync> },
    #[error("{url} redirects to a URL that {problem}")]
    Redirect { url: KeysUrl, problem: UrlProblem },
    #[error("{url} redirects without saying where to, or too often")]
    Lost { url: KeysUrl },
}

impl FetchError {
    /// Whether there was an answer, but an invalid one.
    pub(super) fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Status { .. }
                | Self::TooLarge { .. }
                | Self::Body { .. }
                | Self::Redirect { .. }
                | Self::Lost { .. }
        )
    }
}

impl Client {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls: TlsConnector::from(tls) }
    }

    /// Fetches a document, unless it is still the one of `etag`.
    ///
    /// Cancel safe: the connection ends with the future.
    pub(super) async fn get(
        &self,
        url: &KeysUrl,
        etag: Option<&HeaderValue>,
    ) -> Result<Answer, FetchError> {
        timeout(TIMEOUT, self.follow(url.clone(), etag)).await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn follow(
        &self,
        mut url: KeysUrl,
        etag: Option<&HeaderValue>,
    ) -> Result<Answer, FetchError> {
        for _ in 0..=MAX_REDIRECTS {
            // The connection lives as long as this.
            let mut connection = JoinSet::new();
            let response = self.ask(&url, etag, &mut connection).await?;
            let headers = response.headers();
            match response.status() {
                StatusCode::OK => {
                    let (etag, max_age) = (etag_of(headers), max_age_of(headers));
                    let body = read(&url, response.into_body()).await?;
                    return Ok(Answer::Document { body, etag, max_age });
                }
                StatusCode::NOT_MODIFIED if etag.is_some() => {
                    return Ok(Answer::Unchanged { max_age: max_age_of(headers) });
                }
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let location = headers.get(header::LOCATION).and_then(|it| it.to_str().ok());
                    let Some(location) = location else { return Err(FetchError::Lost { url }) };
                    url = url
                        .redirected(location)
                        .map_err(|problem| FetchError::Redirect { url, problem })?;
                }
                status => return Err(FetchError::Status { url, status }),
            }
        }
        Err(FetchError::Lost { url })
    }

    async fn ask(
        &self,
        url: &KeysUrl,
        etag: Option<&HeaderValue>,
        connection: &mut JoinSet<()>,
    ) -> Result<http::Response<Incoming>, FetchError> {
        let stream = connect(url).await?;
        if !url.is_https() {
            return exchange(url, etag, stream, connection).await;
        }
        let tls = |error| FetchError::Tls { authority: url.authority(), error };
        let name = ServerName::try_from(url.host().to_owned())
            .map_err(|error| tls(io::Error::other(error)))?;
        let stream = self.tls.connect(name, stream).await.map_err(tls)?;
        exchange(url, etag, stream, connection).await
    }
}

async fn connect(url: &KeysUrl) -> Result<TcpStream, FetchError> {
    let looked_up = lookup_host((url.host(), url.port())).await;
    let found = looked_up
        .map_err(|error| FetchError::LookUp { host: url.host().to_owned(), error })?
        // Plain HTTP stays on this machine, whatever the name resolves to.
        .filter(|address| url.is_https() || address.ip().to_canonical().is_loopback());
    let mut failure = None;
    for address in found {
        match connect_to(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) => Err(FetchError::Connect { authority: url.authority(), error }),
        None => Err(FetchError::NotLoopback(url.authority())),
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchange(
    url: &KeysUrl,
    etag: Option<&HeaderValue>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: &mut JoinSet<()>,
) -> Result<http::Response<Incoming>, FetchError> {
    let http = |error| FetchError::Http { authority: url.authority(), error };
    let (mut sender, driver) = http1::Builder::new()
        .max_buf_size(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(http)?;
    // The request fails with its error as well.
    connection.spawn(async move { drop(driver.await) });
    let mut request = Request::get(url.path_and_query())
        .header(header::HOST, url.authority())
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::USER_AGENT, concat!("bridgehead/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    if let Some(etag) = etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Redirect { url: url.clone(), problem: UrlProblem::Malformed })?;
    sender.send_request(request).await.map_err(http)
}

async fn read(url: &KeysUrl, body: Incoming) -> Result<Bytes, FetchError> {
    let read = Limited::new(body, MAX_BODY).collect().await;
    read.map(http_body_util::Collected::to_bytes).map_err(|error| {
        let url = url.clone();
        if error.is::<LengthLimitError>() {
            FetchError::TooLarge { url }
        } else {
            FetchError::Body { url, error }
        }
    })
}

fn etag_of(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(header::ETAG).filter(|etag| etag.len() <= MAX_ETAG).cloned()
}

/// How long an answer holds (RFC 9111, 5.2.2). An answer that must not be kept
/// without asking is kept for the usual time: it is fetched again regularly anyway.
fn max_age_of(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let all: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    let directives = || all.iter().flat_map(|value| value.split(',')).map(str::trim);
    let says = |name: &str| directives().any(|it| it.eq_ignore_ascii_case(name));
    if says("no-store") || says("no-cache") {
        return None;
    }
    let max_age = directives().find_map(|directive| {
        let (name, seconds) = directive.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then_some(seconds.trim_matches('"'))
    });
    max_age?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_how_long_its_answer_holds() {
        let max_age = |values: &[&'static str]| {
            let headers = values.iter().map(|it| HeaderValue::from_static(it));
            let headers = headers.map(|value| (header::CACHE_CONTROL, value)).collect();
            max_age_of(&headers).map(|age| age.as_secs())
        };
        assert_eq!(max_age(&["public, max-age=3600"]), Some(3600));
        assert_eq!(max_age(&["Max-Age=\"60\""]), Some(60));
        assert_eq!(max_age(&["public", "max-age=5"]), Some(5));
        for none in ["", "public", "max-age", "max-age=", "max-age=-1", "s-maxage=7", "max-age=x"] {
            assert_eq!(max_age(&[none]), None, "{none}");
        }
        assert_eq!(max_age(&["no-cache, no-store, max-age=0, must-revalidate"]), None);
        assert_eq!(max_age(&["max-age=99999999999999999999999"]), None);
    }
}
