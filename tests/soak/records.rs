//! What was seen by clients and backends, and whether it fits together.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bridgehead::proto::push::push_receipt::Outcome;
use bridgehead::proto::push::session_event::Kind;
use bridgehead::proto::push::{PushReceipt, SessionEvent};
use tokio::time::sleep;

/// A push, by its pusher and its number among that pusher's.
pub type PushId = (u32, u64);

#[derive(Default)]
pub struct Records {
    /// What each connection has received, by the mark that it goes by.
    received: Mutex<HashMap<String, HashSet<PushId>>>,
    pushes: Mutex<Vec<Pushed>>,
    /// By session id: when it came and went, and its mark.
    lives: Mutex<HashMap<String, Life>>,
    pub calls: AtomicUsize,
    pub connections: AtomicUsize,
}

/// A push, from its beginning to its last receipt.
pub struct Pushed {
    pub id: PushId,
    pub began: SystemTime,
    /// When all sessions had it in their outboxes.
    pub sent: SystemTime,
    pub meant: Meant,
    pub receipts: Vec<PushReceipt>,
}

/// Whom a push was meant for.
pub enum Meant {
    Everyone,
    Users(Vec<String>),
    Devices(Vec<String>),
}

struct Life {
    mark: String,
    user: String,
    device: String,
    came: SystemTime,
    went: Option<SystemTime>,
}

impl Records {
    /// A client has received a push: in order, and once.
    pub fn received(&self, mark: &str, last: &mut HashMap<u32, u64>, (pusher, number): PushId) {
        let before = last.insert(pusher, number);
        assert!(
            before.is_none_or(|before| before < number),
            "{mark} got {number} of pusher {pusher} behind {before:?}"
        );
        let mut received = self.received.lock().unwrap();
        received.entry(mark.to_owned()).or_default().insert((pusher, number));
    }

    pub fn pushed(&self, pushed: Pushed) {
        self.pushes.lock().unwrap().push(pushed);
    }

    /// An event of the watch: sessions come and go, in turns.
    pub fn watched(&self, event: &SessionEvent) {
        let session = event.session.clone().unwrap();
        let at = SystemTime::try_from(event.at.unwrap()).unwrap();
        let mut lives = self.lives.lock().unwrap();
        match event.kind() {
            Kind::Connected => {
                let life = Life {
                    mark: session.app_version,
                    user: session.user_id,
                    device: session.device_id,
                    came: at,
                    went: None,
                };
                let earlier = lives.insert(session.session_id.clone(), life);
                assert!(earlier.is_none(), "{} came twice", session.session_id);
            }
            Kind::Disconnected => {
                let life = lives.get_mut(&session.session_id).unwrap();
                assert!(life.went.is_none(), "{} went twice", session.session_id);
                life.went = Some(at);
            }
            other => panic!("{other:?}"),
        }
    }

    pub async fn wait_watched_empty(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.lives.lock().unwrap().values().any(|life| life.went.is_none()) {
            assert!(Instant::now() < end, "the watch was not told that all have gone");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Holds all of it together.
    pub fn settle(&self) {
        let received = self.received.lock().unwrap();
        let lives = self.lives.lock().unwrap();
        for pushed in self.pushes.lock().unwrap().iter() {
            pushed.check_receipts();
            pushed.check_acknowledged(&received);
            pushed.check_none_is_missing(&lives);
        }
    }

    pub fn summary(&self) -> String {
        let pushes = self.pushes.lock().unwrap();
        let mut outcomes: HashMap<&str, usize> = HashMap::new();
        for receipt in pushes.iter().flat_map(|pushed| &pushed.receipts) {
            *outcomes.entry(receipt.outcome().as_str_name()).or_default() += 1;
        }
        let mut outcomes: Vec<_> = outcomes.into_iter().collect();
        outcomes.sort_unstable();
        format!(
            "{} connections, {} calls, {} pushes, receipts {outcomes:?}",
            self.connections.load(Ordering::Relaxed),
            self.calls.load(Ordering::Relaxed),
            pushes.len(),
        )
    }
}

impl Pushed {
    /// One receipt for each session and each absent user.
    fn check_receipts(&self) {
        let (mut sessions, mut absent, mut present) =
            (HashSet::new(), HashSet::new(), HashSet::new());
        for receipt in &self.receipts {
            match (receipt.outcome(), &receipt.session) {
                (Outcome::Offline, None) => {
                    assert!(absent.insert(&*receipt.user_id), "{:?}: {receipt:?}", self.id);
                }
                (Outcome::Offline | Outcome::Unspecified, _) | (_, None) => panic!("{receipt:?}"),
                (_, Some(session)) => {
                    assert!(sessions.insert(&*session.session_id), "{:?}: {receipt:?}", self.id);
                    present.insert(&*session.user_id);
                }
            }
        }
        assert!(absent.is_disjoint(&present), "{:?}: offline and there: {absent:?}", self.id);
        if let Meant::Users(users) = &self.meant {
            let told: HashSet<&str> = absent.union(&present).copied().collect();
            assert_eq!(told, users.iter().map(String::as_str).collect(), "{:?}", self.id);
        }
    }

    /// Who has acknowledged a push has received it.
    fn check_acknowledged(&self, received: &HashMap<String, HashSet<PushId>>) {
        for receipt in &self.receipts {
            if receipt.outcome() != Outcome::Acknowledged {
                continue;
            }
            let mark = &receipt.session.as_ref().unwrap().app_version;
            let has = received.get(mark).is_some_and(|pushes| pushes.contains(&self.id));
            assert!(has, "{mark} has acknowledged {:?} and never received it", self.id);
        }
    }

    /// Every session that was there all the time has a receipt.
    fn check_none_is_missing(&self, lives: &HashMap<String, Life>) {
        let told: HashSet<&str> = self
            .receipts
            .iter()
            .filter_map(|receipt| receipt.session.as_ref())
            .map(|session| &*session.session_id)
            .collect();
        for (id, life) in lives {
            let was_there = life.came < self.began && life.went.is_none_or(|at| at > self.sent);
            let is_meant = match &self.meant {
                Meant::Everyone => true,
                Meant::Users(users) => users.contains(&life.user),
                Meant::Devices(devices) => devices.contains(&life.device),
            };
            assert!(
                !(was_there && is_meant) || told.contains(&**id),
                "{:?} has no receipt for {id} ({})",
                self.id,
                life.mark
            );
        }
    }
}
