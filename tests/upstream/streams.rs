//! Streams: messages one by one in both directions, then a status.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::grpc::{ask, eventually, upstream};
use crate::support::proxy::Proxy;
use crate::support::raw::{self, grpc_head, headers};
use crate::support::streams::{all, in_flight, serve, stream};
use bridgehead::upstream::{Call, Origin, Trail, Unsent};
use bytes::Bytes;
use futures_util::stream::{self as messages, StreamExt};
use tokio::sync::mpsc;
use tonic::{Code, Status};

#[tokio::test]
async fn messages_of_any_size_come_one_by_one_and_then_the_end() {
    const SIZES: [usize; 9] = [0, 1, 0, 16_383, 16_384, 65_536, 1 << 20, 3 << 20, 5];
    let message = |size: usize| (0..size).map(|at| at.to_le_bytes()[0] ^ 7).collect::<Bytes>();
    let server =
        serve(move |_| async move { Ok(messages::iter(SIZES.map(move |size| Ok(message(size))))) });
    let upstream = upstream(&[&server.url()]);
    let mut response = upstream.open(0, stream("go"), None);
    let (got, end) = all(&mut response).await;
    end.unwrap();
    assert_eq!(got, SIZES.map(message));
    assert_eq!(response.headers().unwrap()["content-type"], "application/grpc");
    assert_eq!(response.message().await.unwrap(), None, "it stays at its end");
    assert_eq!(in_flight(&upstream), 0, "nothing is left behind");
}

#[tokio::test]
async fn a_unary_method_is_a_stream_of_one_message_and_a_stream_may_have_none() {
    let server = serve(|_| async { Ok(messages::empty()) });
    let upstream = upstream(&[&server.url()]);
    let call = Call { path: "/test.Service/Method".parse().unwrap(), ..stream("hello") };
    let (got, end) = all(&mut upstream.open(0, call, None)).await;
    assert_eq!((got, end.is_ok()), (vec![Bytes::from("hello")], true));
    let (got, end) = all(&mut upstream.open(0, stream("hello"), None)).await;
    assert!(got.is_empty() && end.is_ok());
}

#[tokio::test]
async fn the_status_behind_the_messages_says_all_that_the_service_said() {
    let server = serve(|_| async {
        let mut status = Status::with_details(Code::Aborted, "half way", Bytes::from("more"));
        status.metadata_mut().insert("x-reason", "moved".parse().unwrap());
        Ok(messages::iter([Ok("one".into()), Ok("two".into()), Err(status)]))
    });
    let upstream = upstream(&[&server.url()]);
    let trail = Arc::<Trail>::default();
    let call = Call { trail: Some(Arc::clone(&trail)), retry: true, ..stream("go") };
    let (got, end) = all(&mut upstream.open(0, call, None)).await;
    let error = end.unwrap_err();
    assert_eq!(got, ["one", "two"]);
    assert_eq!((error.status.code(), error.origin), (Code::Aborted, Origin::Service));
    assert_eq!((error.status.message(), error.status.details()), ("half way", &b"more"[..]));
    assert_eq!(error.status.metadata().get("x-reason").unwrap(), "moved");
    assert_eq!(error.endpoint.as_deref(), Some(&*server.url()));
    assert_eq!(trail.attempts()[0].failure.unwrap().1, Code::Aborted);
}

#[tokio::test]
async fn trailers_of_an_ok_are_kept() {
    let address = raw::serve(|mut exchange| async move {
        exchange.read().await;
        let trailers = headers(&[("grpc-status", "0"), ("x-more", "1")]);
        exchange.answer(grpc_head(), b"\0\0\0\0\x02ok\0\0\0\0\0", trailers);
    })
    .await;
    let upstream = upstream(&[&format!("http://{address}")]);
    let mut response = upstream.open(0, stream(""), None);
    let (got, end) = all(&mut response).await;
    assert_eq!((got, end.is_ok()), (vec!["ok".into(), Bytes::new()], true));
    assert_eq!(response.trailers().unwrap()["x-more"], "1");
}

#[tokio::test]
async fn requests_and_responses_go_both_ways_until_the_half_close() {
    let server = serve(|request| async move { Ok(request.into_inner()) });
    let upstream = upstream(&[&server.url()]);
    let (mut requests, mut response) = upstream.open_requests(0, stream("first"), None, true);
    assert_eq!(response.message().await.unwrap().unwrap(), "first");
    for number in 0..200u32 {
        let message = Bytes::from(number.to_string().repeat(number as usize * 7));
        requests.send(message.clone()).await.unwrap();
        assert_eq!(response.message().await.unwrap().unwrap(), message);
    }
    requests.half_close().await.unwrap();
    assert_eq!(requests.send("late".into()).await, Err(Unsent::Over));
    assert_eq!(response.message().await.unwrap(), None);
    assert_eq!(in_flight(&upstream), 0);

    // Without a first message, and with an end right away.
    let (mut requests, mut response) = upstream.open_requests(0, stream("not sent"), None, false);
    let (closed, (got, end)) = tokio::join!(requests.half_close(), all(&mut response));
    assert!(closed.is_ok() && got.is_empty() && end.is_ok());
}

#[tokio::test]
async fn a_service_that_ends_the_call_first_ends_its_requests() {
    let server = serve(|mut request| async move {
        let _ = request.get_mut().message().await;
        Err::<messages::Empty<_>, _>(Status::permission_denied("no more"))
    });
    let upstream = upstream(&[&server.url()]);
    for _ in 0..300 {
        let (mut requests, mut response) = upstream.open_requests(0, stream("hello"), None, true);
        let error = all(&mut response).await.1.unwrap_err();
        assert_eq!((error.status.code(), error.origin), (Code::PermissionDenied, Origin::Service));
        assert_eq!(requests.ready().await, Err(Unsent::Over));
    }
    assert_eq!(in_flight(&upstream), 0, "none of them had to be reset");
    assert_eq!(server.accepted.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_request_of_a_call_that_is_over_is_ended_and_not_reset() {
    let (ends, mut ended) = mpsc::unbounded_channel();
    let address = raw::serve(move |mut exchange| {
        let ends = ends.clone();
        async move {
            let mut head = grpc_head();
            head.headers_mut().insert("grpc-status", "7".parse().unwrap());
            exchange.respond.send_response(head, true).unwrap();
            let body = exchange.request.body_mut();
            let end = loop {
                match body.data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break Err(error.reason()),
                    None => break Ok(()),
                }
            };
            ends.send(end).unwrap();
        }
    })
    .await;
    let upstream = upstream(&[&format!("http://{address}")]);
    let (_requests, mut response) = upstream.open_requests(0, stream(""), None, false);
    let error = all(&mut response).await.1.unwrap_err();
    assert_eq!((error.status.code(), error.origin), (Code::PermissionDenied, Origin::Service));
    assert_eq!(ended.recv().await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_request_that_is_cut_off_does_not_look_complete() {
    let (ends, mut ended) = mpsc::unbounded_channel();
    // tonic's services cannot distinguish an end from a reset.
    let address = raw::serve(move |mut exchange| {
        let ends = ends.clone();
        async move {
            let body = exchange.request.body_mut();
            let end = loop {
                match body.data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error.reason(),
                    None => break None,
                }
            };
            ends.send(end).unwrap();
        }
    })
    .await;
    let upstream = upstream(&[&format!("http://{address}")]);
    let (mut requests, mut response) = upstream.open_requests(0, stream("a part"), None, true);
    let send = async {
        requests.send("another".into()).await.unwrap();
        drop(requests);
    };
    tokio::select! {
        biased;
        _ = response.message() => panic!("it has not ended"),
        () = async { send.await; tokio::time::sleep(Duration::from_millis(50)).await } => {}
    }
    assert!(ended.try_recv().is_err());
    drop(response);
    assert_eq!(ended.recv().await.unwrap(), Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_stream_is_begun_again_until_its_first_message_and_never_after() {
    let calls = Arc::new(AtomicUsize::new(0));
    let server = serve({
        let calls = Arc::clone(&calls);
        move |_| {
            let number = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                let busy = || Err(Status::unavailable("not now"));
                let begins = (number > 0).then_some(Ok(Bytes::from("one")));
                Ok(messages::iter(begins.into_iter().chain([busy()])))
            }
        }
    });
    let upstream = upstream(&[&server.url()]);
    let call = || Call { retry: true, ..stream("go") };
    let (got, end) = all(&mut upstream.open(0, call(), None)).await;
    assert_eq!((got, end.unwrap_err().status.code()), (vec!["one".into()], Code::Unavailable));
    assert_eq!(calls.load(Ordering::SeqCst), 2);

    // Additional messages are not kept, so the call is not sent again.
    calls.store(0, Ordering::SeqCst);
    let (mut requests, mut response) = upstream.open_requests(0, call(), None, true);
    let (sent, (got, end)) = tokio::join!(requests.send("more".into()), all(&mut response));
    assert!(sent.is_ok() && got.is_empty());
    assert_eq!(end.unwrap_err().status.code(), Code::Unavailable);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_service_is_told_the_deadline_of_the_whole_call_only() {
    let server = serve(|request| async move {
        let told = request.metadata().get("grpc-timeout").map(|told| told.to_str().unwrap());
        let told = Bytes::from(told.unwrap_or("none").to_owned());
        Ok(messages::once(async { Ok(told) }).chain(messages::pending()))
    });
    let upstream = upstream(&[&server.url()]);
    let call = || Call { timeout: Duration::from_millis(300), ..stream("go") };
    let mut lasting = upstream.open(0, call(), None);
    assert_eq!(lasting.message().await.unwrap().unwrap(), "none");
    let begun = Instant::now();
    let mut bounded = upstream.open(0, call(), Some(Duration::from_millis(600)));
    let told = bounded.message().await.unwrap().unwrap();
    let told = std::str::from_utf8(&told).unwrap().strip_suffix('m').unwrap();
    assert!((400..=600).contains(&told.parse::<u32>().unwrap()), "{told}");
    let error = bounded.message().await.unwrap_err();
    assert_eq!((error.status.code(), error.origin), (Code::DeadlineExceeded, Origin::Gateway));
    assert!((550..2000).contains(&begun.elapsed().as_millis()));
    let waits = tokio::time::timeout(Duration::from_millis(10), lasting.message()).await;
    assert!(waits.is_err(), "a stream that has begun may be idle");
}

#[tokio::test]
async fn a_stream_that_does_not_begin_in_time_has_an_end() {
    let server = serve(|_| async { Ok(messages::pending()) });
    let upstream = upstream(&[&server.url()]);
    for _ in 0..4 {
        let call = Call { timeout: Duration::from_millis(100), ..stream("go") };
        let error = all(&mut upstream.open(0, call, None)).await.1.unwrap_err();
        assert_eq!((error.status.code(), error.origin), (Code::DeadlineExceeded, Origin::Gateway));
    }
    assert_eq!(
        upstream.status()[0].unresponsive,
        0,
        "it has nothing to say, and is no hung service"
    );
    assert_eq!(ask(&upstream, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn an_idle_stream_is_no_hung_service() {
    let server = serve(|_| async {
        Ok(messages::once(async { Ok("one".into()) }).chain(messages::pending()))
    });
    let proxy = Proxy::start(server.address).await;
    let upstream = upstream(&[&proxy.url()]);
    let mut response = upstream.open(0, stream("go"), None);
    response.message().await.unwrap();
    let before = proxy.pings();
    // A second of silence while a call waits is asked about.
    let waits = tokio::time::timeout(Duration::from_millis(1800), response.message()).await;
    assert!(waits.is_err());
    assert_eq!(proxy.pings(), before);
    assert!(upstream.status()[0].complaint().is_none());
}

#[tokio::test]
async fn an_open_stream_goes_on_while_its_endpoint_says_goodbye() {
    let (sends, sent) = mpsc::unbounded_channel::<Bytes>();
    let sent = Arc::new(parking_lot::Mutex::new(Some(sent)));
    let server = serve(move |_| {
        let mut sent = sent.lock().take().unwrap();
        async move { Ok(messages::poll_fn(move |context| sent.poll_recv(context).map(|m| m.map(Ok)))) }
    });
    let upstream = upstream(&[&server.url()]);
    let mut response = upstream.open(0, stream("go"), None);
    sends.send("before".into()).unwrap();
    assert_eq!(response.message().await.unwrap().unwrap(), "before");
    let leaving = tokio::task::spawn_blocking(|| server.shut_down());
    eventually("it takes no more", || upstream.status()[0].connections == 0).await;
    drop(upstream);
    sends.send("after".into()).unwrap();
    assert_eq!(response.message().await.unwrap().unwrap(), "after");
    drop(sends);
    assert_eq!(response.message().await.unwrap(), None);
    leaving.await.unwrap();
}
