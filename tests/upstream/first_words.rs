//! Peers that do not become HTTP/2 connections, and the errors about them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::grpc::{Server, Setup, ask, call, echo, eventually, upstream};
use bridgehead::upstream::{Call, Origin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
/// The acknowledgement of the client's settings.
const ACKNOWLEDGED: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";

/// GOAWAY that has processed nothing, with a reason and words.
fn goaway(reason: u8, words: &[u8]) -> Vec<u8> {
    let length = u8::try_from(8 + words.len()).unwrap();
    let mut frame = vec![0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, reason];
    frame.extend(words);
    frame
}

/// How a peer treats every connection.
#[derive(Clone)]
struct Peer {
    /// Whether it waits for the client's first words.
    listens: bool,
    says: Vec<u8>,
    /// Whether it closes then.
    closes: bool,
}

/// Its URL, and how many connections it has seen.
async fn peer(peer: Peer) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let seen = Arc::clone(&seen);
        async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                seen.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(treat(stream, peer.clone()));
            }
        }
    });
    (url, seen)
}

async fn treat(mut stream: TcpStream, peer: Peer) {
    let mut buffer = [0; 4096];
    if peer.listens {
        let _ = stream.read(&mut buffer).await;
    }
    let _ = stream.write_all(&peer.says).await;
    if peer.closes {
        return;
    }
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// The error of a call to such a peer.
async fn told(of: Peer) -> String {
    let (url, seen) = peer(of).await;
    let error = ask(&upstream(&[&url]), "hello").await.unwrap_err();
    assert_eq!((error.status.code(), error.origin), (Code::Unavailable, Origin::Gateway));
    assert!(seen.load(Ordering::SeqCst) <= 6, "no storm of connections");
    error.status.message().to_owned()
}

fn closing(says: &[u8]) -> Peer {
    Peer { listens: true, says: says.to_vec(), closes: true }
}

#[tokio::test]
async fn a_peer_that_just_closes_is_said_to_close() {
    let deaf = told(Peer { listens: false, ..closing(b"") }).await;
    let before = ["closed the connection before it sent", "connection broke before it sent"];
    assert!(before.iter().any(|text| deaf.contains(text)), "{deaf}");
    let polite = told(closing(b"")).await;
    assert!(polite.contains("the peer closed the connection before it sent any data"), "{polite}");
    let settled = told(closing(SETTINGS)).await;
    assert!(
        settled.contains("closed the connection right after the beginning of HTTP/2"),
        "{settled}"
    );
    for text in [deaf, polite, settled] {
        assert!(!text.contains("does not speak"), "{text}");
    }
}

#[tokio::test]
async fn a_goodbye_at_once_is_told_with_its_reason() {
    let frames = |goaway: &[u8]| [SETTINGS, ACKNOWLEDGED, goaway].concat();
    for closes in [true, false] {
        let says = frames(&goaway(0, b""));
        let text = told(Peer { listens: true, says, closes }).await;
        assert!(text.contains("sends GOAWAY at once, with NO_ERROR"), "{text}");
        let says = frames(&goaway(11, b"too_many_pings"));
        let text = told(Peer { listens: true, says, closes }).await;
        assert!(
            text.contains("GOAWAY at once, with ENHANCE_YOUR_CALM, `too_many_pings`"),
            "{text}"
        );
        // Some refuse with their very first frame.
        let text = told(Peer { listens: true, says: goaway(2, b"full"), closes }).await;
        assert!(!text.contains("does not speak"), "{text}");
    }
}

#[tokio::test]
async fn a_peer_that_speaks_something_else_is_said_to() {
    let text = told(closing(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")).await;
    assert!(text.contains("HTTP/1: it answered `HTTP/1.1 400 Bad Request`"), "{text}");
    // The alert of a TLS server: handshake failure.
    let text = told(closing(b"\x15\x03\x03\0\x02\x02\x28")).await;
    assert!(text.contains("but TLS: write https:// instead of http://"), "{text}");
    let text = told(Peer { listens: false, ..closing(b"SSH-2.0-OpenSSH_9.2p1\r\n") }).await;
    assert!(text.contains("does not speak HTTP/2: it answered `SSH-2.0-"), "{text}");
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_said_to_say_nothing() {
    let (url, _) = peer(Peer { listens: true, says: Vec::new(), closes: false }).await;
    let patient = Call { timeout: Duration::from_secs(10), ..call("hello") };
    let error = upstream(&[&url]).call(0, patient).await.unwrap_err();
    let text = error.status.message();
    assert!(text.contains("accepts the connection and does not answer"), "{text}");
}

#[tokio::test]
async fn calls_go_elsewhere_when_a_peer_refuses_them_before_they_leave() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = format!("http://{}", listener.local_addr().unwrap());
    let refused = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let refused = Arc::clone(&refused);
        async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(refuse(stream, Arc::clone(&refused)));
            }
        }
    });
    let sound = Server::start(Setup::new(echo()));
    let upstream = upstream(&[&refusing, &sound.url()]);
    upstream.warm(0);
    eventually("all is connected", || {
        upstream.status().iter().all(|status| status.connections == 2)
    })
    .await;
    for _ in 0..20 {
        assert_eq!(ask(&upstream, "hello").await.unwrap(), "hello");
    }
    assert!(refused.load(Ordering::SeqCst) > 0);
}

/// Begins as it should, answers the PING, says goodbye at the first call, without
/// having processed it, and closes.
async fn refuse(mut stream: TcpStream, refused: Arc<AtomicUsize>) {
    const PREFACE: usize = 24;
    const HEAD: usize = 9;
    let mut received = Vec::new();
    let mut begun = false;
    while let Ok(1..) = stream.read_buf(&mut received).await {
        if !begun && received.len() >= PREFACE {
            received.drain(..PREFACE);
            begun = true;
            stream.write_all(&[SETTINGS, ACKNOWLEDGED].concat()).await.unwrap();
        }
        while begun && received.len() >= HEAD {
            let end = HEAD + usize::from(received[1]) * 256 + usize::from(received[2]);
            if received.len() < end {
                break;
            }
            let frame: Vec<_> = received.drain(..end).collect();
            match (frame[3], frame[4]) {
                (6, 0) => {
                    let pong = [&frame[..4], &[1], &frame[5..]].concat();
                    stream.write_all(&pong).await.unwrap();
                }
                (1, _) => {
                    refused.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(&goaway(0, b"")).await;
                    return;
                }
                _ => {}
            }
        }
    }
}
