//! Which endpoint takes a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::grpc::{Handler, Server, Setup, ask, call, config, eventually, handler};
use crate::support::raw;
use bridgehead::upstream::{Config, Upstream};
use h2::Reason;
use tokio::time::sleep;

fn counting(count: &Arc<AtomicUsize>) -> Handler {
    let count = Arc::clone(count);
    handler(move |received| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { Ok(received.message) }
    })
}

/// One connection per endpoint, and all of them up.
async fn connected(addresses: &[&str]) -> Arc<Upstream> {
    let config = Config { connections: 1, ..config(addresses) };
    let upstream = Arc::new(Upstream::new(config, 1).unwrap());
    upstream.warm(0);
    eventually("all endpoints are connected", || {
        let status = upstream.status();
        status.len() == addresses.len() && status.iter().all(|one| one.connections == 1)
    })
    .await;
    upstream
}

#[tokio::test]
async fn the_endpoint_with_fewer_calls_in_flight_is_preferred() {
    let quick = Arc::default();
    let stuck = Arc::new(AtomicUsize::new(0));
    let quickly = Server::start(Setup::new(counting(&quick)));
    let never = Server::start(Setup::new(handler({
        let stuck = Arc::clone(&stuck);
        move |_| {
            stuck.fetch_add(1, Ordering::SeqCst);
            std::future::pending()
        }
    })));
    let upstream = connected(&[&quickly.url(), &never.url()]).await;
    let mut calls = Vec::new();
    while stuck.load(Ordering::SeqCst) == 0 {
        calls.push(tokio::spawn(upstream.call(0, call("hello"))));
        sleep(Duration::from_millis(5)).await;
    }
    // From here on one is busier than the other whenever a call comes.
    for _ in 0..100 {
        ask(&upstream, "hello").await.unwrap();
    }
    assert_eq!(stuck.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn equal_endpoints_get_equal_shares() {
    let counts: [Arc<AtomicUsize>; 3] = Default::default();
    let servers = counts.each_ref().map(|count| Server::start(Setup::new(counting(count))));
    let urls = servers.each_ref().map(Server::url);
    let upstream = connected(&urls.each_ref().map(String::as_str)).await;
    for _ in 0..600 {
        ask(&upstream, "hello").await.unwrap();
    }
    for count in counts {
        let count = count.load(Ordering::SeqCst);
        assert!((100..=300).contains(&count), "{count} of 600");
    }
}

#[tokio::test]
async fn an_endpoint_that_keeps_failing_is_left_alone_for_a_while() {
    let (sound, failed) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
    let server = Server::start(Setup::new(counting(&sound)));
    let broken = raw::serve({
        let failed = Arc::clone(&failed);
        move |mut exchange| {
            failed.fetch_add(1, Ordering::SeqCst);
            exchange.respond.send_reset(Reason::INTERNAL_ERROR);
            async {}
        }
    })
    .await;
    let upstream = connected(&[&server.url(), &format!("http://{broken}")]).await;
    let failures = || failed.load(Ordering::SeqCst);
    while failures() < 5 {
        let _ = ask(&upstream, "hello").await;
    }
    let ejected = || upstream.status().iter().map(|status| status.ejected).sum::<usize>();
    assert_eq!(ejected(), 1);
    assert_eq!(upstream.counts().ejections, 1);
    for _ in 0..100 {
        ask(&upstream, "hello").await.unwrap();
    }
    assert_eq!(failures(), 5);

    // After five seconds it gets another chance.
    eventually("the ejection ends", || ejected() == 0).await;
    for _ in 0..100 {
        let _ = ask(&upstream, "hello").await;
    }
    assert!(failures() > 5);
}

#[tokio::test]
async fn the_only_endpoint_is_never_left_alone() {
    let requests = Arc::new(AtomicUsize::new(0));
    let broken = raw::serve({
        let requests = Arc::clone(&requests);
        move |mut exchange| {
            requests.fetch_add(1, Ordering::SeqCst);
            exchange.respond.send_reset(Reason::INTERNAL_ERROR);
            async {}
        }
    })
    .await;
    let upstream = connected(&[&format!("http://{broken}")]).await;
    for _ in 0..20 {
        ask(&upstream, "hello").await.unwrap_err();
    }
    assert_eq!(requests.load(Ordering::SeqCst), 20);
}
