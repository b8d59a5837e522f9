//! Many gateways as one, over NATS.
//!
//! There is no directory of users. A gateway listens under a subject for each of
//! its users ([`logins`]), so NATS itself delivers pushes to a user to the
//! gateways that hold the user, and reports at once when none does. Pushes to
//! everybody, or to platforms, devices and sessions, go to all gateways. Each
//! gateway handles them like its own backends' pushes ([`answering`]), and
//! streams back the outcomes; [`survey`] works out which answers are missing.
//!
//! Nothing waits for NATS: sessions and their calls go on without it, as do
//! pushes to sessions of this gateway. Pushes to others are then reported as
//! unknown at once, and everything heals when it is back.
//!
//! The messages are in `proto/bridgehead/cluster/v1/cluster.proto`, their
//! subjects in [`subjects`].

mod answering;
mod asking;
mod asks;
mod config;
mod credentials;
mod elsewhere;
mod holders;
mod link;
mod link_error;
mod listening;
mod logins;
mod members;
mod outcomes;
mod relaying;
mod relays;
mod subjects;
mod survey;
mod trouble;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subject};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::local::Local;
use crate::metrics;
use crate::proto::cluster::said::What;
use crate::proto::cluster::{Bye, Hello, Said};
use asks::Asks;
use holders::Holders;
use link::Link;
use members::{HELLO, Heard, Members};
use relays::Relays;
use subjects::Subjects;
use watches::Watches;

pub use asking::Incomplete;
pub(super) use asking::{Flight, Gathering, InFlight, Route, unknown};
pub use config::{Config, Tls};
pub use elsewhere::Broken;
pub(super) use elsewhere::Elsewhere;
pub use link::check;
pub use link_error::{CredsError, LinkError};
pub use logins::Expected;
pub(super) use survey::News;

/// How far the clock of another gateway may be ahead without a warning.
const WORTH_A_WORD: Duration = Duration::from_secs(1);

/// This gateway's part in the cluster.
pub struct Cluster {
    /// This instance of the gateway.
    node: u64,
    link: Link,
    subjects: Subjects,
    local: Arc<Local>,
    members: Members,
    holders: Holders,
    asks: Arc<Asks>,
    watches: Watches,
    relays: Relays,
    /// Notified when a gateway is back that was lost, and forgotten with its users.
    begin_again: Notify,
    counted: metrics::Cluster,
    /// The runtime of these tasks. Sessions live on other runtimes.
    runtime: Handle,
    sending: AbortHandle,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Cluster {
    /// Joins the cluster, now or as soon as NATS can be reached, in the background
    /// of the calling runtime.
    ///
    /// # Errors
    ///
    /// Addresses or files of the configuration cannot be used. An unreachable NATS
    /// is not an error.
    pub async fn start(
        config: &Config,
        local: Arc<Local>,
        counted: metrics::Cluster,
    ) -> Result<Arc<Self>, LinkError> {
        let node = rand::random();
        let (link, sending) = Link::open(config, local.node()).await?;
        let sending = tokio::spawn(sending).abort_handle();
        let cluster = Arc::new(Self {
            node,
            link,
            subjects: Subjects::new(&config.name, node),
            local,
            members: Members::new(),
            holders: Holders::default(),
            asks: Arc::default(),
            watches: Watches::default(),
            relays: Relays::default(),
            begin_again: Notify::new(),
            counted,
            runtime: Handle::current(),
            sending,
            tasks: Mutex::default(),
        });
        cluster.listen().await;
        cluster.spawn(Arc::clone(&cluster).say_hello());
        cluster.spawn(Arc::clone(&cluster).follow_sessions());
        Ok(cluster)
    }

    /// Whether NATS can be reached.
    pub fn is_connected(&self) -> bool {
        self.link.is_up()
    }

    /// Why there is no connection to NATS, with its servers; `None`: there is one.
    pub fn problem(&self) -> Option<String> {
        self.link.problem()
    }

    /// Reads the files with credentials and certificates for NATS again, for the
    /// next connection. `None`: there are none.
    ///
    /// # Errors
    ///
    /// A file cannot be used. Then the old ones stay in use.
    pub fn read_again(&self) -> Option<Result<(), LinkError>> {
        self.link.read_again()
    }

    /// The other gateways, by their names.
    pub fn others(&self) -> Vec<Arc<str>> {
        self.members.all().into_iter().map(|(_, name)| name).collect()
    }

    /// Users under whose subject this gateway listens.
    pub fn users(&self) -> usize {
        self.holders.len()
    }

    /// The largest event that can be pushed to other gateways, in bytes.
    pub fn max_data(&self) -> usize {
        // The rest of a message is small, but for the names in its target.
        const OVERHEAD: usize = 64 * 1024;
        self.link.max_payload().saturating_sub(OVERHEAD)
    }

    /// Says goodbye to the others, and leaves the cluster.
    pub async fn stop(&self) {
        // Without watches there is nothing to wait for.
        let _told = tokio::time::timeout(Duration::from_secs(1), self.relays.finish()).await;
        // So that no hello follows.
        self.tasks.lock().iter().for_each(AbortHandle::abort);
        self.say(self.subjects.nodes(), What::Bye(Bye {}));
        // A second is more than it takes; without NATS there is no receiver.
        let _said = tokio::time::timeout(Duration::from_secs(1), self.link.flush()).await;
        self.sending.abort();
    }

    fn say(&self, subject: Subject, what: What) -> bool {
        self.link.say(subject, None, said(self.node, what))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().push(tokio::spawn(task).abort_handle());
    }

    /// Listens to all that does not concern a user.
    async fn listen(self: &Arc<Self>) {
        let subjects = &self.subjects;
        self.hear(subjects.replies(), |cluster, message| cluster.asks.arrived(&message)).await;
        self.hear(subjects.watches(), |cluster, message| cluster.hear_of_watch(&message)).await;
        self.hear(subjects.nodes(), Self::hear_member).await;
        self.hear(subjects.node(self.node), Self::hear_member).await;
        let Some(mut all) = self.link.listen(subjects.all()).await else { return };
        let cluster = Arc::clone(self);
        self.spawn(async move {
            while let Some(message) = all.next().await {
                cluster.hear_of_all(message).await;
            }
        });
    }

    async fn hear(
        self: &Arc<Self>,
        subject: Subject,
        hear: impl Fn(&Arc<Self>, Message) + Send + 'static,
    ) {
        let Some(mut heard) = self.link.listen(subject).await else { return };
        let cluster = Arc::clone(self);
        self.spawn(async move {
            while let Some(message) = heard.next().await {
                hear(&cluster, message);
            }
        });
    }

    /// Says hello regularly, and looks for lost gateways.
    async fn say_hello(self: Arc<Self>) {
        let mut up = self.link.follow();
        let mut is_new = true;
        loop {
            let is_up = *up.borrow_and_update();
            if is_up != self.members.is_hearing() {
                self.members.can_hear(is_up);
                self.counted.connects.inc_by(u64::from(is_up));
                is_new = true;
            }
            if is_up {
                let all = self.subjects.nodes();
                // Repeated if it could not be sent.
                is_new = !self.say(all, What::Hello(self.hello(is_new))) && is_new;
            }
            for name in self.members.find_lost() {
                tracing::warn!(gateway = &*name, "a gateway of the cluster is lost");
                self.counted.lost.inc();
                self.forget_departed();
            }
            tokio::select! {
                () = tokio::time::sleep(HELLO) => {}
                changed = up.changed() => if changed.is_err() { return },
            }
        }
    }

    fn hello(&self, is_new: bool) -> Hello {
        let clock = self.local.registry().clock().now();
        Hello { name: self.local.node().to_string(), clock, is_new }
    }

    fn forget_departed(&self) {
        let there: Vec<u64> = self.members.all().into_iter().map(|(node, _)| node).collect();
        self.holders.forget(|node| there.contains(&node));
        self.relays.forget(|node| there.contains(&node));
    }

    /// Handles the messages of gateways about themselves.
    fn hear_member(self: &Arc<Self>, message: Message) {
        let Some((node, what, reply)) = read(message) else { return };
        match what {
            What::Hello(hello) => self.hear_hello(node, &hello),
            What::Bye(Bye {}) => {
                if let Some(name) = self.members.name(node) {
                    tracing::info!(gateway = &*name, "a gateway has left the cluster");
                }
                self.members.left(node);
                self.forget_departed();
            }
            What::Watch(watch) => self.relay(node, watch, reply),
            What::Unwatch(unwatch) => self.relays.end(node, unwatch.watch),
            // Not for this subject, or of a later version.
            What::Holds(_) | What::Login(_) | What::Left(_) | What::Ask(_) => {}
        }
    }

    fn hear_hello(self: &Arc<Self>, node: u64, hello: &Hello) {
        let behind = self.local.registry().clock().hear(hello.clock);
        let heard = self.members.heard(node, &hello.name);
        if heard == Heard::Gone {
            return;
        }
        if heard == Heard::Again {
            self.begin_again.notify_one();
        }
        if heard != Heard::Still {
            tracing::info!(gateway = hello.name, "a gateway is in the cluster");
            if behind > WORTH_A_WORD {
                tracing::warn!(gateway = hello.name, ?behind, "the clocks of gateways differ");
            }
            self.watch_newcomer(node);
        }
        if hello.is_new {
            self.say(self.subjects.node(node), What::Hello(self.hello(false)));
        }
    }

    /// Handles a message to the holders of a user.
    async fn hear_of_user(self: &Arc<Self>, user: &Arc<str>, message: Message) {
        let Some((node, what, reply)) = read(message) else { return };
        match what {
            What::Login(login) => self.hear_login(node, &login),
            What::Left(left) => self.holders.remove(&left.user_id, node),
            What::Holds(holds) => self.hear_holds(node, &holds.user_id, reply),
            What::Ask(ask) => {
                self.counted.heard_as_holder.inc();
                self.answer(node, ask, Some(user), reply).await;
            }
            // As above.
            _ => {}
        }
    }

    /// Handles a message to all gateways.
    async fn hear_of_all(self: &Arc<Self>, message: Message) {
        let Some((node, what, reply)) = read(message) else { return };
        match what {
            What::Ask(ask) => {
                self.counted.heard_as_all.inc();
                self.answer(node, ask, None, reply).await;
            }
            What::Watch(watch) => self.relay(node, watch, reply),
            What::Unwatch(unwatch) => self.relays.end(node, unwatch.watch),
            // As above.
            _ => {}
        }
    }
}

/// The sender, the content and the reply subject of a message.
fn read(message: Message) -> Option<(u64, What, Option<Subject>)> {
    match Said::decode(message.payload) {
        Ok(Said { node, what: Some(what) }) => Some((node, what, message.reply)),
        // Of a later version.
        Ok(Said { what: None, .. }) => None,
        Err(error) => {
            tracing::warn!(%error, subject = %message.subject, "not from a gateway");
            None
        }
    }
}

fn said(node: u64, what: What) -> Bytes {
    Said { node, what: Some(what) }.encode_to_vec().into()
}
