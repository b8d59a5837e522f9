//! Recognises a server of an unexpected kind: over one more connection, by a few
//! bytes of its answer. Only after something has failed already.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::place::Transport;

/// How long a server has to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of an answer that are looked at, at most.
const MOST: u64 = 4096;
/// The words before the path on the gateway's front page.
const FRONT_PAGE: &str = "lients connect at ";
/// Part of the admin listener's answer.
const ADMIN_PAGE: &str = "\r\n\r\nthere are /healthz, /readyz";
/// The preface of HTTP/2 (RFC 9113, section 3.4), and a SETTINGS frame without any.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Whether the server speaks HTTP/2 from the first byte, as gRPC servers do.
pub(super) async fn speaks_http2(stream: Box<dyn Transport>) -> bool {
    let said = ask(stream, PREFACE, |said| said.len() >= 9).await;
    // The first frame must be one of SETTINGS, of the connection as a whole.
    matches!(said.as_slice(), [_, _, _, 4, _, 0, 0, 0, 0, ..])
}

/// The kind of server, as seen over HTTP/1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    /// No HTTP/1.1.
    None,
    /// A gateway's listener for clients, with the path that they connect at.
    Gateway(String),
    /// A gateway's admin listener.
    Admin,
    /// Something else.
    Other,
}

/// Looks at the front page.
pub(super) async fn front_page(stream: Box<dyn Transport>) -> Page {
    let said = ask(stream, GET, |_| false).await;
    let text = String::from_utf8_lossy(&said);
    if !text.starts_with("HTTP/1.") {
        return Page::None;
    }
    let path = text.split_once(FRONT_PAGE).map(|(_, behind)| behind);
    let path = path.and_then(|path| path.split([' ', ',', '\r', '\n']).next());
    match path.filter(|path| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic())) {
        Some(path) => Page::Gateway(path.to_owned()),
        None if text.contains(ADMIN_PAGE) => Page::Admin,
        None => Page::Other,
    }
}

/// The answer, until there is enough of it, its end, or the end of patience.
async fn ask(mut stream: Box<dyn Transport>, with: &[u8], enough: fn(&[u8]) -> bool) -> Vec<u8> {
    let mut said = Vec::new();
    let exchange = async {
        stream.write_all(with).await?;
        stream.flush().await?;
        let mut rest = stream.take(MOST);
        while !enough(&said) && rest.read_buf(&mut said).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // However it ended, the bytes until then count.
    drop(timeout(PATIENCE, exchange).await);
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn page(answer: &'static str) -> Page {
        let (here, mut there) = tokio::io::duplex(8192);
        tokio::spawn(async move {
            let mut request = [0; 64];
            let _ = there.read(&mut request).await;
            let _ = there.write_all(answer.as_bytes()).await;
        });
        front_page(Box::new(here)).await
    }

    #[tokio::test]
    async fn a_front_page_names_the_path() {
        let answer = "HTTP/1.1 200 OK\r\n\r\nBridgehead 1: x. Clients connect at /socket\n";
        assert_eq!(page(answer).await, Page::Gateway("/socket".to_owned()));
        assert_eq!(page("HTTP/1.1 200 OK\r\n\r\nhello").await, Page::Other);
        assert_eq!(page("HTTP/1.1 200 OK\r\n\r\nClients connect at \x1b[2J").await, Page::Other);
        let admin = "HTTP/1.1 404 Not Found\r\n\r\nthere are /healthz, /readyz and /metrics\n";
        assert_eq!(page(admin).await, Page::Admin);
        assert_eq!(page("SSH-2.0-x\r\n").await, Page::None);
        assert_eq!(page("").await, Page::None);
    }

    #[tokio::test]
    async fn silence_and_endless_talk_are_nobody() {
        let (here, _there) = tokio::io::duplex(64);
        assert!(!speaks_http2(Box::new(here)).await);
        let (here, mut there) = tokio::io::duplex(64);
        tokio::spawn(async move { while there.write_all(&[b'x'; 64]).await.is_ok() {} });
        assert_eq!(front_page(Box::new(here)).await, Page::None);
    }
}
