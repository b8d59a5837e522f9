//! A client that vanishes with its calls in flight harms no other client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::grpc::{Received, Server, Setup, call, config, eventually, handler};
use bridgehead::upstream::{Call, Config, Upstream};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::sleep;

const CALLS: usize = 500;

/// The outcomes of the slow calls.
#[derive(Default)]
struct Slow {
    begun: AtomicUsize,
    finished: AtomicUsize,
    /// Their streams were reset.
    interrupted: AtomicUsize,
}

/// A slow call that is being worked on.
struct Work(Arc<Slow>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.interrupted.fetch_add(1, Ordering::SeqCst);
    }
}

/// Answers `quick` at once, `stuck` never and everything else after a second.
fn setup(slow: &Arc<Slow>) -> Setup {
    let slow = Arc::clone(slow);
    let handler = handler(move |Received { message, .. }| {
        let slow = Arc::clone(&slow);
        async move {
            if message != "quick" {
                slow.begun.fetch_add(1, Ordering::SeqCst);
                let work = Work(Arc::clone(&slow));
                if message == "stuck" {
                    std::future::pending::<()>().await;
                }
                sleep(Duration::from_secs(1)).await;
                std::mem::forget(work);
                slow.finished.fetch_add(1, Ordering::SeqCst);
            }
            Ok(message)
        }
    });
    Setup { max_streams: Some(1000), ..Setup::new(handler) }
}

fn one_connection(server: &Server) -> Arc<Upstream> {
    let config = Config { connections: 1, ..config(&[&server.url()]) };
    Arc::new(Upstream::new(config, 1).unwrap())
}

/// Another client's calls, one after the other, for a second and a half.
async fn other_client(upstream: Arc<Upstream>) {
    let end = tokio::time::Instant::now() + Duration::from_millis(1500);
    while tokio::time::Instant::now() < end {
        let answer = upstream.call(0, call("quick")).await;
        assert_eq!(answer.unwrap(), "quick");
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn calls_dropped_as_they_leave_harm_nobody() {
    let slow: Arc<Slow> = Arc::default();
    let server = Server::start(setup(&slow));
    let upstream = one_connection(&server);
    upstream.call(0, call("quick")).await.unwrap();
    let other = tokio::spawn(other_client(Arc::clone(&upstream)));
    for _ in 0..5 {
        // Polled once, which sends them, and dropped.
        let mut calls = Box::pin(join_all((0..CALLS).map(|_| upstream.call(0, call("slow")))));
        assert!((&mut calls).now_or_never().is_none());
        drop(calls);
        tokio::task::yield_now().await;
    }
    other.await.unwrap();
    assert_eq!(server.accepted.load(Ordering::SeqCst), 1, "the connection has lived through it");
}

#[tokio::test]
async fn calls_dropped_while_the_service_works_on_them_harm_nobody() {
    let slow: Arc<Slow> = Arc::default();
    let server = Server::start(setup(&slow));
    let upstream = one_connection(&server);
    upstream.call(0, call("quick")).await.unwrap();
    let other = tokio::spawn(other_client(Arc::clone(&upstream)));
    let calls = tokio::spawn(join_all((0..CALLS).map(|_| upstream.call(0, call("slow")))));
    eventually("the service works on all", || slow.begun.load(Ordering::SeqCst) == CALLS).await;
    calls.abort();
    other.await.unwrap();
    assert_eq!(server.accepted.load(Ordering::SeqCst), 1, "the connection has lived through it");
    let in_flight = || upstream.status().iter().map(|status| status.in_flight).sum::<usize>();
    eventually("all have run out", || in_flight() == 0).await;
    assert_eq!(slow.finished.load(Ordering::SeqCst), CALLS);
}

#[tokio::test]
async fn calls_that_time_out_together_harm_nobody() {
    let slow: Arc<Slow> = Arc::default();
    let server = Server::start(setup(&slow));
    let upstream = one_connection(&server);
    upstream.call(0, call("quick")).await.unwrap();
    let other = tokio::spawn(other_client(Arc::clone(&upstream)));
    let hurried = || Call { timeout: Duration::from_millis(50), ..call("slow") };
    let answers = join_all((0..CALLS).map(|_| upstream.call(0, hurried()))).await;
    assert!(answers.iter().all(Result::is_err));
    other.await.unwrap();
    assert_eq!(server.accepted.load(Ordering::SeqCst), 1, "the connection has lived through it");
}

#[tokio::test]
async fn calls_that_the_service_never_ends_are_reset_a_few_at_a_time() {
    const STUCK: usize = 100;
    let slow: Arc<Slow> = Arc::default();
    let server = Server::start(setup(&slow));
    let upstream = one_connection(&server);
    let hurried = || Call { timeout: Duration::from_millis(50), ..call("stuck") };
    join_all((0..STUCK).map(|_| upstream.call(0, hurried()))).await;
    let interrupted = || slow.interrupted.load(Ordering::SeqCst);
    eventually("the first is reset", || interrupted() > 0).await;
    sleep(Duration::from_secs(1)).await;
    assert!((2..=25).contains(&interrupted()), "{} in a second", interrupted());
    assert_eq!(upstream.call(0, call("quick")).await.unwrap(), "quick");
}

/// The reason for the tests above: without the precautions, the same burst
/// closes the connection under all other calls.
#[tokio::test]
async fn a_client_that_simply_drops_its_streams_loses_the_connection() {
    let slow: Arc<Slow> = Arc::default();
    let server = Server::start(setup(&slow));
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let uri = format!("{}/test.Service/Method", server.url());
    // The server minds resets of streams that it has not looked at yet. When
    // those come is up to the scheduler, so the moment of the drop varies.
    for round in 0..500 {
        if connection.is_finished() {
            return;
        }
        let calls = (0..CALLS).map(|_| {
            let request = http::Request::post(&uri).body(Empty::<Bytes>::new()).unwrap();
            requests.send_request(request)
        });
        let mut calls = Box::pin(join_all(calls));
        let _ = (&mut calls).now_or_never();
        for _ in 0..=round % 4 {
            tokio::task::yield_now().await;
        }
        drop(calls);
        sleep(Duration::from_millis(round % 3)).await;
    }
    eventually("the server has had enough", || connection.is_finished()).await;
}
