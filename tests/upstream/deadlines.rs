//! A call takes no longer than its timeout, and the service knows it.

use std::time::{Duration, Instant};

use crate::support::grpc::{Server, Setup, ask, call, echo, eventually, handler, upstream};
use bridgehead::upstream::{Call, Origin};
use tonic::{Code, Status};

#[tokio::test]
async fn a_service_that_takes_too_long_is_answered_for() {
    let server = Server::start(Setup::new(handler(|_| std::future::pending())));
    let upstream = upstream(&[&server.url()]);
    let call = Call { timeout: Duration::from_millis(300), ..call("slow") };
    let begun = Instant::now();
    let error = upstream.call(0, call).await.unwrap_err();
    let took = begun.elapsed();
    assert_eq!(error.status.code(), Code::DeadlineExceeded);
    assert_eq!(error.origin, Origin::Gateway);
    assert_eq!(error.endpoint.as_deref(), Some(&*server.url()));
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn the_service_is_told_the_time_that_remains() {
    let server = Server::start(Setup::new(handler(|received| async move {
        let timeout = received.metadata.get("grpc-timeout").cloned();
        Ok(timeout.map_or_else(String::new, |value| value.to_str().unwrap().into()).into())
    })));
    let upstream = upstream(&[&server.url()]);
    let answer = ask(&upstream, "how long?").await.unwrap();
    let millis = std::str::from_utf8(&answer).unwrap().strip_suffix('m').unwrap();
    let millis: u64 = millis.parse().unwrap();
    assert!((4000..=5000).contains(&millis), "{millis}");
}

#[tokio::test]
async fn a_service_that_gives_up_by_itself_is_quoted() {
    let server = Server::start(Setup::new(handler(|_| async {
        Err(Status::deadline_exceeded("the database is slow"))
    })));
    let error = ask(&upstream(&[&server.url()]), "").await.unwrap_err();
    assert_eq!(error.status.code(), Code::DeadlineExceeded);
    assert_eq!(error.status.message(), "the database is slow");
    assert_eq!(error.origin, Origin::Service);
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_at_all_takes_no_longer_than_the_timeout() {
    // Accepts, as the backlog does, and sends nothing.
    let silent = crate::support::grpc::bind("127.0.0.1:0".parse().unwrap());
    let upstream = upstream(&[&format!("http://{}", silent.local_addr().unwrap())]);
    let call = Call { timeout: Duration::from_millis(200), ..call("") };
    let error = upstream.call(0, call).await.unwrap_err();
    assert_eq!(error.status.code(), Code::DeadlineExceeded);
    assert_eq!(error.endpoint, None);
}

#[tokio::test]
async fn a_call_that_timed_out_is_counted_until_the_service_has_ended_it() {
    let (release, _) = tokio::sync::broadcast::channel::<()>(1);
    let server = Server::start(Setup::new(handler({
        let release = release.clone();
        move |_| {
            let mut released = release.subscribe();
            async move {
                let _ = released.recv().await;
                Ok("late".into())
            }
        }
    })));
    let upstream = upstream(&[&server.url()]);
    let call = Call { timeout: Duration::from_millis(100), ..call("") };
    upstream.call(0, call).await.unwrap_err();
    let in_flight = || upstream.status().iter().map(|status| status.in_flight).sum::<usize>();
    assert_eq!(in_flight(), 1);
    release.send(()).unwrap();
    eventually("the late answer is read and forgotten", || in_flight() == 0).await;
}

#[tokio::test]
async fn the_longest_timeout_that_can_be_written_is_no_trouble() {
    let server = Server::start(Setup::new(echo()));
    let call = Call { timeout: Duration::MAX, ..call("hello") };
    assert_eq!(upstream(&[&server.url()]).call(0, call).await.unwrap(), "hello");
}
