//! Backends: they push, kick, list and watch, all at the same time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bridgehead::proto::push::session_event::Kind;
use bridgehead::proto::push::{
    Confirm, KickRequest, ListSessionsRequest, PushReceipt, PushRequest, SessionEvent, Target,
    WatchSessionsRequest,
};
use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tonic::Streaming;

use crate::world::{Api, Look, PLATFORMS, PushId, Pushed, Stage, USERS, World};

/// Pushes of one stream.
const STREAM: usize = 40;

/// Pushes one by one, each when the previous one is in all outboxes.
pub(crate) async fn pusher(world: Arc<World>, pusher: u32, large: bool) {
    let (mut api, mut random) = (world.api().await, world.random(1000 + u64::from(pusher)));
    let (mut number, mut reading) = (0, JoinSet::new());
    while !world.is(Stage::NoMorePushes) {
        pause(&world, &mut random, large).await;
        let (request, mut pushed) = push(&world, &mut random, PushId { pusher, number }, large);
        number += 1;
        let receipts = api.push(request).await.unwrap().into_inner();
        pushed.chosen = Some(SystemTime::now());
        if random.random_bool(0.05) {
            pushed.given_up = true;
            world.pushes.lock().push(pushed);
            continue; // drops the stream
        }
        reading.spawn(read(Arc::clone(&world), receipts, pushed));
        while reading.try_join_next().is_some() {}
    }
    reading.join_all().await;
}

async fn read(world: Arc<World>, mut receipts: Streaming<PushReceipt>, mut pushed: Pushed) {
    loop {
        match receipts.message().await {
            Ok(Some(receipt)) if receipt.push_id == pushed.id.text() => {
                pushed.receipts.push((receipt, Instant::now()));
            }
            Ok(Some(other)) => world.wrong(format!("{other:?} in {:?}", pushed.id)),
            Ok(None) => break,
            Err(status) => {
                world.wrong(format!("push {:?}: {status}", pushed.id));
                pushed.given_up = true;
                break;
            }
        }
    }
    world.pushes.lock().push(pushed);
}

/// Pushes in streams, without waiting for anything.
pub(crate) async fn streamer(world: Arc<World>, pusher: u32) {
    let (mut api, mut random) = (world.api().await, world.random(1000 + u64::from(pusher)));
    let mut number = 0;
    while !world.is(Stage::NoMorePushes) {
        let (requests, mut queue) = mpsc::channel::<PushRequest>(1);
        let queue = futures_util::stream::poll_fn(move |cx| queue.poll_recv(cx));
        let mut receipts = api.push_stream(queue).await.unwrap().into_inner();
        let open: Arc<Mutex<HashMap<String, Pushed>>> = Arc::default();
        let reader = tokio::spawn({
            let (world, open) = (Arc::clone(&world), Arc::clone(&open));
            async move {
                loop {
                    match receipts.message().await {
                        Ok(Some(receipt)) => match open.lock().get_mut(&receipt.push_id) {
                            Some(pushed) => {
                                pushed.chosen.get_or_insert_with(SystemTime::now);
                                pushed.receipts.push((receipt, Instant::now()));
                            }
                            None => world.wrong(format!("{receipt:?} of no push")),
                        },
                        Ok(None) => return,
                        Err(status) => return world.wrong(format!("stream {pusher}: {status}")),
                    }
                }
            }
        });
        for _ in 0..STREAM {
            if random.random_bool(0.5) {
                pause(&world, &mut random, false).await;
            }
            let id = PushId { pusher, number };
            let (request, pushed) = push(&world, &mut random, id, false);
            number += 1;
            open.lock().insert(pushed.id.text(), pushed);
            requests.send(request).await.unwrap();
        }
        drop(requests);
        reader.await.unwrap();
        world.pushes.lock().extend(open.lock().drain().map(|(_, pushed)| pushed));
    }
}

async fn pause(world: &World, random: &mut StdRng, large: bool) {
    let millis = if large { 50..150 } else { 0..60 };
    let millis = random.random_range(millis);
    world.pause(Duration::from_millis(millis), Stage::NoMorePushes).await;
}

fn push(world: &World, random: &mut StdRng, id: PushId, large: bool) -> (PushRequest, Pushed) {
    let target = target(world, random, large);
    let confirms = [Confirm::Written, Confirm::Queued, Confirm::Acknowledged];
    let confirm = *confirms.choose(random).unwrap();
    let size = random.random_range(if large { 20_000..60_000 } else { 0..1500 });
    let nanos = random.random_range(200..1000) * 1_000_000;
    let request = PushRequest {
        push_id: id.text(),
        target: Some(target.clone()),
        event: 7,
        data: id.data(size).into(),
        confirm: confirm.into(),
        deadline: Some(prost_types::Duration { seconds: random.random_range(0..2), nanos }),
    };
    let (began, chosen, receipts) = (SystemTime::now(), None, Vec::new());
    let pushed = Pushed { id, target, confirm, began, chosen, receipts, given_up: false };
    (request, pushed)
}

/// A target of some sessions, by one of its fields, with random filters.
fn target(world: &World, random: &mut StdRng, small: bool) -> Target {
    let mut target = Target::default();
    let user = |random: &mut StdRng| match random.random_range(0..10) {
        0 => "nobody".to_owned(),
        1 => format!("guest-{}", random.random_range(0..USERS * PLATFORMS.len())),
        _ => format!("user-{}", random.random_range(0..USERS)),
    };
    let platform = |random: &mut StdRng| (*PLATFORMS.choose(random).unwrap()).to_owned();
    match random.random_range(0..if small { 3 } else { 6 }) {
        0..3 => {
            let users = random.random_range(1..4);
            target.user_ids = (0..users).map(|_| user(random)).collect();
        }
        3 => target.everyone = true,
        4 => target.device_ids = vec![format!("device-{}", platform(random))],
        _ => {
            target.session_ids = recent_sessions(world, random);
            target.session_ids.push("no-such-session".into());
        }
    }
    if random.random_bool(0.2) {
        target.platforms = vec![platform(random), platform(random)];
    }
    if random.random_bool(0.2) {
        target.except_session_ids = recent_sessions(world, random);
    }
    target
}

/// Sessions that connected lately, and may be gone.
fn recent_sessions(world: &World, random: &mut StdRng) -> Vec<String> {
    let events = world.events.lock();
    let recent = &events[events.len().saturating_sub(60)..];
    let chosen = recent.sample(random, 3);
    chosen.filter_map(|event| Some(event.session.as_ref()?.session_id.clone())).collect()
}

pub(crate) async fn kicker(world: Arc<World>) {
    let (mut api, mut random) = (world.api().await, world.random(2000));
    while !world.is(Stage::NoMorePushes) {
        let millis = Duration::from_millis(random.random_range(100..600));
        world.pause(millis, Stage::NoMorePushes).await;
        let target = Some(target(&world, &mut random, true));
        let kick = KickRequest { target, reason: "soaked".into() };
        let kicked = api.kick(kick).await.unwrap().into_inner().kicked;
        world.kicked.fetch_add(kicked.into(), std::sync::atomic::Ordering::Relaxed);
    }
}

pub(crate) async fn lister(world: Arc<World>) {
    let (mut api, mut random) = (world.api().await, world.random(3000));
    while !world.is(Stage::NoMoreClients) {
        world.pause(Duration::from_millis(100), Stage::NoMoreClients).await;
        let target = if random.random_bool(0.5) {
            Target::default()
        } else {
            target(&world, &mut random, false)
        };
        let began = SystemTime::now();
        let sessions = list(&mut api, target.clone()).await;
        let look = Look { target, began, ended: SystemTime::now(), sessions };
        world.looks.lock().push(look);
    }
}

pub(crate) async fn list(api: &mut Api, target: Target) -> Vec<bridgehead::proto::push::Session> {
    let request = ListSessionsRequest { target: Some(target) };
    let mut listed = api.list_sessions(request).await.unwrap().into_inner();
    let mut sessions = Vec::new();
    while let Some(session) = listed.message().await.unwrap() {
        sessions.push(session);
    }
    sessions
}

/// Watches everything from now on; signals `begun` when the watch has begun.
pub(crate) async fn chronicler(world: Arc<World>, mut api: Api, begun: oneshot::Sender<()>) {
    let request = WatchSessionsRequest { target: None, snapshot: true };
    let mut events = api.watch_sessions(request).await.unwrap().into_inner();
    let first = events.message().await.unwrap().unwrap();
    assert_eq!(first.kind(), Kind::SnapshotEnd, "somebody is there already");
    begun.send(()).unwrap();
    while let Some(event) = events.message().await.unwrap() {
        world.events.lock().push(event);
    }
}

/// Watches something for a while, again and again; some are not even read.
pub(crate) async fn watcher(world: Arc<World>) {
    let (mut api, mut random) = (world.api().await, world.random(4000));
    while !world.is(Stage::NoMoreClients) {
        let target = random.random_bool(0.5).then(|| target(&world, &mut random, false));
        let request = WatchSessionsRequest { target, snapshot: true };
        let mut events = api.watch_sessions(request).await.unwrap().into_inner();
        let millis = Duration::from_millis(random.random_range(50..1500));
        if random.random_bool(0.2) {
            world.pause(millis, Stage::NoMoreClients).await;
            continue;
        }
        let mut heard = Vec::new();
        let listening = async {
            while let Some(event) = events.message().await.unwrap() {
                heard.push(event);
            }
        };
        let _until_then = tokio::time::timeout(millis, listening).await;
        if let Some(wrong) = contradiction(&heard) {
            world.wrong(wrong);
        }
    }
}

/// The first event that is out of order: a watch sends a snapshot, its end, and
/// then a connection of each session before its disconnection.
fn contradiction(heard: &[SessionEvent]) -> Option<String> {
    let (mut present, mut is_snapshot) = (HashSet::new(), true);
    for event in heard {
        let id = event.session.as_ref().map(|session| session.session_id.clone());
        let is_good = match event.kind() {
            Kind::Snapshot => is_snapshot && present.insert(id),
            Kind::SnapshotEnd => std::mem::take(&mut is_snapshot),
            Kind::Connected => !is_snapshot && present.insert(id),
            Kind::Disconnected => !is_snapshot && present.remove(&id),
            Kind::Unspecified => false,
        };
        if !is_good {
            return Some(format!("a watch says {event:?} at the wrong time"));
        }
    }
    None
}
