//! A connection to a gateway's Push API, as a backend has one.
//!
//! It is dialled here rather than by tonic, so that it is secured as sessions
//! are, by the same [`Tls`], and fails in the same words. Tonic's own TLS would
//! be a second set of certificates and errors.

use std::sync::Arc;
use std::time::Duration;

use hyper::http::{Uri, uri};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::place::{DialError, Place, Scheme, Transport};
use super::recognise::{Page, front_page};
use super::tls::Tls;
use crate::proto::push::push_service_client::PushServiceClient;

/// A client of the Push API; clones share its connection.
pub type PushClient = PushServiceClient<InterceptedService<Channel, Bearer>>;

const PUSH_API: Scheme =
    Scheme { plain: "http", secure: "https", ports: (80, 443), example: "http://127.0.0.1:9090" };

/// A gateway that says nothing for this long is asked whether it is there...
const PING_AFTER: Duration = Duration::from_secs(10);
/// ... and has this long to answer. Watches last for days, and a gateway that lost
/// its machine closes nothing.
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Where the Push API is, and how to be let in.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// `http://host:port` or `https://…`.
    pub url: String,
    /// The credentials for the Push API.
    pub bearer: Bearer,
    /// How the gateway's certificate is checked; absent, against the public
    /// web's authorities. Without meaning for `http://`.
    pub tls: Option<Tls>,
    /// How long connecting may take.
    pub timeout: Duration,
}

/// Adds `authorization: Bearer …` to each call, if there is a token.
#[derive(Debug, Clone, Default)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

/// A token with characters that no header can carry.
#[derive(Debug, thiserror::Error)]
#[error("the token has a character that no header can carry: only visible ASCII will do")]
pub struct BadToken;

impl Bearer {
    /// The header with this token; none where it is empty.
    pub fn new(token: &str) -> Result<Self, BadToken> {
        if token.is_empty() {
            return Ok(Self(None));
        }
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_| BadToken)?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Connects to a gateway's Push API. A connection that is lost later is opened
/// again by the next call.
///
/// # Cancel safety
///
/// May be dropped at any time.
pub async fn connect(options: PushOptions) -> Result<PushClient, DialError> {
    let PushOptions { url, bearer, tls, timeout: limit } = options;
    let place = Place::parse(&url, &PUSH_API)?;
    let dial = Arc::new(Dial { place, tls, limit });
    // Connects now, so that the caller gets the exact error.
    let first = Arc::new(Mutex::new(Some(dial.stream().await?)));
    let (uri, address) = (dial.place.uri.clone(), dial.place.address());
    let connector = tower::service_fn(move |_: Uri| {
        let (first, dial) = (first.lock().take(), Arc::clone(&dial));
        async move {
            let stream = match first {
                Some(stream) => stream,
                None => dial.stream().await?,
            };
            Ok::<_, DialError>(TokioIo::new(stream))
        }
    });
    // The stream is secured already: the channel must not ask for TLS of its own,
    // as it does for an https URI, but say https to the gateway.
    let channel = Endpoint::from(plain(&uri))
        .origin(uri)
        .http2_keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_WITHIN)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(|error| DialError::Http2 { address, reason: root_cause(&error) })?;
    Ok(PushServiceClient::with_interceptor(channel, bearer))
}

/// The kind of server there is instead of a Push API, as far as it can be recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// A gateway's listener for clients.
    Clients,
    /// A gateway's admin listener.
    Admin,
    /// Another server of HTTP/1.1.
    Http1,
}

/// Finds out which server is at the URL of a Push API that does not serve.
///
/// # Cancel safety
///
/// May be dropped at any time.
pub async fn recognise(url: &str, tls: Option<&Tls>) -> Option<Stranger> {
    let place = Place::parse(url, &PUSH_API).ok()?;
    let connector = || Ok(tls.cloned().map_or_else(Tls::public, Ok)?.connector());
    let stream = timeout(Duration::from_secs(2), place.dial(None, connector)).await.ok()?.ok()?;
    match front_page(stream).await {
        Page::Gateway(_) => Some(Stranger::Clients),
        Page::Admin => Some(Stranger::Admin),
        Page::Other => Some(Stranger::Http1),
        Page::None => None,
    }
}

/// The same with `http`.
fn plain(address: &Uri) -> Uri {
    let mut parts = address.clone().into_parts();
    parts.scheme = Some(uri::Scheme::HTTP);
    Uri::from_parts(parts).unwrap_or_default()
}

/// The innermost source of an error: the errors above it say little.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// How a connection is opened, and opened again.
struct Dial {
    place: Place,
    tls: Option<Tls>,
    limit: Duration,
}

impl Dial {
    async fn stream(&self) -> Result<Box<dyn Transport>, DialError> {
        let tls = || self.tls.clone().map_or_else(Tls::public, Ok).map(|tls| tls.http2_connector());
        timeout(self.limit, self.place.dial(None, tls)).await.unwrap_or_else(|_| {
            Err(DialError::Timeout { address: self.place.address(), limit: self.limit })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_becomes_a_header_that_is_not_shown() {
        let mut bearer = Bearer::new("secret").unwrap();
        let request = bearer.call(Request::new(())).unwrap();
        let header = request.metadata().get("authorization").unwrap();
        assert_eq!(header.to_str().unwrap(), "Bearer secret");
        assert!(!format!("{bearer:?} {request:?}").contains("secret"));
    }

    #[test]
    fn without_a_token_there_is_no_header() {
        let mut bearer = Bearer::new("").unwrap();
        let request = bearer.call(Request::new(())).unwrap();
        assert!(bearer.is_empty() && request.metadata().is_empty());
    }

    #[test]
    fn a_token_with_a_line_break_is_refused() {
        assert!(Bearer::new("secret\n").is_err());
    }
}
