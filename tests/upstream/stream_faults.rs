//! The end of a stream whose service breaks the rules, or breaks down.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::grpc::{Server, Setup, ask, echo, eventually, upstream};
use crate::support::raw::{Exchange, grpc_head, headers, serve};
use crate::support::streams::{all, in_flight, serve as serve_streams, stream};
use bridgehead::upstream::{Call, Origin};
use bytes::Bytes;
use futures_util::stream::{self as messages, StreamExt};
use h2::Reason;
use http::{HeaderMap, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::Code;

const OK: [(&str, &str); 1] = [("grpc-status", "0")];
const ONE: &[u8] = b"\0\0\0\0\x03one";

/// The messages of a peer that answers like this, and the end. `None`: an OK.
/// Nothing must be left behind.
async fn heard(
    answer: impl Fn(Exchange) + Send + Sync + Copy + 'static,
) -> (Vec<Bytes>, Option<(Code, Origin, String)>) {
    let address = serve(move |mut exchange| async move {
        exchange.read().await;
        answer(exchange);
    })
    .await;
    let upstream = upstream(&[&format!("http://{address}")]);
    let call = Call { timeout: Duration::from_millis(300), retry: true, ..stream("go") };
    let mut response = upstream.open(0, call, None);
    let (messages, end) = all(&mut response).await;
    assert_eq!(response.message().await.unwrap(), None, "an end comes once");
    eventually("nothing is left", || in_flight(&upstream) == 0).await;
    let end = end.err();
    (messages, end.map(|e| (e.status.code(), e.origin, e.status.message().to_owned())))
}

/// Sends a head and this, and leaves the stream open.
fn begin(mut exchange: Exchange, body: &'static [u8]) -> h2::SendStream<Bytes> {
    let mut stream = exchange.respond.send_response(grpc_head(), false).unwrap();
    stream.send_data(Bytes::from_static(body), false).unwrap();
    // Dropping it would reset the stream.
    std::mem::forget(exchange);
    stream
}

#[tokio::test]
async fn a_message_that_does_not_go_on_ends_the_call() {
    let (got, end) = heard(|exchange| {
        std::mem::forget(begin(exchange, b"\0\0\0\0\x03one\0\0\0\0\x03tw"));
    })
    .await;
    let (code, origin, message) = end.unwrap();
    assert_eq!((got, code, origin), (vec!["one".into()], Code::DeadlineExceeded, Origin::Gateway));
    assert_eq!(message, "a message of the response has not gone on for 300ms");
}

#[tokio::test]
async fn a_message_that_cannot_be_taken_ends_the_call_behind_those_before_it() {
    for (body, complaint) in [
        (&b"\0\0\0\0\x03one\x01\0\0\0\x03two"[..], "compressed"),
        (b"\0\0\0\0\x03one\0\x01\0\0\x01and so on", "more than the limit of 16777216"),
    ] {
        let address = serve(move |mut exchange| async move {
            exchange.read().await;
            std::mem::forget(begin(exchange, body));
        })
        .await;
        let upstream = upstream(&[&format!("http://{address}")]);
        let mut response = upstream.open(0, stream("go"), None);
        let (got, end) = all(&mut response).await;
        let error = end.unwrap_err();
        assert_eq!((&*got, error.status.code()), (&["one".into()][..], Code::Internal));
        assert_eq!(error.origin, Origin::Gateway);
        assert!(error.status.message().contains(complaint), "{error}");
        eventually("it is reset", || in_flight(&upstream) == 0).await;
    }
}

#[tokio::test]
async fn a_response_that_ends_without_its_status_or_within_a_message_is_an_error() {
    let gateway = |code| Some((code, Origin::Gateway));
    let (got, end) = heard(|exchange| exchange.answer(grpc_head(), ONE, HeaderMap::new())).await;
    assert_eq!((got.len(), end.map(|end| (end.0, end.1))), (1, gateway(Code::Unknown)));
    let cut = |exchange: Exchange| exchange.answer(grpc_head(), b"\0\0\0\0\x03o", headers(&OK));
    let (got, end) = heard(cut).await;
    assert_eq!((got.len(), end.map(|end| (end.0, end.1))), (0, gateway(Code::Internal)));
    let (got, end) = heard(|exchange| {
        exchange.answer(grpc_head(), b"\0\0\0\0\x03o", headers(&[("grpc-status", "9")]));
    })
    .await;
    let expected = Some((Code::FailedPrecondition, Origin::Service));
    assert_eq!((got.len(), end.map(|end| (end.0, end.1))), (0, expected));
}

#[tokio::test]
async fn a_head_alone_is_a_status() {
    for (status, expected) in [("0", None), ("7", Some((Code::PermissionDenied, Origin::Service)))]
    {
        let address = serve(move |mut exchange| async move {
            exchange.read().await;
            let head = Response::builder().header("grpc-status", status).body(()).unwrap();
            exchange.answer_head(head);
        })
        .await;
        let upstream = upstream(&[&format!("http://{address}")]);
        let (got, end) = all(&mut upstream.open(0, stream("go"), None)).await;
        assert!(got.is_empty());
        assert_eq!(end.err().map(|error| (error.status.code(), error.origin)), expected);
    }
    let (_, end) = heard(|exchange| {
        let head = Response::builder().status(503).header("content-type", "text/html");
        exchange.answer(head.body(()).unwrap(), b"<h1>busy</h1>", HeaderMap::new());
    })
    .await;
    assert_eq!(end.map(|end| (end.0, end.1)), Some((Code::Unavailable, Origin::Gateway)));
}

#[tokio::test]
async fn a_status_in_the_head_counts_behind_the_messages() {
    let (got, end) = heard(|exchange| {
        let mut head = grpc_head();
        head.headers_mut().insert("grpc-status", "7".parse().unwrap());
        exchange.answer(head, ONE, HeaderMap::new());
    })
    .await;
    assert_eq!(got, ["one"]);
    assert_eq!(end.map(|end| (end.0, end.1)), Some((Code::PermissionDenied, Origin::Service)));
}

#[tokio::test]
async fn a_reset_within_a_stream_ends_it_behind_its_messages() {
    for (reason, code) in [
        (Reason::INTERNAL_ERROR, Code::Internal),
        (Reason::CANCEL, Code::Cancelled),
        // It has been processed, whatever the peer says.
        (Reason::REFUSED_STREAM, Code::Unavailable),
    ] {
        let address = serve(move |mut exchange| async move {
            exchange.read().await;
            let mut stream = begin(exchange, ONE);
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.send_reset(reason);
        })
        .await;
        let upstream = upstream(&[&format!("http://{address}")]);
        let call = Call { retry: true, ..stream("go") };
        let (got, end) = all(&mut upstream.open(0, call, None)).await;
        let error = end.unwrap_err();
        assert_eq!((&*got, error.status.code()), (&["one".into()][..], code), "{reason:?}");
        assert_eq!(error.origin, Origin::Gateway);
        assert_eq!(upstream.counts().retries, 0);
    }
}

#[tokio::test]
async fn a_service_that_breaks_down_ends_its_streams() {
    let server = serve_streams(|_| async {
        Ok(messages::once(async { Ok("one".into()) }).chain(messages::pending()))
    });
    let upstream = upstream(&[&server.url()]);
    let mut response = upstream.open(0, stream("go"), None);
    assert_eq!(response.message().await.unwrap().unwrap(), "one");
    let address = server.kill();
    let error = response.message().await.unwrap_err();
    assert_eq!((error.status.code(), error.origin), (Code::Unavailable, Origin::Gateway));
    let again = Server::start_on(crate::support::grpc::bind(address), Setup::new(echo()));
    eventually("it is connected again", || upstream.status()[0].connections == 2).await;
    assert_eq!(ask(&upstream, "hello").await.unwrap(), "hello");
    assert_eq!(again.accepted.load(Ordering::SeqCst), 2);
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header without an index (RFC 7541, 6.2.2).
fn header(name: &str, value: &str) -> Vec<u8> {
    let mut header = vec![0, u8::try_from(name.len()).unwrap()];
    header.extend(name.as_bytes());
    header.push(u8::try_from(value.len()).unwrap());
    header.extend(value.as_bytes());
    header
}

/// Answers each call with a message and a status, and another message behind it.
/// No library for HTTP/2 does that.
async fn goes_on_behind_the_status(listener: TcpListener) {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const ACK: u8 = 1;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut preface = [0; 24];
            socket.read_exact(&mut preface).await.unwrap();
            socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            let mut head = [0; 9];
            while socket.read_exact(&mut head).await.is_ok() {
                let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
                socket.read_exact(&mut payload).await.unwrap();
                let id = u32::from_be_bytes(head[5..].try_into().unwrap());
                let answer = match (head[3], head[4]) {
                    (SETTINGS, 0) => frame(SETTINGS, ACK, 0, &[]),
                    (PING, 0) => frame(PING, ACK, 0, &payload),
                    (DATA, END_STREAM) => {
                        let mut fields = vec![0x88]; // ":status: 200"
                        fields.extend(header("content-type", "application/grpc"));
                        let status = header("grpc-status", "0");
                        [
                            frame(HEADERS, END_HEADERS, id, &fields),
                            frame(DATA, 0, id, ONE),
                            frame(HEADERS, END_HEADERS | END_STREAM, id, &status),
                            frame(DATA, 0, id, ONE),
                        ]
                        .concat()
                    }
                    _ => continue,
                };
                if socket.write_all(&answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::test]
async fn what_comes_behind_the_status_is_not_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let peer = tokio::spawn(goes_on_behind_the_status(listener));
    let upstream = upstream(&[&format!("http://{address}")]);
    // Such a peer may lose its connection by it, but none of its answers.
    for _ in 0..3 {
        let (got, end) = all(&mut upstream.open(0, stream("go"), None)).await;
        assert_eq!((got, end.err().map(|error| error.to_string())), (vec!["one".into()], None));
    }
    peer.abort();
}
