//! Clients that come and go in every way that clients do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prost::Message as _;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::{Client, Incoming};
use crate::services::Text;
use crate::world::{End, Life, PushId, Stage, World};

/// Timeout of expected answers, and of the end of a session.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A client, its record, and its pending requests.
struct Session {
    client: Client,
    life: Arc<Life>,
    /// The expected texts of pending answers.
    waiting: HashMap<u64, String>,
    /// It has logged in as another user.
    is_guest: bool,
}

/// One device of one user, until the soak is over.
pub(crate) async fn device(world: Arc<World>, slot: usize) {
    let mut random = world.random(slot as u64);
    while !world.is(Stage::NoMoreClients) {
        world.pause(millis(&mut random, 0..400), Stage::NoMoreClients).await;
        if let Some(session) = connect(&world, slot, &mut random).await {
            live(&world, slot, session, &mut random).await;
        }
    }
}

async fn connect(world: &World, slot: usize, random: &mut StdRng) -> Option<Session> {
    let life = world.birth();
    let profile = world.profile(slot, &life, random);
    match Client::connect(&profile).await {
        Ok(client) => Some(Session { client, life, waiting: HashMap::new(), is_guest: false }),
        Err(came) => {
            world.wrong(format!("{} was not let in: {came:?}", life.tag));
            None
        }
    }
}

/// The actions of a client, until its session ends.
async fn live(world: &Arc<World>, slot: usize, mut session: Session, random: &mut StdRng) {
    loop {
        if session.read(world, millis(random, 100..1500), random).await.is_err() {
            return session.ended(world);
        }
        if world.is(Stage::NoMorePushes) {
            session.life.log.lock().saw_the_quiet = true;
            while !world.is(Stage::NoMoreClients) {
                let a_while = Duration::from_millis(100);
                if session.read(world, a_while, random).await.is_err() {
                    return session.ended(world);
                }
            }
            return session.leave(world).await;
        }
        match random.random_range(0..100) {
            0..25 => return session.leave(world).await,
            25..40 => return session.break_off(world),
            // Frozen: the gateway has to detect it, or the client goes on in the end.
            40..50 => {
                world.pause(millis(random, 500..3000), Stage::NoMoreClients).await;
                world.count("froze");
                if random.random_bool(0.5) {
                    return session.break_off(world);
                }
            }
            // Stalls for a moment.
            50..65 => {
                world.pause(millis(random, 50..700), Stage::NoMoreClients).await;
                world.count("stalled");
            }
            // Connects anew before the old connection is gone.
            65..85 if !session.is_guest => {
                let Some(newer) = connect(world, slot, random).await else { return };
                tokio::spawn(replaced(Arc::clone(world), std::mem::replace(&mut session, newer)));
            }
            // Becomes another user, on the same connection.
            85..90 => {
                let user = format!("guest-{slot}");
                let id = session.client.log_in(&user).await;
                session.expect(id, String::new());
                session.is_guest = true;
                world.count("logged in anew");
            }
            _ => {}
        }
    }
}

/// Reads on an old connection, until it is closed.
async fn replaced(world: Arc<World>, mut session: Session) {
    match timeout(PATIENCE, session.read_to_the_end(&world)).await {
        Ok(()) => session.ended(&world),
        Err(_) => session.gave_up("the end of one that was replaced"),
    }
}

impl Session {
    /// Reads for a while and calls meanwhile.
    async fn read(&mut self, world: &World, long: Duration, random: &mut StdRng) -> Result<(), ()> {
        let until = Instant::now() + long;
        loop {
            if random.random_bool(0.1) {
                for _ in 0..random.random_range(1..5) {
                    let text = format!("{} says {}", self.life.tag, random.random::<u32>());
                    let said = Text { text: text.clone() }.encode_to_vec();
                    let id = self.client.send("/say", said).await;
                    self.expect(id, text);
                }
            }
            match timeout_at(until, self.client.next()).await {
                Ok(came) => self.note(world, came)?,
                Err(_) => return Ok(()),
            }
        }
    }

    async fn read_to_the_end(&mut self, world: &World) {
        loop {
            let came = self.client.next().await;
            if self.note(world, came).is_err() {
                return;
            }
        }
    }

    /// Waits for the answers, says goodbye, and reads the remaining frames.
    async fn leave(mut self, world: &World) {
        let answers = async {
            while !self.waiting.is_empty() {
                let came = self.client.next().await;
                self.note(world, came)?;
            }
            Ok::<_, ()>(())
        };
        match timeout(PATIENCE, answers).await {
            Ok(Err(())) => return self.ended(world),
            Ok(Ok(())) => {}
            Err(_) => return self.gave_up("answers"),
        }
        self.client.say_goodbye().await;
        if timeout(PATIENCE, self.read_to_the_end(world)).await.is_err() {
            return self.gave_up("the end after a goodbye");
        }
        let mut log = self.life.log.lock();
        // The answer to the client's own close frame comes as one.
        if matches!(log.end, Some(End::Closed(1000 | 1005)) | None) {
            log.end = Some(End::Left);
        }
        drop(log);
        self.ended(world);
    }

    /// An expected answer or end has not come. That is wrong if the gateway still had
    /// the session; if not, the end may be stuck in the kernel: the smallest
    /// receive buffers open their window again very late.
    fn gave_up(self, waiting_for: &'static str) {
        self.life.log.lock().gave_up = Some((SystemTime::now(), waiting_for));
    }

    fn break_off(self, world: &World) {
        self.life.log.lock().end = Some(End::Broken);
        let life = Arc::clone(&self.life);
        self.client.reset();
        count_end(world, &life);
    }

    fn ended(self, world: &World) {
        count_end(world, &self.life);
    }

    fn expect(&mut self, id: u64, text: String) {
        self.waiting.insert(id, text);
        self.life.log.lock().calls += 1;
    }

    fn note(&mut self, world: &World, came: Incoming) -> Result<(), ()> {
        let mut log = self.life.log.lock();
        match came {
            Incoming::Push { data } => {
                log.seen.push((PushId::of_data(&data), Instant::now().into()));
            }
            Incoming::Answer { id, code, data } => {
                log.answers += 1;
                let expected = self.waiting.remove(&id);
                let said = Text::decode(data).ok().map(|text| text.text);
                if code != 0 || said.is_none() || said != expected {
                    let tag = &self.life.tag;
                    world.wrong(format!("{tag}: {code}, {said:?} and not {expected:?}"));
                }
            }
            Incoming::Closed(code) => {
                log.read_to_the_end = true;
                log.end = Some(End::Closed(code));
                return Err(());
            }
            Incoming::Lost(_) => {
                log.end = Some(End::Broken);
                return Err(());
            }
        }
        Ok(())
    }
}

fn count_end(world: &World, life: &Life) {
    match life.log.lock().end {
        Some(End::Closed(code)) => world.count(format!("closed with {code}")),
        Some(End::Left) => world.count("left"),
        Some(End::Broken) | None => world.count("broken"),
    }
}

fn millis(random: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(range))
}
