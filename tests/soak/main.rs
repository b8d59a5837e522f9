//! A soak: clients come and go in every way, backends push, kick, list and
//! watch, for as long as `BRIDGEHEAD_SOAK_SECONDS` says. Then all records must
//! be consistent, and the gateway must return to its former use of resources.
//!
//! The random numbers come from a seed that is printed; `BRIDGEHEAD_SOAK_SEED`
//! sets it.

#![allow(clippy::print_stderr, reason = "what was seen, for those that run it by hand")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod backends;
#[path = "../support/client.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod client;
mod clients;
#[path = "../support/gateway.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod gateway;
mod services;
mod verdict;
mod world;

use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridgehead::proto::push::Target;
use bridgehead::protocol::seed::PublicKey;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use gateway::Gateway;
use services::Services;
use world::{Api, PLATFORMS, Stage, USERS, World};

/// How long the gateway may take to give memory and sockets back. Its
/// allocator returns unused memory after some ten seconds.
const SETTLE: Duration = Duration::from_secs(20);
/// Permitted growth of memory since the warm-up, in bytes.
const MORE: u64 = 6 << 20;

fn number_from(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn start_gateway(services: &Services) -> Gateway {
    Gateway::start(&json!({
        "edge": { "listen": "127.0.0.1:0" },
        "session": {
            "private_key": "session.pem",
            "one_session_per": "device",
            "outbox": "32KiB",
            "ping_interval": "500ms",
            "pong_timeout": "1500ms",
        },
        "auth": { "none": {} },
        "upstreams": { "soak": {
            "address": services.address,
            "descriptors": [services.descriptors],
            "routes": { "/say": "soak.Echo/Say" },
        } },
        "push": { "listen": "127.0.0.1:0" },
        "drain": { "delay": "0s", "period": "1s" },
        "log": { "format": "json" },
    }))
}

/// Runs all clients and backends for so long. Returns the records, when all
/// clients have left and everything under way has ended.
async fn run(gateway: &Gateway, api: &Api, seed: u64, long: Duration) -> Arc<World> {
    let key = PublicKey::from_pem(std::fs::read(gateway.folder().join("session.pub.pem")).unwrap());
    let key = Arc::new(key.unwrap());
    let world = World::new(&gateway.url, &gateway.push_url, key, seed);
    let (begun, has_begun) = oneshot::channel();
    let chronicle = tokio::spawn(backends::chronicler(Arc::clone(&world), api.clone(), begun));
    has_begun.await.unwrap();

    let (mut clients, mut pushers, mut others) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    for slot in 0..USERS * PLATFORMS.len() {
        clients.spawn(clients::device(Arc::clone(&world), slot));
    }
    for pusher in 0..6 {
        let world = Arc::clone(&world);
        match pusher {
            0..3 => pushers.spawn(backends::pusher(world, pusher, false)),
            3 => pushers.spawn(backends::pusher(world, pusher, true)),
            _ => pushers.spawn(backends::streamer(world, pusher)),
        };
    }
    pushers.spawn(backends::kicker(Arc::clone(&world)));
    others.spawn(backends::lister(Arc::clone(&world)));
    others.spawn(backends::watcher(Arc::clone(&world)));

    sleep(long).await;
    world.stage.send_replace(Stage::NoMorePushes);
    timeout(SETTLE, pushers.join_all()).await.expect("all receipts come to an end");
    sleep(Duration::from_millis(500)).await;
    world.stage.send_replace(Stage::NoMoreClients);
    timeout(2 * SETTLE, clients.join_all()).await.expect("all clients can leave");
    timeout(SETTLE, others.join_all()).await.expect("lists and watches end");
    eventually("nobody is connected", || nobody_is_there(api)).await;
    // The event of the last session's end is still on its way.
    eventually("all have been told of", async || world.is_told_of_all()).await;
    chronicle.abort();
    let _aborted = chronicle.await;
    world
}

async fn nobody_is_there(api: &Api) -> bool {
    backends::list(&mut api.clone(), Target::default()).await.is_empty()
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SETTLE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[track_caller]
fn judge(world: &World) {
    let wrongs = verdict::wrongs(world);
    let counts = world.counts.lock();
    let (lives, pushes) = (world.lives.lock().len(), world.pushes.lock().len());
    let seen = format!("{lives} sessions, {pushes} pushes; {counts:?}");
    eprintln!("{seen}");
    let first: Vec<_> = wrongs.iter().take(10).collect();
    assert!(wrongs.is_empty(), "{} things are wrong, such as {first:#?}", wrongs.len());
    // Otherwise the soak would not cover these.
    for what in [
        "closed with 3004",
        "closed with 3005",
        "left",
        "broken",
        "Queued",
        "Written",
        "Acknowledged",
        "Closed",
    ] {
        assert!(counts.contains_key(what), "there was no `{what}`: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_clients_and_backends_do_every_promise_is_kept_and_nothing_is_left_behind() {
    let long = Duration::from_secs(number_from("BRIDGEHEAD_SOAK_SECONDS", 12));
    let seed = number_from("BRIDGEHEAD_SOAK_SEED", rand::random::<u32>().into());
    eprintln!("BRIDGEHEAD_SOAK_SEED={seed}");
    let services = services::start().await;
    let gateway = start_gateway(&services);
    let api = Api::connect(gateway.push_url.clone()).await.unwrap();

    let warm_up = (long / 4).clamp(Duration::from_secs(4), SETTLE);
    let world = run(&gateway, &api, seed, warm_up).await;
    judge(&world);
    drop(world);
    sleep(Duration::from_secs(2)).await;
    let (memory, descriptors) = (gateway.resident(), gateway.descriptors());
    let world = run(&gateway, &api, seed + 1, long).await;
    judge(&world);

    let at_most = memory + MORE;
    eventually("its memory is given back", async || gateway.resident() <= at_most).await;
    eventually("its sockets are closed", async || gateway.descriptors() <= descriptors).await;
    eprintln!(
        "resident: {} KiB before, {} after; descriptors: {descriptors} before, {} after",
        memory / 1024,
        gateway.resident() / 1024,
        gateway.descriptors()
    );
    drop(api);
    let (code, log) = tokio::task::spawn_blocking(|| gateway.stop()).await.unwrap();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}
