//! Calls that may be executed twice are sent twice, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::grpc::{Handler, Received, Server, Setup, call, handler, upstream};
use bridgehead::upstream::{Call, Origin, Trail};
use tonic::{Code, Status};

/// Fails with this code `failures` times, then answers.
fn failing(failures: usize, code: Code, seen: &Arc<AtomicUsize>) -> Handler {
    let seen = Arc::clone(seen);
    handler(move |Received { metadata, .. }| {
        let fails = seen.fetch_add(1, Ordering::SeqCst) < failures;
        async move {
            if fails {
                return Err(Status::new(code, "not now"));
            }
            let attempts = metadata.get("grpc-previous-rpc-attempts");
            Ok(attempts.map_or("first", |_| "again").into())
        }
    })
}

#[tokio::test]
async fn unavailable_is_tried_again_where_retries_are_allowed() {
    let seen = Arc::default();
    let server = Server::start(Setup::new(failing(1, Code::Unavailable, &seen)));
    let call = Call { retry: true, ..call("") };
    let upstream = upstream(&[&server.url()]);
    assert_eq!(upstream.call(0, call).await.unwrap(), "again");
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    assert_eq!(upstream.counts().retries, 1);
}

#[tokio::test]
async fn a_trail_tells_of_each_attempt() {
    let seen = Arc::default();
    let server = Server::start(Setup::new(failing(1, Code::Unavailable, &seen)));
    let trail = Arc::<Trail>::default();
    let call = Call { retry: true, trail: Some(Arc::clone(&trail)), ..call("") };
    upstream(&[&server.url()]).call(0, call).await.unwrap();
    let attempts = trail.attempts();
    assert_eq!(attempts.len(), 2);
    for attempt in &attempts {
        assert_eq!(&*attempt.endpoint, server.url());
        let (host, port) = attempt.server();
        assert_eq!(format!("http://{host}:{}", port.unwrap()), server.url());
    }
    let codes = attempts.iter().map(|attempt| attempt.failure.map(|(_, code)| code));
    assert_eq!(codes.collect::<Vec<_>>(), [Some(Code::Unavailable), None]);
}

#[tokio::test]
async fn a_second_unavailable_is_the_answer() {
    let seen = Arc::default();
    let server = Server::start(Setup::new(failing(9, Code::Unavailable, &seen)));
    let call = Call { retry: true, ..call("") };
    let error = upstream(&[&server.url()]).call(0, call).await.unwrap_err();
    assert_eq!((error.status.code(), error.origin), (Code::Unavailable, Origin::Service));
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn without_leave_nothing_that_left_is_tried_again() {
    let seen = Arc::default();
    let server = Server::start(Setup::new(failing(1, Code::Unavailable, &seen)));
    let error = upstream(&[&server.url()]).call(0, call("")).await.unwrap_err();
    assert_eq!((error.status.code(), error.origin), (Code::Unavailable, Origin::Service));
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn other_errors_are_answers() {
    for code in [Code::Internal, Code::Aborted, Code::DeadlineExceeded, Code::ResourceExhausted] {
        let seen = Arc::default();
        let server = Server::start(Setup::new(failing(1, code, &seen)));
        let call = Call { retry: true, ..call("") };
        let error = upstream(&[&server.url()]).call(0, call).await.unwrap_err();
        assert_eq!(error.status.code(), code);
        assert_eq!(seen.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn the_second_attempt_goes_to_another_endpoint_where_there_is_one() {
    let (bad, good) = (Arc::default(), Arc::default());
    let failing_server = Server::start(Setup::new(failing(1000, Code::Unavailable, &bad)));
    let sound_server = Server::start(Setup::new(failing(0, Code::Ok, &good)));
    let upstream = upstream(&[&failing_server.url(), &sound_server.url()]);
    for _ in 0..20 {
        let call = Call { retry: true, ..call("") };
        upstream.call(0, call).await.unwrap();
    }
    assert!(bad.load(Ordering::SeqCst) > 0);
    assert_eq!(good.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn retries_do_not_multiply_an_outage() {
    let seen = Arc::default();
    let server = Server::start(Setup::new(failing(usize::MAX, Code::Unavailable, &seen)));
    let upstream = upstream(&[&server.url()]);
    let call = || Call { retry: true, ..call("") };
    futures_util::future::join_all((0..200).map(|_| upstream.call(0, call()))).await;
    let retries = seen.load(Ordering::SeqCst) - 200;
    // A fifth of the calls, and ten a second.
    assert!((40..=100).contains(&retries), "{retries}");
}
