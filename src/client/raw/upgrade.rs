//! From a byte stream to a WebSocket, and nothing besides: bytes behind the
//! server's answer are kept.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::client::{Request, generate_request};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::client::place::{DialError, Transport};

/// The longest answer that is read.
const MOST: usize = 16 << 10;
/// Header lines that an answer may have.
const HEADERS: usize = 64;

/// Asks for a WebSocket. Returns the bytes received behind the answer.
pub(super) async fn upgrade(
    stream: &mut dyn Transport,
    request: Request,
    url: &str,
) -> Result<Vec<u8>, DialError> {
    let broken = |reason: String| DialError::WebSocket { url: url.to_owned(), reason };
    let (request, key) = generate_request(request).map_err(|error| broken(error.to_string()))?;
    stream.write_all(&request).await.map_err(|error| broken(error.to_string()))?;
    stream.flush().await.map_err(|error| broken(error.to_string()))?;
    let mut received = Vec::with_capacity(512);
    loop {
        let read = stream.read_buf(&mut received).await;
        let read = read.map_err(|error| broken(error.to_string()))?;
        if let Some(len) = accepted(&received, &key, url)? {
            received.drain(..len);
            return Ok(received);
        }
        if read == 0 || received.len() > MOST {
            return Err(broken("the server did not answer the upgrade".to_owned()));
        }
    }
}

/// The length of a whole answer that accepts the upgrade.
fn accepted(received: &[u8], key: &str, url: &str) -> Result<Option<usize>, DialError> {
    let broken = |reason: String| DialError::WebSocket { url: url.to_owned(), reason };
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(received).map_err(|error| broken(error.to_string()))?;
    let httparse::Status::Complete(len) = parsed else { return Ok(None) };
    let status = answer.code.unwrap_or_default();
    if status != 101 {
        let status = status.try_into().map_err(|_| broken(format!("status {status}")))?;
        return Err(DialError::Http { url: url.to_owned(), status, path: None });
    }
    let is_accepted = answer.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("sec-websocket-accept")
            && header.value == derive_accept_key(key.as_bytes()).as_bytes()
    });
    if is_accepted {
        Ok(Some(len))
    } else {
        Err(broken("the server's Sec-WebSocket-Accept does not fit the request".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn error(answer: &str) -> String {
        accepted(answer.as_bytes(), KEY, "ws://x").unwrap_err().to_string()
    }

    #[test]
    fn an_answer_is_accepted_when_it_is_whole_and_fits_the_key() {
        // The example of RFC 6455, 1.3.
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: \
                      Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let behind = format!("{answer}\u{1}");
        assert_eq!(accepted(behind.as_bytes(), KEY, "").unwrap(), Some(answer.len()));
        assert_eq!(accepted(&answer.as_bytes()[..100], KEY, "").unwrap(), None);
        assert!(error(&answer.replace("s3p", "xxx")).contains("Sec-WebSocket-Accept"));
    }

    #[test]
    fn what_is_no_websocket_is_told() {
        assert!(error("HTTP/1.1 404 Not Found\r\n\r\n").contains("404"));
        assert!(error("SSH-2.0-OpenSSH_9.2\r\n").contains("the WebSocket handshake with ws://x"));
    }
}
