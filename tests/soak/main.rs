//! Clients join, leave and are killed at random while backends push, kick,
//! list and watch, and calls go on; afterwards the accounts must balance.
//!
//! `BRIDGEHEAD_SOAK_SECONDS` says how long (15 by default, `make soak` takes
//! five minutes). Against the real binary, over real sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "what was seen, for those that run it by hand")]
#![allow(unreachable_pub, reason = "modules of this test, reachable from nowhere else")]

mod backend;
mod clients;
mod dice;
mod gateway;
mod records;
mod services;

use std::sync::Arc;
use std::time::Duration;

use bridgehead::proto::push::push_service_client::PushServiceClient;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use dice::Dice;
use gateway::Gateway;
use records::Records;

const USERS: usize = 24;
/// Each of these clients has a device of its own; two share a user.
const CLIENTS: usize = 2 * USERS;
const PUSHERS: u32 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_push_is_accounted_for_whatever_happens_to_clients() {
    let seconds = std::env::var("BRIDGEHEAD_SOAK_SECONDS").ok();
    let seconds: u64 = seconds.map_or(15, |text| text.parse().unwrap());
    let seed: u64 = rand::random();
    println!("soaking for {seconds} s, seed {seed}");

    let services = services::start().await;
    let gateway = Gateway::start(&services);
    // The first round leaves the gateway with all that it keeps for good.
    let warm_up = seconds.div_ceil(4);
    let records = round(&gateway, Dice::new(seed), warm_up).await;
    records.settle();
    gateway.wait_empty().await;
    let before = gateway.usage();

    let records = round(&gateway, Dice::new(seed ^ 1), seconds.saturating_sub(warm_up)).await;
    println!("{}", records.summary());
    records.settle();
    gateway.wait_empty().await;
    gateway.wait_usage(&before).await;
    gateway.stop().await;
}

/// Everything at once for a while; returns when all clients are gone and all
/// receipts are in.
async fn round(gateway: &Gateway, mut dice: Dice, seconds: u64) -> Arc<Records> {
    let records = Arc::new(Records::default());
    let (stop, stopped) = watch::channel(false);
    let api = PushServiceClient::connect(gateway.push_url.clone()).await.unwrap();
    let watching = backend::watch(api.clone(), Arc::clone(&records)).await;

    let mut backends = JoinSet::new();
    for pusher in 0..PUSHERS {
        let (api, records) = (api.clone(), Arc::clone(&records));
        backends.spawn(backend::push(pusher, api, records, dice.fork(), stopped.clone()));
    }
    backends.spawn(backend::push_in_streams(
        PUSHERS,
        api.clone(),
        Arc::clone(&records),
        dice.fork(),
        stopped.clone(),
    ));
    backends.spawn(backend::kick_and_list(api, dice.fork(), stopped.clone()));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (url, records) = (gateway.url.clone(), Arc::clone(&records));
        clients.spawn(clients::live(client, url, records, dice.fork(), stopped.clone()));
    }

    sleep(Duration::from_secs(seconds)).await;
    stop.send_replace(true);
    while let Some(ended) = backends.join_next().await {
        ended.unwrap();
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    gateway.wait_empty().await;
    // What the gateway says of the last one to leave is still on its way.
    records.wait_watched_empty().await;
    watching.abort();
    records
}
