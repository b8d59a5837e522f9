//! The memory of a call while the service works on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::grpc::{Handler, Server, Setup, call, eventually, handler, upstream};
use bridgehead::upstream::Call;
use bytes::Bytes;
use tokio::time::sleep;
use tonic::Status;

/// A body that reports when its memory is free.
struct Body {
    bytes: Vec<u8>,
    freed: Arc<AtomicBool>,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.freed.store(true, Ordering::SeqCst);
    }
}

fn body(size: usize) -> (Bytes, Arc<AtomicBool>) {
    let freed = Arc::new(AtomicBool::new(false));
    let body = Body { bytes: vec![7; size], freed: Arc::clone(&freed) };
    (Bytes::from_owner(body), freed)
}

/// Answers when `release` says so; the first `failures` calls fail at once then.
fn held(
    arrived: &Arc<AtomicUsize>,
    release: &Arc<tokio::sync::Semaphore>,
    failures: usize,
) -> Handler {
    let (arrived, release) = (Arc::clone(arrived), Arc::clone(release));
    handler(move |received| {
        let number = arrived.fetch_add(1, Ordering::SeqCst);
        let release = Arc::clone(&release);
        async move {
            release.acquire().await.unwrap().forget();
            if number < failures {
                return Err(Status::unavailable("not now"));
            }
            Ok(Bytes::from(received.message.len().to_string()))
        }
    })
}

#[tokio::test]
async fn a_body_is_let_go_of_while_the_service_works() {
    for size in [2 * 1024, 100 * 1024, 3 << 20] {
        let (arrived, release) = (Arc::default(), Arc::new(tokio::sync::Semaphore::new(0)));
        let server = Server::start(Setup::new(held(&arrived, &release, 0)));
        let upstream = upstream(&[&server.url()]);
        let (message, freed) = body(size);
        let call = Call { timeout: Duration::from_secs(30), ..call(message) };
        let answer = tokio::spawn(upstream.call(0, call));
        eventually("it has arrived", || arrived.load(Ordering::SeqCst) == 1).await;
        eventually("its memory is free", || freed.load(Ordering::SeqCst)).await;
        release.add_permits(1);
        assert_eq!(answer.await.unwrap().unwrap(), size.to_string());
    }
}

#[tokio::test]
async fn a_body_that_may_be_sent_again_is_kept_and_then_let_go_of() {
    let (arrived, release) = (Arc::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    let server = Server::start(Setup::new(held(&arrived, &release, 1)));
    let upstream = upstream(&[&server.url()]);
    let (message, freed) = body(100 * 1024);
    let call = Call { timeout: Duration::from_secs(30), retry: true, ..call(message) };
    let answer = tokio::spawn(upstream.call(0, call));
    eventually("it has arrived", || arrived.load(Ordering::SeqCst) == 1).await;
    sleep(Duration::from_secs(2)).await;
    assert!(!freed.load(Ordering::SeqCst), "it may be needed");
    release.add_permits(1);
    eventually("it has arrived again", || arrived.load(Ordering::SeqCst) == 2).await;
    eventually("its memory is free", || freed.load(Ordering::SeqCst)).await;
    release.add_permits(1);
    assert_eq!(answer.await.unwrap().unwrap(), (100 * 1024).to_string());
}
