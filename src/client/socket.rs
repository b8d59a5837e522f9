//! From a URL to an open WebSocket.

use hyper::http::Uri;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, handshake::client::Request};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::options::Options;
use super::place::{DialError, Place, Scheme, Transport, bad_url};
use super::recognise::{Page, front_page, speaks_http2};
use super::tls::Tls;

/// A WebSocket over TCP, with or without TLS.
pub(super) type Socket = WebSocketStream<Box<dyn Transport>>;

const WEBSOCKET: Scheme =
    Scheme { plain: "ws", secure: "wss", ports: (80, 443), example: "ws://127.0.0.1:8080/ws" };

/// Opens the socket. No time limit of its own; may be dropped at any time.
pub(super) async fn dial(options: &Options) -> Result<Socket, DialError> {
    match open(options).await {
        Ok(socket) => Ok(socket),
        Err(error) => Err(recognise(options, error).await),
    }
}

/// Says more of a peer that is no WebSocket server, if its kind can be recognised.
pub(super) async fn recognise(options: &Options, error: DialError) -> DialError {
    let again = async || Some(reach(options).await.ok()?.0);
    match error {
        DialError::Http { url, status, .. } => {
            let page = match again().await {
                Some(stream) => front_page(stream).await,
                None => Page::None,
            };
            match page {
                Page::Gateway(path) => DialError::Http { url, status, path: Some(path) },
                Page::Admin => DialError::Admin { url },
                Page::Other | Page::None => DialError::Http { url, status, path: None },
            }
        }
        DialError::WebSocket { url, reason } => {
            let is_grpc = match again().await {
                Some(stream) => speaks_http2(stream).await,
                None => false,
            };
            if is_grpc { DialError::Grpc { url } } else { DialError::WebSocket { url, reason } }
        }
        other => other,
    }
}

async fn open(options: &Options) -> Result<Socket, DialError> {
    let (transport, request) = reach(options).await?;
    match client_async_with_config(request, transport, Some(config())).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => {
            let (url, status) = (options.url.clone(), response.status());
            Err(DialError::Http { url, status, path: None })
        }
        Err(error) => {
            Err(DialError::WebSocket { url: options.url.clone(), reason: error.to_string() })
        }
    }
}

/// Opens the connection on which the socket is to be asked for, and how.
pub(super) async fn reach(options: &Options) -> Result<(Box<dyn Transport>, Request), DialError> {
    let place = Place::parse(&options.url, &WEBSOCKET)?;
    let tls = || Ok(options.tls.clone().map_or_else(Tls::public, Ok)?.connector());
    let transport = place.dial(options.source, tls).await?;
    let request = upgrade_request(options, place.uri)?;
    Ok((transport, request))
}

fn upgrade_request(options: &Options, uri: Uri) -> Result<Request, DialError> {
    let mut request =
        uri.into_client_request().map_err(|error| bad_url(&options.url, &WEBSOCKET, &error))?;
    for (name, value) in &options.headers {
        request.headers_mut().append(name, value.clone());
    }
    Ok(request)
}

/// Small buffers: they are allocated for each socket, and there may be thousands.
fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4 << 10).write_buffer_size(16 << 10)
}
