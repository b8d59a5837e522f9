//! Sends session events of this gateway to watches of other gateways.

use std::sync::Arc;

use async_nats::Subject;
use futures_util::FutureExt;
use prost::Message as _;
use tokio::time::{Instant, sleep_until};

use super::Cluster;
use super::relays::{PAUSE, SIGN_OF_LIFE};
use crate::broker::told;
use crate::proto::cluster::{Events, Watch};
use crate::proto::push::SessionEvent;
use crate::registry::{Registry, Target};

/// Events in one message, and their bytes, more or less.
const MAX_EVENTS: usize = 256;
const MAX_BYTES: usize = 128 * 1024;

/// One watch of another gateway.
struct Relay {
    cluster: Arc<Cluster>,
    reply: Subject,
    number: u64,
}

impl Cluster {
    /// Another gateway watches the sessions that are here.
    pub(super) fn relay(self: &Arc<Self>, node: u64, watch: Watch, reply: Option<Subject>) {
        let (Some(reply), Some(target)) = (reply, watch.target) else { return };
        let mut open = self.relays.open.lock();
        open.entry((node, watch.watch)).or_insert_with(|| {
            let target = Target::from(target);
            let relay = Relay { cluster: Arc::clone(self), reply, number: 0 };
            tokio::spawn(relay.run(target, watch.snapshot)).abort_handle()
        });
    }
}

/// Events that go into one message.
#[derive(Default)]
struct Part {
    events: Vec<SessionEvent>,
    bytes: usize,
}

impl Part {
    fn add(&mut self, event: SessionEvent) {
        self.bytes += event.encoded_len();
        self.events.push(event);
    }

    fn is_full(&self) -> bool {
        self.events.len() >= MAX_EVENTS || self.bytes >= MAX_BYTES
    }

    fn take(&mut self) -> Vec<SessionEvent> {
        self.bytes = 0;
        std::mem::take(&mut self.events)
    }
}

impl Relay {
    fn send(&mut self, events: Events) {
        let (node, number) = (self.cluster.node, self.number);
        self.number += 1;
        let message = Events { node, number, ..events }.encode_to_vec();
        // The receiver notices a lost message by its number.
        self.cluster.link.say(self.reply.clone(), None, message.into());
    }

    async fn run(mut self, target: Target, wants_snapshot: bool) {
        let node = Arc::clone(self.cluster.local.node());
        let registry: Arc<Registry> = Arc::clone(self.cluster.local.registry());
        let mut over = self.cluster.relays.is_over.subscribe();
        let (present, mut watch) = registry.watch(target);
        let mut part = Part::default();
        for session in present.into_iter().filter(|_| wants_snapshot) {
            part.add(told::snapshot(&session, &node));
            if part.is_full() {
                self.send(Events { events: part.take(), ..Events::default() });
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.send(Events { events: part.take(), ..Events::default() });
        self.send(Events { events: vec![told::snapshot_end()], ..Events::default() });
        let mut sign_of_life = Instant::now() + SIGN_OF_LIFE;
        loop {
            let next = tokio::select! {
                biased;
                event = watch.next() => Some(event),
                () = sleep_until(sign_of_life) => None,
                // The sender lives as long as the cluster.
                _over = over.wait_for(|is_over| *is_over) => {
                    self.send(Events { is_over: true, ..Events::default() });
                    return;
                }
            };
            let mut is_behind = false;
            let mut event = next;
            while let Some(result) = event {
                match result {
                    Ok(event) => part.add(told::event(event, &node)),
                    Err(_behind) => is_behind = true,
                }
                let is_full = is_behind || part.is_full();
                event = if is_full { None } else { watch.next().now_or_never() };
            }
            self.send(Events { events: part.take(), is_behind, ..Events::default() });
            if is_behind {
                return;
            }
            sign_of_life = Instant::now() + SIGN_OF_LIFE;
        }
    }
}
