//! Watches of this gateway on the sessions of other gateways.
//!
//! Each gateway numbers its messages, and sends signs of life. So a watch notices
//! a lost message, and ends: its backend begins again, with a snapshot.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Message;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::relays::SIGN_OF_LIFE;
use super::watches::Open;
use super::{Cluster, said, subjects};
use crate::proto::cluster::said::What;
use crate::proto::cluster::{Events, Unwatch, Watch};
use crate::proto::push::session_event::Kind;
use crate::proto::push::{self, SessionEvent};
use crate::registry::Target;

/// Messages that may wait for one watch.
const QUEUE: usize = 8 * 1024;
/// How long the other gateways may take for their snapshots.
const BEGIN: Duration = Duration::from_secs(5);
/// After such a silence, a message of the gateway must have been lost.
const SILENCE: Duration = Duration::from_secs(7);

/// Why a watch cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// No other gateway can be heard.
    #[error("NATS cannot be reached")]
    Unreachable,
    /// A gateway is lost, or a message from it.
    #[error("what happens at gateway {0} is not known any more")]
    Lost(String),
    /// The watcher, or a gateway, did not keep up.
    #[error("too much has happened at once")]
    Behind,
}

/// Session events of other gateways. Dropping it ends the watch.
pub(in crate::broker) struct Elsewhere {
    cluster: Arc<Cluster>,
    watch: u64,
    arrivals: mpsc::Receiver<Events>,
    nodes: HashMap<u64, Node>,
    departures: watch::Receiver<u64>,
    up: watch::Receiver<bool>,
    /// Until when all snapshots must be complete; `None`: they are.
    begin: Option<Instant>,
    /// Events that came before the snapshots were complete.
    early: VecDeque<SessionEvent>,
    ready: VecDeque<SessionEvent>,
}

struct Node {
    name: String,
    next: u64,
    heard: Instant,
    has_begun: bool,
    /// Was there when the watch began.
    is_old: bool,
}

impl Cluster {
    /// Watches sessions of other gateways.
    pub(in crate::broker) fn watch(
        self: &Arc<Self>,
        target: &Target,
        snapshot: bool,
    ) -> Result<Elsewhere, Broken> {
        let watch = self.watches.next.fetch_add(1, Ordering::Relaxed);
        let target = push::Target::from(target);
        let (events, arrivals) = mpsc::channel(QUEUE);
        let open = Open { target: target.clone(), events };
        let departures = self.members.departures();
        let up = self.link.follow();
        self.watches.open.lock().insert(watch, open);
        let now = Instant::now();
        let node = |name: Arc<str>| Node::new(name.to_string(), now, true);
        let nodes = self.members.all().into_iter().map(|(id, name)| (id, node(name))).collect();
        let elsewhere = Elsewhere {
            cluster: Arc::clone(self),
            watch,
            arrivals,
            nodes,
            departures,
            up,
            begin: Some(now + BEGIN),
            early: VecDeque::new(),
            ready: VecDeque::new(),
        };
        let what = What::Watch(Watch { watch, target: Some(target), snapshot });
        let reply = self.subjects.watch(watch);
        if self.link.say(self.subjects.all(), Some(reply), said(self.node, what)) {
            Ok(elsewhere)
        } else {
            Err(Broken::Unreachable)
        }
    }

    /// An event for a watch. If that watch has ended, perhaps while its end could
    /// not be announced, the sender is notified now. So useless events stop with
    /// the next sign of life at the latest.
    pub(super) fn hear_of_watch(&self, message: &Message) {
        let Some(watch) = subjects::read_watch(&message.subject) else { return };
        match Events::decode(message.payload.clone()) {
            Ok(events) => {
                let node = events.node;
                if !self.watches.arrived(watch, events) {
                    self.say(self.subjects.node(node), What::Unwatch(Unwatch { watch }));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "an event of another gateway's watch cannot be decoded");
            }
        }
    }

    /// A gateway has joined the cluster: all open watches are opened there, too.
    pub(super) fn watch_newcomer(&self, node: u64) {
        for (watch, open) in &*self.watches.open.lock() {
            let what = What::Watch(Watch {
                watch: *watch,
                target: Some(open.target.clone()),
                snapshot: true,
            });
            let reply = self.subjects.watch(*watch);
            self.link.say(self.subjects.node(node), Some(reply), said(self.node, what));
        }
    }
}

impl Node {
    fn new(name: String, heard: Instant, is_old: bool) -> Self {
        Self { name, next: 0, heard, has_begun: false, is_old }
    }
}

impl Elsewhere {
    /// The next event. First come `SNAPSHOT`s of the present sessions, and one
    /// `SNAPSHOT_END` for all gateways.
    ///
    /// # Cancel safety
    ///
    /// May be dropped; nothing is lost.
    pub(in crate::broker) async fn next(&mut self) -> Result<SessionEvent, Broken> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if self.begin.is_some() && self.nodes.values().all(|node| node.has_begun) {
                self.begin = None;
                let end = SessionEvent { kind: Kind::SnapshotEnd.into(), ..Default::default() };
                self.ready.push_back(end);
                self.ready.append(&mut self.early);
                continue;
            }
            let soonest = self.nodes.values().map(|node| node.heard + SILENCE).min();
            let judged_at = self.begin.into_iter().chain(soonest).min();
            let judging = async {
                match judged_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let arrived = tokio::select! {
                biased;
                // The sender is among the open watches as long as this exists.
                events = self.arrivals.recv() => Some(events.ok_or(Broken::Behind)?),
                _down = self.up.wait_for(|is_up| !*is_up) => return Err(Broken::Unreachable),
                _departed = self.departures.changed() => None,
                () = judging => None,
            };
            // As long as messages wait to be read, no gateway is late.
            match arrived {
                Some(events) => self.hear(events)?,
                None => self.judge()?,
            }
        }
    }

    fn hear(&mut self, events: Events) -> Result<(), Broken> {
        let Some(name) = self
            .cluster
            .members
            .name(events.node)
            .or_else(|| self.nodes.get(&events.node).map(|node| node.name.as_str().into()))
        else {
            // From a gateway that has left meanwhile.
            return Ok(());
        };
        let now = Instant::now();
        let newcomer = || Node::new(name.to_string(), now, self.begin.is_some());
        let node = self.nodes.entry(events.node).or_insert_with(newcomer);
        if node.next != events.number {
            return Err(Broken::Lost(node.name.clone()));
        }
        if events.is_behind {
            return Err(Broken::Behind);
        }
        node.next += 1;
        node.heard = now;
        for mut event in events.events {
            match event.kind() {
                Kind::SnapshotEnd => node.has_begun = true,
                // A watcher that already has its snapshot sees these sessions as new.
                Kind::Snapshot if !node.is_old || self.begin.is_none() => {
                    event.kind = Kind::Connected.into();
                    self.ready.push_back(event);
                }
                Kind::Snapshot => self.ready.push_back(event),
                _ if self.begin.is_some() => self.early.push_back(event),
                _ => self.ready.push_back(event),
            }
        }
        if events.is_over {
            self.nodes.remove(&events.node);
        }
        Ok(())
    }

    fn judge(&mut self) -> Result<(), Broken> {
        let now = Instant::now();
        if let Some(end) = self.begin
            && now >= end
            && let Some(node) = self.nodes.values().find(|node| !node.has_begun)
        {
            return Err(Broken::Lost(node.name.clone()));
        }
        let is_lost = |id: &u64, node: &Node| {
            self.cluster.members.name(*id).is_none() || node.heard.elapsed() >= SILENCE
        };
        match self.nodes.iter().find(|(id, node)| is_lost(id, node)) {
            Some((_, node)) => Err(Broken::Lost(node.name.clone())),
            None => Ok(()),
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.cluster.watches.open.lock().remove(&self.watch);
        let what = What::Unwatch(Unwatch { watch: self.watch });
        let subject = self.cluster.subjects.all();
        self.cluster.say(subject, what);
    }
}

// A sign of life may be late, but not lost twice.
const _: () = assert!(SILENCE.as_secs() > 3 * SIGN_OF_LIFE.as_secs());
