//! Shared state of the soak: addresses, and the records of all actions and
//! observations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bridgehead::proto::push::push_service_client::PushServiceClient;
use bridgehead::proto::push::session_event::Kind;
use bridgehead::proto::push::{Confirm, PushReceipt, Session, SessionEvent, Target};
use bridgehead::protocol::seed::PublicKey;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::client::Profile;

/// Users, each with a device on every one of these platforms.
pub(crate) const USERS: usize = 12;
pub(crate) const PLATFORMS: [&str; 4] = ["ios", "android", "web", "linux"];

pub(crate) type Api = PushServiceClient<Channel>;

/// How far the soak is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Running,
    /// Backends finish what they began.
    NoMorePushes,
    /// Clients leave.
    NoMoreClients,
}

/// Shared state of the soak.
pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) push_url: String,
    pub(crate) key: Arc<PublicKey>,
    pub(crate) stage: watch::Sender<Stage>,
    seed: u64,
    tags: AtomicU64,
    pub(crate) lives: Mutex<Vec<Arc<Life>>>,
    pub(crate) pushes: Mutex<Vec<Pushed>>,
    pub(crate) looks: Mutex<Vec<Look>>,
    /// Number of closed sessions, as reported by all kicks together.
    pub(crate) kicked: AtomicU64,
    /// The events of a watch of everything from the beginning on.
    pub(crate) events: Mutex<Vec<SessionEvent>>,
    /// Violations that are not in the records.
    pub(crate) wrong: Mutex<Vec<String>>,
    /// Counts of occurrences, by their names.
    pub(crate) counts: Mutex<BTreeMap<String, u64>>,
}

/// One session as its client saw it.
pub(crate) struct Life {
    /// Also its `app_version`.
    pub(crate) tag: String,
    pub(crate) log: Mutex<Log>,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The pushes that have come, in order, and when.
    pub(crate) seen: Vec<(PushId, Instant)>,
    /// The client read on until there were no more pushes, by any backend.
    pub(crate) saw_the_quiet: bool,
    /// The client read until the close frame.
    pub(crate) read_to_the_end: bool,
    pub(crate) end: Option<End>,
    /// When the client gave up waiting, and for which frame or end.
    pub(crate) gave_up: Option<(SystemTime, &'static str)>,
    pub(crate) calls: u64,
    pub(crate) answers: u64,
}

/// How a session ended, as far as its client can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client said goodbye.
    Left,
    /// The gateway closed it.
    Closed(u16),
    /// The connection broke, or was broken.
    Broken,
}

/// A push by its pusher and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PushId {
    pub(crate) pusher: u32,
    pub(crate) number: u32,
}

/// A push and its receipts.
#[derive(Debug, Clone)]
pub(crate) struct Pushed {
    pub(crate) id: PushId,
    pub(crate) target: Target,
    pub(crate) confirm: Confirm,
    pub(crate) began: SystemTime,
    /// The time by which the gateway had chosen the sessions; not known of a push
    /// in a stream without a receipt.
    pub(crate) chosen: Option<SystemTime>,
    /// The receipts and their times of arrival.
    pub(crate) receipts: Vec<(PushReceipt, Instant)>,
    /// The backend did not wait for all receipts.
    pub(crate) given_up: bool,
}

/// A list of sessions.
pub(crate) struct Look {
    pub(crate) target: Target,
    pub(crate) began: SystemTime,
    pub(crate) ended: SystemTime,
    pub(crate) sessions: Vec<Session>,
}

impl PushId {
    pub(crate) fn text(self) -> String {
        format!("{}-{}", self.pusher, self.number)
    }

    /// The data of a push, which begins with its id.
    pub(crate) fn data(self, size: usize) -> Vec<u8> {
        let mut data = [self.pusher.to_be_bytes(), self.number.to_be_bytes()].concat();
        data.resize(8 + size, b'x');
        data
    }

    pub(crate) fn of_data(data: &[u8]) -> Self {
        let word = |at: usize| u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
        Self { pusher: word(0), number: word(4) }
    }
}

impl World {
    pub(crate) fn new(url: &str, push_url: &str, key: Arc<PublicKey>, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            url: url.to_owned(),
            push_url: push_url.to_owned(),
            key,
            stage: watch::Sender::new(Stage::Running),
            seed,
            tags: AtomicU64::new(0),
            lives: Mutex::default(),
            pushes: Mutex::default(),
            looks: Mutex::default(),
            kicked: AtomicU64::new(0),
            events: Mutex::default(),
            wrong: Mutex::default(),
            counts: Mutex::default(),
        })
    }

    /// Random numbers of one actor's own, the same for the same seed.
    pub(crate) fn random(&self, actor: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(actor))
    }

    pub(crate) async fn api(&self) -> Api {
        PushServiceClient::connect(self.push_url.clone()).await.unwrap()
    }

    pub(crate) fn is(&self, stage: Stage) -> bool {
        *self.stage.borrow() >= stage
    }

    /// Waits for this duration, or until this stage.
    pub(crate) async fn pause(&self, long: Duration, until: Stage) {
        let mut stage = self.stage.subscribe();
        let _either = tokio::time::timeout(long, stage.wait_for(|now| *now >= until)).await;
    }

    /// A new life of a device.
    pub(crate) fn birth(&self) -> Arc<Life> {
        let tag = format!("life-{}", self.tags.fetch_add(1, Ordering::Relaxed));
        let life = Arc::new(Life { tag, log: Mutex::default() });
        self.lives.lock().push(Arc::clone(&life));
        life
    }

    pub(crate) fn profile(&self, slot: usize, life: &Life, random: &mut StdRng) -> Profile {
        let (user, platform) = (slot % USERS, PLATFORMS[slot / USERS]);
        Profile {
            url: self.url.clone(),
            user: format!("user-{user}"),
            platform: platform.into(),
            // The same for all users: a device is one user's.
            device: format!("device-{platform}"),
            tag: life.tag.clone(),
            key: random.random_bool(0.3).then(|| Arc::clone(&self.key)),
            receive_buffer: random.random_bool(0.3).then_some(2048),
        }
    }

    /// Whether every session that the watch has seen coming has gone.
    pub(crate) fn is_told_of_all(&self) -> bool {
        let events = self.events.lock();
        let count = |kind| events.iter().filter(|event| event.kind() == kind).count();
        count(Kind::Connected) == count(Kind::Disconnected)
    }

    pub(crate) fn count(&self, what: impl Into<String>) {
        *self.counts.lock().entry(what.into()).or_default() += 1;
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) {
        self.wrong.lock().push(what.into());
    }
}
