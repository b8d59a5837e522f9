//! Endpoints that leave in good order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::grpc::{Server, Setup, ask, call, echo, eventually, handler, upstream};
use crate::support::raw;
use bridgehead::upstream::Upstream;
use bytes::Bytes;
use futures_util::FutureExt;
use h2::Reason;
use tokio::time::sleep;

/// Calls on and on from 64 clients; the errors when stopped.
fn load(upstream: &Arc<Upstream>) -> (Arc<AtomicBool>, Vec<tokio::task::JoinHandle<Vec<String>>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let client = || {
        let (upstream, stop) = (Arc::clone(upstream), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut errors = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                if let Err(error) = upstream.call(0, call("hello")).await {
                    errors.push(format!("{error:?}"));
                }
            }
            errors
        })
    };
    (Arc::clone(&stop), (0..64).map(|_| client()).collect())
}

#[tokio::test]
async fn an_endpoint_that_says_goodbye_under_load_loses_no_call() {
    let slowly = || {
        Setup::new(handler(|received| async move {
            sleep(Duration::from_millis(3)).await;
            Ok(received.message)
        }))
    };
    let stays = Server::start(slowly());
    let mut leaves = Server::start(slowly());
    let upstream = upstream(&[&stays.url(), &leaves.url()]);
    let (stop, clients) = load(&upstream);
    for _ in 0..4 {
        let accepted = Arc::clone(&leaves.accepted);
        eventually("it is used", || accepted.load(Ordering::SeqCst) == 2).await;
        sleep(Duration::from_millis(200)).await;
        let address = leaves.address;
        tokio::task::spawn_blocking(|| leaves.shut_down()).await.unwrap();
        leaves = Server::start_on(crate::support::grpc::bind(address), slowly());
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        assert_eq!(client.await.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn calls_in_flight_finish_when_the_upstream_is_dropped_and_then_its_connections_close() {
    let (release, _) = tokio::sync::broadcast::channel::<()>(1);
    let arrived = Arc::new(AtomicUsize::new(0));
    let handler = handler({
        let (release, arrived) = (release.clone(), Arc::clone(&arrived));
        move |_| {
            let mut released = release.subscribe();
            arrived.fetch_add(1, Ordering::SeqCst);
            async move {
                let _ = released.recv().await;
                Ok("done".into())
            }
        }
    });
    let server = Server::start(Setup::new(handler));
    let upstream = upstream(&[&server.url()]);
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(upstream.call(0, call("work")))).collect();
    eventually("all calls have arrived", || arrived.load(Ordering::SeqCst) == 10).await;
    drop(upstream);
    release.send(()).unwrap();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "done");
    }
    // Returns when the last connection has been closed by the client.
    let server = tokio::task::spawn_blocking(|| server.wait_until_idle());
    tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap();
}

#[tokio::test]
async fn refused_streams_are_sent_again_even_where_retries_are_not_allowed() {
    let address = raw::serve(|mut exchange| async move {
        if exchange.number < 2 {
            exchange.respond.send_reset(Reason::REFUSED_STREAM);
        } else {
            exchange.read().await;
            exchange.answer_well(b"\0\0\0\0\x02ok");
        }
    })
    .await;
    let upstream = upstream(&[&format!("http://{address}")]);
    assert_eq!(ask(&upstream, "").await.unwrap(), "ok");
}

#[tokio::test]
async fn streams_that_are_refused_again_and_again_are_given_up() {
    let refused = Arc::new(AtomicUsize::new(0));
    let address = raw::serve({
        let refused = Arc::clone(&refused);
        move |mut exchange| {
            refused.fetch_add(1, Ordering::SeqCst);
            exchange.respond.send_reset(Reason::REFUSED_STREAM);
            async {}
        }
    })
    .await;
    let upstream = upstream(&[&format!("http://{address}")]);
    let error = ask(&upstream, "").await.unwrap_err();
    assert_eq!(error.status.code(), tonic::Code::Unavailable);
    assert_eq!(refused.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn more_calls_than_the_peer_takes_at_once_wait_for_their_turn() {
    let working = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let handler = handler({
        let (working, most) = (Arc::clone(&working), Arc::clone(&most));
        move |received| {
            let (working, most) = (Arc::clone(&working), Arc::clone(&most));
            async move {
                most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_millis(1)).await;
                working.fetch_sub(1, Ordering::SeqCst);
                Ok(received.message)
            }
        }
    });
    let server = Server::start(Setup { max_streams: Some(5), ..Setup::new(handler) });
    let upstream = upstream(&[&server.url()]);
    let calls = (0..500u32).map(|number| {
        let message = Bytes::from(number.to_string());
        upstream.call(0, call(message.clone())).map(move |answer| (message, answer))
    });
    for (message, answer) in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap(), message);
    }
    assert!((5..=10).contains(&most.load(Ordering::SeqCst)), "two connections of five streams");
}

#[tokio::test]
async fn an_upstream_made_anew_serves_while_the_old_one_leaves() {
    let server = Server::start(Setup::new(echo()));
    let old = upstream(&[&server.url()]);
    ask(&old, "one").await.unwrap();
    let new = upstream(&[&server.url()]);
    drop(old);
    assert_eq!(ask(&new, "two").await.unwrap(), "two");
}
