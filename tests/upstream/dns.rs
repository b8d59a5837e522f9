//! A `dns:///` name follows its resolved addresses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::grpc::{Server, Setup, ask, config, eventually, handler};
use bridgehead::upstream::{Lookup, Resolver, Upstream};
use parking_lot::Mutex;
use tonic::Code;

/// Resolves every name to the test's current addresses.
#[derive(Clone, Default)]
struct Zone {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    lookups: Arc<AtomicUsize>,
}

impl Zone {
    fn set<'a>(&self, servers: impl IntoIterator<Item = &'a Server>) {
        *self.addresses.lock() = servers.into_iter().map(|server| server.address).collect();
    }
}

impl Resolver for Zone {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Lookup<'a> {
        let addresses = self.addresses.lock().clone();
        self.lookups.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if addresses.is_empty() { Err(io::Error::other("no such name")) } else { Ok(addresses) }
        })
    }
}

fn says(name: &'static str) -> Server {
    Server::start(Setup::new(handler(move |_| async move { Ok(name.into()) })))
}

fn upstream(zone: &Zone) -> Arc<Upstream> {
    let config = config(&["dns:///msg:8080"]);
    let resolver: Arc<dyn Resolver> = Arc::new(zone.clone());
    Arc::new(Upstream::with_resolver(config, 1, &resolver).unwrap())
}

async fn is_connected_to(upstream: &Upstream, server: &Server) {
    let address = format!("({})", server.address);
    eventually("the endpoint is connected", || {
        let mut status = upstream.status().into_iter();
        status.any(|one| one.address.contains(&address) && one.connections == 2)
    })
    .await;
}

#[tokio::test]
async fn a_service_that_moved_is_found_when_its_old_place_fails() {
    let zone = Zone::default();
    let old = says("old");
    zone.set([&old]);
    let upstream = upstream(&zone);
    assert_eq!(ask(&upstream, "").await.unwrap(), "old");

    let new = says("new");
    zone.set([&new]);
    old.kill();
    is_connected_to(&upstream, &new).await;
    assert_eq!(ask(&upstream, "").await.unwrap(), "new");
    assert_eq!(upstream.status().len(), 1, "the old place is forgotten");
}

#[tokio::test]
async fn calls_in_flight_on_an_endpoint_that_left_the_name_finish() {
    let (release, _) = tokio::sync::broadcast::channel::<()>(1);
    let has_arrived = Arc::new(AtomicBool::new(false));
    let leaves = Server::start(Setup::new(handler({
        let (release, arrived) = (release.clone(), Arc::clone(&has_arrived));
        move |_| {
            let mut released = release.subscribe();
            arrived.store(true, Ordering::SeqCst);
            async move {
                let _ = released.recv().await;
                Ok("left".into())
            }
        }
    })));
    let dies = says("dies");
    let stays = says("stays");
    let zone = Zone::default();
    zone.set([&leaves, &dies]);
    let upstream = upstream(&zone);
    let mut calls = Vec::new();
    while !has_arrived.load(Ordering::SeqCst) {
        calls.push(tokio::spawn(upstream.call(0, crate::support::grpc::call(""))));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    is_connected_to(&upstream, &dies).await;

    // The death of another makes the name be resolved anew.
    zone.set([&stays]);
    dies.kill();
    is_connected_to(&upstream, &stays).await;
    assert_eq!(upstream.status().len(), 1);
    release.send(()).unwrap();
    for call in calls {
        let answer = call.await.unwrap().unwrap();
        assert!(answer == "left" || answer == "dies", "{answer:?}");
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_yet_is_tried_again() {
    let zone = Zone::default();
    let upstream = upstream(&zone);
    let error = ask(&upstream, "").await.unwrap_err();
    assert_eq!(error.status.code(), Code::Unavailable);
    assert!(error.status.message().contains("cannot resolve msg: no such name"), "{error}");
    let status = upstream.status();
    assert_eq!((status.len(), &*status[0].address), (1, "dns:///msg:8080"));
    assert_eq!(status[0].problem.as_deref(), Some("cannot resolve msg: no such name"));

    let server = says("here");
    zone.set([&server]);
    is_connected_to(&upstream, &server).await;
    assert_eq!(ask(&upstream, "").await.unwrap(), "here");
}

#[tokio::test]
async fn a_name_that_stops_resolving_keeps_its_endpoints() {
    let zone = Zone::default();
    let (stays, dies) = (says("stays"), says("dies"));
    zone.set([&stays, &dies]);
    let upstream = upstream(&zone);
    upstream.warm(0);
    is_connected_to(&upstream, &stays).await;
    is_connected_to(&upstream, &dies).await;
    zone.set([]);
    dies.kill();
    eventually("the name is resolved anew, in vain", || zone.lookups.load(Ordering::SeqCst) > 1)
        .await;
    for _ in 0..20 {
        assert_eq!(ask(&upstream, "").await.unwrap(), "stays");
    }
    assert_eq!(upstream.status().len(), 2);
}
