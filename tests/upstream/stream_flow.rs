//! A caller that takes no messages slows the sender down and harms no other call,
//! and an abandoned stream ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::grpc::{Server, ask, config, eventually, upstream};
use crate::support::raw::{self, grpc_head, headers};
use crate::support::streams::{in_flight, serve, serve_with, stream};
use bridgehead::upstream::{Call, Config, Origin, Response, Upstream};
use bytes::Bytes;
use futures_util::stream::{self as messages, StreamExt};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

/// More than a stream's window, and the buffers of HTTP/2 servers, hold.
const ENOUGH: usize = 4 << 20;

/// Sends messages of this size without end, and counts their bytes.
fn endless(size: usize) -> (Server, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    struct Ends(Arc<AtomicUsize>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (sent, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counts = (Arc::clone(&sent), Arc::clone(&ended));
    let server = serve(move |_| {
        let (sent, ends) = (Arc::clone(&counts.0), Ends(Arc::clone(&counts.1)));
        async move {
            Ok(messages::repeat_with(move || {
                let _ = &ends;
                sent.fetch_add(size + 5, Ordering::SeqCst);
                Ok::<_, Status>(Bytes::from(vec![7; size]))
            }))
        }
    });
    (server, sent, ended)
}

fn one_connection(server: &Server) -> Arc<Upstream> {
    Arc::new(Upstream::new(Config { connections: 1, ..config(&[&server.url()]) }, 1).unwrap())
}

/// Waits until nothing more is sent.
async fn stops(sent: &AtomicUsize) -> usize {
    let mut before = usize::MAX;
    for _ in 0..100 {
        sleep(Duration::from_millis(100)).await;
        let now = sent.load(Ordering::SeqCst);
        if now == before {
            return now;
        }
        before = now;
    }
    panic!("the service goes on and on: {before} bytes");
}

/// Awaits this for a while, which must not be long enough.
async fn hold_all(held: &mut [Response], time: Duration) {
    let holds = held.iter_mut().map(|response| Box::pin(response.hold()));
    assert!(timeout(time, futures_util::future::select_all(holds)).await.is_err());
}

#[tokio::test]
async fn a_service_stops_when_nobody_takes_its_messages_and_goes_on_when_somebody_does() {
    for size in [1, 1000, 100_000] {
        let (server, sent, _) = endless(size);
        let upstream = one_connection(&server);
        let mut response = upstream.open(0, stream("go"), None);
        for holds in [true, false, true] {
            if holds {
                tokio::select! {
                    () = response.hold() => panic!("there is no end"),
                    sent = stops(&sent) => assert!(sent < 2 * ENOUGH, "{sent}"),
                }
            }
            let before = sent.load(Ordering::SeqCst);
            let mut taken = 0;
            while taken < ENOUGH / 4 {
                taken += response.message().await.unwrap().unwrap().len() + 5;
            }
            stops(&sent).await;
            let more = sent.load(Ordering::SeqCst) - before;
            assert!(more.abs_diff(taken) < 600_000, "{more} more for {taken} that were taken");
        }
    }
}

#[tokio::test]
async fn streams_that_nobody_takes_messages_of_stop_nobody_else() {
    const STREAMS: usize = 40;
    let (server, sent, ended) = endless(100);
    let upstream = one_connection(&server);
    let mut held: Vec<_> = (0..STREAMS).map(|_| upstream.open(0, stream("go"), None)).collect();
    let others = async {
        stops(&sent).await;
        // More than is left where the connection's window is that of a few streams.
        let large = Bytes::from(vec![1; 3 << 20]);
        let call = Call { path: "/test.Service/Method".parse().unwrap(), ..stream(large.clone()) };
        assert_eq!(upstream.call(0, call).await.unwrap(), large);
    };
    let holds = futures_util::future::join_all(held.iter_mut().map(Response::hold));
    tokio::select! {
        _ = holds => panic!("there is no end"),
        () = others => {}
    }
    let all: usize = sent.load(Ordering::SeqCst);
    assert!(all / STREAMS < ENOUGH, "{} each", all / STREAMS);
    hold_all(&mut held, Duration::from_millis(1)).await;
    drop(held);
    assert_eq!(server.accepted.load(Ordering::SeqCst), 1, "{:?}", upstream.status());
    eventually("the first is reset", || ended.load(Ordering::SeqCst) > 0).await;
    let stopped = stops(&sent).await;
    sleep(Duration::from_millis(700)).await;
    let resets = ended.load(Ordering::SeqCst);
    assert!((2..=15).contains(&resets), "{resets} in a second");
    assert_eq!(sent.load(Ordering::SeqCst), stopped, "no window is given back");
    assert_eq!(ask(&upstream, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn many_small_frames_that_nobody_takes_do_not_end_the_connection() {
    /// As many as the window has room for, each of which costs h2 250 bytes more.
    const FRAMES: usize = 256 * 1024 / 6;
    /// So many that they would end it together.
    const STREAMS: usize = 8;
    let address = raw::serve(|mut exchange| async move {
        exchange.read().await;
        let mut stream = exchange.respond.send_response(grpc_head(), false).unwrap();
        for _ in 0..FRAMES {
            stream.send_data(Bytes::from_static(b"\0\0\0\0\x01x"), false).unwrap();
        }
        stream.send_trailers(headers(&[("grpc-status", "0")])).unwrap();
    })
    .await;
    let config = Config { connections: 1, ..config(&[&format!("http://{address}")]) };
    let upstream = Arc::new(Upstream::new(config, 1).unwrap());
    let call = || Call { timeout: Duration::from_secs(30), ..stream("go") };
    let one = async |_| {
        let mut response = upstream.open(0, call(), None);
        assert!(timeout(Duration::from_millis(500), response.hold()).await.is_err());
        for _ in 0..FRAMES {
            assert_eq!(response.message().await.unwrap().unwrap(), "x");
        }
        assert_eq!(response.message().await.unwrap(), None);
    };
    futures_util::future::join_all((0..STREAMS).map(one)).await;
}

#[tokio::test]
async fn an_abandoned_stream_ends_and_leaves_nothing_behind() {
    let (server, sent, ended) = endless(1000);
    let upstream = one_connection(&server);
    // Not sent, sent, begun, and within a message.
    drop(upstream.open(0, stream("go"), None));
    for messages in 0..4 {
        let mut response = upstream.open(0, stream("go"), Some(Duration::from_hours(1)));
        let _ = timeout(Duration::ZERO, response.hold()).await;
        for _ in 0..messages {
            response.message().await.unwrap();
        }
    }
    eventually("all are reset", || in_flight(&upstream) == 0).await;
    eventually("the service knows it", || ended.load(Ordering::SeqCst) >= 3).await;
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < ENOUGH, "{sent} bytes: no window is given back to what nobody waits for");
    assert_eq!(ask(&upstream, "hello").await.unwrap(), "hello");
    assert_eq!(server.accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_end_is_told_while_no_message_is_taken_unless_there_is_one_left() {
    let server = serve(|_| async { Ok(messages::iter([Ok("one".into()), Ok("two".into())])) });
    let upstream = upstream(&[&server.url()]);
    let mut response = upstream.open(0, stream("go"), None);
    for expected in ["one", "two"] {
        assert!(timeout(Duration::from_millis(50), response.hold()).await.is_err());
        assert_eq!(response.message().await.unwrap().unwrap(), expected);
    }
    response.hold().await;
    assert_eq!(response.message().await.unwrap(), None);

    let mut refused = upstream.open(1, stream("go"), None);
    refused.hold().await;
    assert_eq!(refused.message().await.unwrap_err().status.code(), Code::Internal);
}

#[tokio::test]
async fn a_service_that_takes_no_requests_is_not_sent_more() {
    let release = Arc::new(tokio::sync::Notify::new());
    let server = serve({
        let release = Arc::clone(&release);
        move |request| {
            let release = Arc::clone(&release);
            async move {
                release.notified().await;
                let count = request.into_inner().count().await;
                Ok(messages::once(async move { Ok(Bytes::from(count.to_string())) }))
            }
        }
    });
    let upstream = upstream(&[&server.url()]);
    let (mut requests, mut response) = upstream.open_requests(0, stream("go"), None, false);
    let send = async {
        let message = Bytes::from(vec![7; 10_000]);
        let mut sent = 0;
        while timeout(Duration::from_millis(300), requests.ready()).await.is_ok() {
            requests.send(message.clone()).await.unwrap();
            sent += 1;
        }
        assert!((10..500).contains(&sent), "{sent} messages are on their way");
        release.notify_one();
        for _ in 0..1000 {
            requests.send(message.clone()).await.unwrap();
        }
        requests.half_close().await.unwrap();
        sent + 1000
    };
    let (sent, count) = tokio::join!(send, response.message());
    assert_eq!(count.unwrap().unwrap(), sent.to_string());
}

#[tokio::test]
async fn an_answer_to_a_unary_call_that_is_larger_than_the_window_arrives() {
    static BODY: [u8; 5 + (2 << 20)] = {
        let mut body = [0; 5 + (2 << 20)];
        body[2] = 0x20;
        body
    };
    let address = raw::serve(|mut exchange| async move {
        exchange.read().await;
        exchange.answer(grpc_head(), &BODY, headers(&[("grpc-status", "0")]));
    })
    .await;
    let upstream = upstream(&[&format!("http://{address}")]);
    assert_eq!(ask(&upstream, "").await.unwrap().len(), 2 << 20);
}

#[tokio::test]
async fn streams_are_bounded_so_that_they_leave_room_for_other_calls() {
    // The service's limit, and the number of streams that the window has room for.
    for (limit, most) in [(8, 6), (10_000, 3072)] {
        let server = serve_with(Some(limit), |_| async {
            Ok(messages::once(async { Ok("one".into()) }).chain(messages::pending()))
        });
        let upstream = one_connection(&server);
        ask(&upstream, "the limit is known").await.unwrap();
        let mut held: Vec<_> = (0..most).map(|_| upstream.open(0, stream("go"), None)).collect();
        let begun = futures_util::future::join_all(held.iter_mut().map(Response::message)).await;
        assert!(begun.iter().all(|first| first.as_ref().unwrap().is_some()));
        let error = upstream.open(0, stream("go"), None).message().await.unwrap_err();
        assert_eq!((error.status.code(), error.origin), (Code::ResourceExhausted, Origin::Gateway));
        assert_eq!(ask(&upstream, "hello").await.unwrap(), "hello");
        held.pop();
        eventually("one is reset", || in_flight(&upstream) < most).await;
        assert!(upstream.open(0, stream("go"), None).message().await.is_ok());
    }
}
