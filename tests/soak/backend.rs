//! Backends: they push, kick, list and watch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use bridgehead::proto::push::push_service_client::PushServiceClient;
use bridgehead::proto::push::{
    KickRequest, ListSessionsRequest, PushRequest, Target, WatchSessionsRequest,
};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use tonic::transport::Channel;

use crate::clients::{data, device, user};
use crate::dice::Dice;
use crate::records::{Meant, PushId, Pushed, Records};
use crate::{CLIENTS, USERS};

type Api = PushServiceClient<Channel>;

/// Pushes one after the other, without waiting for receipts.
pub async fn push(
    who: u32,
    mut api: Api,
    records: Arc<Records>,
    mut dice: Dice,
    stopped: watch::Receiver<bool>,
) {
    let mut receiving = JoinSet::new();
    for number in 0.. {
        if *stopped.borrow() {
            break;
        }
        let id = (who, number);
        let (request, meant) = choose(id, &mut dice);
        let began = SystemTime::now();
        let mut receipts = api.push(request).await.unwrap().into_inner();
        let sent = SystemTime::now();
        let records = Arc::clone(&records);
        receiving.spawn(async move {
            let mut pushed = Pushed { id, began, sent, meant, receipts: Vec::new() };
            while let Some(receipt) = receipts.message().await.unwrap() {
                pushed.receipts.push(receipt);
            }
            records.pushed(pushed);
        });
        sleep(dice.millis(0, 15)).await;
    }
    while let Some(received) = receiving.join_next().await {
        received.unwrap();
    }
}

/// Pushes many over one stream, then waits for all receipts.
pub async fn push_in_streams(
    who: u32,
    mut api: Api,
    records: Arc<Records>,
    mut dice: Dice,
    stopped: watch::Receiver<bool>,
) {
    let mut number = 0;
    while !*stopped.borrow() {
        let (mut requests, mut pushes) = (Vec::new(), HashMap::new());
        let began = SystemTime::now();
        for _ in 0..=dice.below(40) {
            number += 1;
            let id = (who, number);
            let (request, meant) = choose(id, &mut dice);
            let sent = SystemTime::UNIX_EPOCH; // known only when all is over
            let entry = Pushed { id, began, sent, meant, receipts: Vec::new() };
            pushes.insert(request.push_id.clone(), entry);
            requests.push(request);
        }
        let requests = futures_util::stream::iter(requests);
        let mut receipts = api.push_stream(requests).await.unwrap().into_inner();
        while let Some(receipt) = receipts.message().await.unwrap() {
            pushes.get_mut(&receipt.push_id).unwrap().receipts.push(receipt);
        }
        for (_, mut pushed) in pushes {
            pushed.sent = SystemTime::now();
            records.pushed(pushed);
        }
        sleep(dice.millis(0, 30)).await;
    }
}

/// Kicks somebody now and then, and lists all.
pub async fn kick_and_list(mut api: Api, mut dice: Dice, stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        sleep(dice.millis(10, 200)).await;
        let target = Target { user_ids: vec![user(dice.below(USERS))], ..Target::default() };
        let kick = KickRequest { target: Some(target.clone()), reason: "soaked".into() };
        api.kick(kick).await.unwrap();
        let mut sessions = api.list_sessions(ListSessionsRequest::default()).await.unwrap();
        let mut seen = std::collections::HashSet::new();
        while let Some(session) = sessions.get_mut().message().await.unwrap() {
            assert!(seen.insert(session.device_id.clone()), "two of one device: {session:?}");
        }
    }
}

/// Watches all that happens from now on.
pub async fn watch(mut api: Api, records: Arc<Records>) -> JoinHandle<()> {
    let all = WatchSessionsRequest { target: None, snapshot: false };
    let mut events = api.watch_sessions(all).await.unwrap().into_inner();
    tokio::spawn(async move {
        while let Some(event) = events.message().await.unwrap() {
            records.watched(&event);
        }
    })
}

fn choose((who, number): PushId, dice: &mut Dice) -> (PushRequest, Meant) {
    let mut target = Target::default();
    let meant = match dice.below(10) {
        0 => {
            target.everyone = true;
            Meant::Everyone
        }
        1..=6 => {
            let mut users: Vec<_> = (0..=dice.below(3)).map(|_| user(dice.below(USERS))).collect();
            users.push("nobody".to_owned());
            users.sort_unstable();
            users.dedup();
            target.user_ids.clone_from(&users);
            Meant::Users(users)
        }
        _ => {
            let devices = vec![device(dice.below(CLIENTS))];
            target.device_ids.clone_from(&devices);
            Meant::Devices(devices)
        }
    };
    let request = PushRequest {
        push_id: format!("{who}-{number}"),
        target: Some(target),
        event: 0,
        data: data((who, number), dice.below(32_000)),
        confirm: i32::try_from(dice.below(3)).unwrap(),
        deadline: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
    };
    (request, meant)
}
