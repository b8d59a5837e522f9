//! All clients reconnect at once, before their old connections are gone: the
//! newest session of each device stays, and only that.

#![allow(clippy::print_stderr, reason = "what was seen, for those that run it by hand")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bridgehead::proto::push::push_receipt::Outcome;
use bridgehead::proto::push::push_service_client::PushServiceClient;
use bridgehead::proto::push::{Confirm, ListSessionsRequest, PushRequest, Session, Target};
use rustix::process::{Resource, getrlimit};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::Channel;

#[path = "support/client.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod client;
#[path = "support/gateway.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod gateway;

use client::{Client, Incoming, Profile};
use gateway::Gateway;

const DEVICES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

fn start() -> Gateway {
    Gateway::start(&json!({
        "edge": { "listen": "127.0.0.1:0" },
        // Long enough for a slow machine.
        "session": { "one_session_per": "device", "handshake_timeout": "60s" },
        "auth": { "none": {} },
        "upstreams": {},
        "push": { "listen": "127.0.0.1:0" },
        "drain": { "delay": "0s", "period": "0s" },
        "log": { "format": "json" },
    }))
}

/// Opens a session on every device, all at once.
async fn everybody(gateway: &Gateway, tag: &str, users: usize) -> Vec<Client> {
    let mut opening = JoinSet::new();
    for nth in 0..users * DEVICES {
        let profile = Profile {
            url: gateway.url.clone(),
            user: format!("user-{}", nth / DEVICES),
            platform: "ios".into(),
            // The same device ids with every user: a device is one user's.
            device: format!("device-{}", nth % DEVICES),
            tag: tag.into(),
            key: None,
            receive_buffer: None,
        };
        opening.spawn(async move { Client::connect(&profile).await.unwrap() });
    }
    timeout(PATIENCE, opening.join_all()).await.expect("all are connected in time")
}

/// Reads to the end; the number of pushes, and the close code.
async fn until_closed(mut client: Client) -> (usize, u16) {
    let mut pushes = 0;
    loop {
        match client.next().await {
            Incoming::Push { .. } => pushes += 1,
            Incoming::Closed(code) => return (pushes, code),
            other => panic!("{other:?}"),
        }
    }
}

async fn list(api: &mut PushServiceClient<Channel>) -> Vec<Session> {
    let mut listed = api.list_sessions(ListSessionsRequest::default()).await.unwrap().into_inner();
    let mut sessions = Vec::new();
    while let Some(session) = listed.message().await.unwrap() {
        sessions.push(session);
    }
    sessions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_storm_of_reconnects_the_newest_sessions_are_there_and_no_others() {
    // Old and new connections are open at the same time, in two processes.
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let users =
        usize::try_from((limit.saturating_sub(500) / 2 / DEVICES as u64).min(1000)).unwrap();
    let count = users * DEVICES;
    let gateway = start();
    let mut api = PushServiceClient::connect(gateway.push_url.clone()).await.unwrap();
    let old = everybody(&gateway, "old", users).await;
    assert_eq!(list(&mut api).await.len(), count);

    let mut replaced = JoinSet::new();
    for client in old {
        replaced.spawn(until_closed(client));
    }
    let began = Instant::now();
    let new = everybody(&gateway, "new", users).await;
    eprintln!("{count} reconnects in {:?}", began.elapsed());
    let replaced = timeout(PATIENCE, replaced.join_all()).await.expect("all are replaced");
    assert!(replaced.iter().all(|end| *end == (0, 3004)), "{:?}", replaced.first());

    let mut staying = JoinSet::new();
    for client in new {
        staying.spawn(until_closed(client));
    }
    let push = PushRequest {
        target: Some(Target { everyone: true, ..Target::default() }),
        confirm: Confirm::Acknowledged.into(),
        deadline: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..PushRequest::default()
    };
    let mut receipts = api.push(push).await.unwrap().into_inner();
    let mut reached = HashSet::new();
    while let Some(receipt) = receipts.message().await.unwrap() {
        assert_eq!(receipt.outcome(), Outcome::Acknowledged, "{receipt:?}");
        let session = receipt.session.unwrap();
        assert_eq!(session.app_version, "new");
        assert!(reached.insert(session.session_id), "two receipts of one session");
    }
    assert_eq!(reached.len(), count);

    let listed = list(&mut api).await;
    let ids: HashSet<_> = listed.iter().map(|session| session.session_id.clone()).collect();
    assert_eq!((listed.len(), &ids), (count, &reached));
    let devices: HashSet<_> = listed.iter().map(|s| (&s.user_id, &s.device_id)).collect();
    assert_eq!(devices.len(), count);
    assert!(staying.try_join_next().is_none(), "a session of the newest was closed");

    drop(api);
    let (code, log) = tokio::task::spawn_blocking(|| gateway.stop()).await.unwrap();
    assert!(code == Some(0) && !log.contains("panicked"), "{code:?}: {log}");
    let ends = timeout(PATIENCE, staying.join_all()).await.expect("all are sent away");
    assert!(ends.iter().all(|end| *end == (1, 1001)), "{:?}", ends.first());
}
