//! The meaning of answers, from services that keep gRPC's rules and from peers
//! that do not.

use crate::support::grpc::{Server, Setup, ask, call, echo, handler, upstream};
use crate::support::raw::{Exchange, grpc_head, headers, serve};
use bridgehead::upstream::{Call, CallError, Metadata, Origin};
use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Response};
use std::sync::Arc;
use tonic::{Code, Status};

/// Metadata of these headers.
fn metadata(pairs: &[(&'static str, &'static str)]) -> Arc<Metadata> {
    Arc::new(Metadata::new(headers(pairs)))
}

/// The result of a call to a peer that answers like this.
async fn answered(
    answer: impl Fn(Exchange) + Send + Sync + Copy + 'static,
) -> Result<Bytes, CallError> {
    let address = serve(move |mut exchange| async move {
        exchange.read().await;
        answer(exchange);
    })
    .await;
    ask(&upstream(&[&format!("http://{address}")]), "hello").await
}

async fn refused(answer: impl Fn(Exchange) + Send + Sync + Copy + 'static) -> (Code, Origin) {
    let error = answered(answer).await.unwrap_err();
    (error.status.code(), error.origin)
}

#[tokio::test]
async fn messages_pass_unchanged_whatever_their_size() {
    let server = Server::start(Setup::new(echo()));
    let upstream = upstream(&[&server.url()]);
    for size in [0, 1, 255, 256, 16_383, 16_384, 65_535, 65_536, 1 << 20, 3 << 20] {
        let message: Bytes = (0..size).map(|at: u32| at.to_le_bytes()[0] ^ 7).collect();
        assert_eq!(upstream.call(0, call(message.clone())).await.unwrap(), message, "{size}");
    }
}

#[tokio::test]
async fn path_and_metadata_reach_the_service() {
    let server = Server::start(Setup::new(handler(|received| async move {
        let header = |name| received.metadata.get(name).unwrap().to_str().unwrap().to_owned();
        let seen = [
            received.path.clone(),
            header("x-user-id"),
            header("te"),
            header("content-type"),
            header("user-agent"),
        ];
        Ok(seen.join(" ").into())
    })));
    let call = Call {
        path: "/pb.msgService/SendMsgListAsync".parse().unwrap(),
        metadata: metadata(&[("x-user-id", "u1"), ("te", "nonsense")]),
        ..call("")
    };
    let seen = upstream(&[&server.url()]).call(0, call).await.unwrap();
    let expected = concat!(
        "/pb.msgService/SendMsgListAsync u1 trailers application/grpc bridgehead/",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_status_is_the_services_with_all_it_says() {
    let server = Server::start(Setup::new(handler(|_| async {
        let mut status =
            Status::with_details(Code::NotFound, "用户不存在", Bytes::from_static(b"more"));
        status.metadata_mut().insert("x-reason", "gone".parse().unwrap());
        Err(status)
    })));
    let error = ask(&upstream(&[&server.url()]), "").await.unwrap_err();
    assert_eq!(error.origin, Origin::Service);
    assert_eq!(error.endpoint.as_deref(), Some(&*server.url()));
    assert_eq!(error.status.code(), Code::NotFound);
    assert_eq!(error.status.message(), "用户不存在");
    assert_eq!(error.status.details(), b"more");
    assert_eq!(error.status.metadata().get("x-reason").unwrap(), "gone");
}

#[tokio::test]
async fn a_status_behind_a_message_wins() {
    let result = refused(|exchange| {
        exchange.answer(grpc_head(), b"\0\0\0\0\x02ok", headers(&[("grpc-status", "9")]));
    })
    .await;
    assert_eq!(result, (Code::FailedPrecondition, Origin::Service));
}

#[tokio::test]
async fn a_status_in_the_head_counts_although_the_stream_ends_later() {
    let result = refused(|mut exchange| {
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "7")
            .body(())
            .unwrap();
        let mut stream = exchange.respond.send_response(head, false).unwrap();
        stream.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    assert_eq!(result, (Code::PermissionDenied, Origin::Service));
}

#[tokio::test]
async fn a_status_with_details_that_are_not_base64_is_still_a_status() {
    let result = refused(|exchange| {
        let trailers = [("grpc-status", "3"), ("grpc-status-details-bin", "%%%")];
        exchange.answer(grpc_head(), b"", headers(&trailers));
    })
    .await;
    assert_eq!(result, (Code::InvalidArgument, Origin::Service));
}

#[tokio::test]
async fn the_code_of_a_status_stands_whatever_its_message_is_like() {
    async fn told(message: &'static [u8], in_head: bool) -> (Code, String, Origin) {
        let error = answered(move |exchange| {
            let mut status = headers(&[("grpc-status", "7")]);
            status.insert("grpc-message", HeaderValue::from_bytes(message).unwrap());
            if in_head {
                let mut head = grpc_head();
                head.headers_mut().extend(status);
                exchange.answer_head(head);
            } else {
                exchange.answer(grpc_head(), b"", status);
            }
        })
        .await
        .unwrap_err();
        (error.status.code(), error.status.message().to_owned(), error.origin)
    }
    for in_head in [false, true] {
        for (encoded, message) in [
            (&b"caf%E9"[..], "caf\u{fffd}"),
            (b"caf\xe9", "caf\u{fffd}"),
            (b"caf%C3%A9", "café"),
            (b"100%", "100%"),
            (b"%zz %2", "%zz %2"),
        ] {
            let expected = (Code::PermissionDenied, message.to_owned(), Origin::Service);
            assert_eq!(told(encoded, in_head).await, expected);
        }
    }
}

#[tokio::test]
async fn a_status_that_is_no_code_is_the_services_and_unknown() {
    for (status, code) in [("abc", Code::Unknown), ("99", Code::Unknown), ("05", Code::NotFound)] {
        let address = serve(move |mut exchange| async move {
            exchange.read().await;
            exchange.answer(grpc_head(), b"", headers(&[("grpc-status", status)]));
        })
        .await;
        let error = ask(&upstream(&[&format!("http://{address}")]), "").await.unwrap_err();
        assert_eq!((error.status.code(), error.origin), (code, Origin::Service));
    }
}

#[tokio::test]
async fn a_response_over_the_limit_is_an_internal_error() {
    let result = refused(|mut exchange| {
        let mut stream = exchange.respond.send_response(grpc_head(), false).unwrap();
        // 16 MiB and a byte, as the prefix says.
        stream.send_data(Bytes::from_static(b"\0\x01\0\0\x01and so on"), false).unwrap();
        std::mem::forget(stream);
    })
    .await;
    assert_eq!(result, (Code::Internal, Origin::Gateway));
}

#[tokio::test]
async fn a_body_that_is_not_one_message_is_an_internal_error() {
    const OK: [(&str, &str); 1] = [("grpc-status", "0")];
    let none = refused(|exchange| exchange.answer(grpc_head(), b"", headers(&OK)));
    assert_eq!(none.await, (Code::Internal, Origin::Gateway));
    let half = refused(|exchange| exchange.answer(grpc_head(), b"\0\0\0\0\x05he", headers(&OK)));
    assert_eq!(half.await, (Code::Internal, Origin::Gateway));
    let two = refused(|exchange| {
        exchange.answer(grpc_head(), b"\0\0\0\0\0\0\0\0\0\0", headers(&OK));
    });
    assert_eq!(two.await, (Code::Internal, Origin::Gateway));
    let head_alone = refused(|exchange| {
        exchange.answer_head(Response::builder().header("grpc-status", "0").body(()).unwrap());
    });
    assert_eq!(head_alone.await, (Code::Internal, Origin::Gateway));
}

#[tokio::test]
async fn an_answer_without_a_grpc_status_is_judged_by_its_http_status() {
    let http = |status: u16| {
        move |exchange: Exchange| {
            exchange.answer_head(Response::builder().status(status).body(()).unwrap());
        }
    };
    for (status, code) in [
        (400, Code::Internal),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::Unimplemented),
        (429, Code::Unavailable),
        (503, Code::Unavailable),
        (500, Code::Unknown),
        (200, Code::Unknown),
    ] {
        assert_eq!(refused(http(status)).await, (code, Origin::Gateway), "{status}");
    }
    let with_body = refused(|exchange| {
        let head = Response::builder().status(502).header("content-type", "text/html");
        exchange.answer(head.body(()).unwrap(), b"<h1>Bad Gateway</h1>", HeaderMap::new());
    });
    assert_eq!(with_body.await, (Code::Unavailable, Origin::Gateway));
    let no_trailers = refused(|exchange| {
        exchange.answer(grpc_head(), b"\0\0\0\0\x02ok", HeaderMap::new());
    });
    assert_eq!(no_trailers.await, (Code::Unknown, Origin::Gateway));
}

#[tokio::test]
async fn an_answer_that_is_not_grpc_is_unknown() {
    let result = refused(|exchange| {
        let head = Response::builder().header("content-type", "text/html").body(()).unwrap();
        exchange.answer(head, b"<h1>It works!</h1>", HeaderMap::new());
    });
    assert_eq!(result.await, (Code::Unknown, Origin::Gateway));
}

#[tokio::test]
async fn a_reset_means_what_grpc_says_it_means() {
    for (reason, code) in [
        (Reason::INTERNAL_ERROR, Code::Internal),
        (Reason::PROTOCOL_ERROR, Code::Internal),
        (Reason::CANCEL, Code::Cancelled),
        (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
        (Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
    ] {
        let result = refused(move |mut exchange| exchange.respond.send_reset(reason)).await;
        assert_eq!(result, (code, Origin::Gateway), "{reason:?}");
    }
}

#[tokio::test]
async fn metadata_that_http2_forbids_fails_the_call_and_not_the_connection() {
    let server = Server::start(Setup::new(echo()));
    let upstream = upstream(&[&server.url()]);
    let bad = Call { metadata: metadata(&[("connection", "close")]), ..call("") };
    let error = upstream.call(0, bad).await.unwrap_err();
    assert_eq!((error.status.code(), error.origin), (Code::Internal, Origin::Gateway));
    assert_eq!(ask(&upstream, "hello").await.unwrap(), "hello");
}
