//! The connection to NATS.
//!
//! Senders do not wait for it: messages are queued, and dropped while there is
//! no connection, since a late message here is wrong. Code that relies on being
//! heard checks whether the link is up, and begins again when it comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::message::OutboundMessage;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subject, Subscriber};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::config::{Config, without_login};
use super::credentials::Credentials;
use super::link_error::LinkError;
use super::trouble::Trouble;
use crate::seldom::Seldom;

/// Messages that may wait for the connection to take them, and their bytes.
const QUEUE: usize = 16 * 1024;
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Messages that the client has taken and not yet written.
const CLIENT_QUEUE: usize = 128;
/// Messages of one subscription that may wait to be looked at.
const UNREAD: usize = 64 * 1024;
/// A connection over which nothing comes is found out after three of these.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between attempts to connect: at first and at most, before the jitter.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(2);

/// A connection that is made again whenever it is lost.
pub(super) struct Link {
    client: Client,
    queue: mpsc::Sender<OutboundMessage>,
    queued_bytes: Arc<AtomicUsize>,
    up: watch::Receiver<bool>,
    credentials: Arc<Credentials>,
    trouble: Arc<Trouble>,
}

impl Link {
    /// Begins to connect, and goes on with that in the background for ever. `name`
    /// is the gateway's name in the server's lists. Also returns a future that sends
    /// the queue and never ends.
    pub(super) async fn open(
        config: &Config,
        name: &str,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), LinkError> {
        let servers = servers(config)?;
        let (is_up, up) = watch::channel(false);
        let credentials = Credentials::load(config.credentials.clone(), config.tls.clone())?;
        let trouble = Arc::new(Trouble::new(&servers, secrets(config)));
        let events = Events {
            is_up,
            trouble: Arc::clone(&trouble),
            errors: Seldom::default(),
            node: name.to_owned(),
            cluster: config.name.clone(),
        };
        tracing::info!("connecting to NATS at {}", trouble.servers());
        let client = options(config, &credentials, events)?.connect(servers).await?;
        let (queue, queued) = mpsc::channel(QUEUE);
        let queued_bytes = Arc::<AtomicUsize>::default();
        let sending = send(client.clone(), queued, Arc::clone(&queued_bytes));
        Ok((Self { client, queue, queued_bytes, up, credentials, trouble }, sending))
    }

    /// Reads the files with credentials and CAs again. `None`: there are none. The
    /// present connection stays as it is.
    pub(super) fn read_again(&self) -> Option<Result<(), LinkError>> {
        (!self.credentials.is_empty()).then(|| self.credentials.reload())
    }

    /// Whether there is a connection.
    pub(super) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Why there is no connection, with the servers; `None`: there is one.
    pub(super) fn problem(&self) -> Option<String> {
        (!self.is_up()).then(|| self.trouble.text())
    }

    /// Follows whether there is a connection.
    pub(super) fn follow(&self) -> watch::Receiver<bool> {
        self.up.clone()
    }

    /// The largest message that the server takes, in bytes; the usual size if
    /// there was no connection yet.
    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Sends a message under a subject. `false`: it was dropped, because there is no
    /// connection, the queue is full, or it is longer than the server accepts.
    pub(super) fn say(&self, subject: Subject, reply: Option<Subject>, payload: Bytes) -> bool {
        let len = payload.len();
        if !self.is_up() || len > self.max_payload() {
            return false;
        }
        let queued = self.queued_bytes.fetch_add(len, Ordering::Relaxed);
        let message = OutboundMessage { subject, reply, payload, headers: None };
        let has_room = queued < QUEUE_BYTES && self.queue.try_send(message).is_ok();
        if !has_room {
            self.queued_bytes.fetch_sub(len, Ordering::Relaxed);
        }
        has_room
    }

    /// Listens under a subject; `None`: not with this link any more.
    pub(super) async fn listen(&self, subject: Subject) -> Option<Subscriber> {
        self.client.subscribe(subject).await.ok()
    }

    /// Waits until the server has all earlier messages.
    pub(super) async fn flush(&self) {
        while self.queue.capacity() < self.queue.max_capacity() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Without a connection there is no receiver.
        let _flushed = self.client.flush().await;
    }
}

/// Sends the queued messages.
async fn send(
    client: Client,
    mut queued: mpsc::Receiver<OutboundMessage>,
    queued_bytes: Arc<AtomicUsize>,
) {
    while let Some(message) = queued.recv().await {
        queued_bytes.fetch_sub(message.payload.len(), Ordering::Relaxed);
        if client.connection_state() != State::Connected {
            continue;
        }
        let OutboundMessage { subject, reply, payload, .. } = message;
        let sent = match reply {
            Some(reply) => client.publish_with_reply(subject, reply, payload).await,
            None => client.publish(subject, payload).await,
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "a message to the cluster was not sent");
        }
    }
}

fn options(
    config: &Config,
    credentials: &Arc<Credentials>,
    events: Events,
) -> Result<ConnectOptions, LinkError> {
    let trouble = Arc::clone(&events.trouble);
    let mut options = credentials
        .options()?
        .name(&events.node)
        .no_echo()
        .retry_on_initial_connect()
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIMEOUT)
        .client_capacity(CLIENT_QUEUE)
        .subscription_capacity(UNREAD)
        .reconnect_delay_callback(delay)
        // Called before every round of attempts, with the results of the last one.
        // `None`: the library chooses the server.
        .reconnect_to_server_callback(move |servers, _| {
            tokio::spawn(Arc::clone(&trouble).look(servers));
            async { None }
        })
        .event_callback(move |event| {
            events.notice(&event);
            async {}
        });
    if let Some((user, password)) = &config.user {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(token) = &config.token {
        options = options.token(token.clone());
    }
    Ok(options)
}

/// Checks the addresses and the files without a connection. Otherwise an
/// unusable certificate would show with the first connection only.
///
/// # Errors
///
/// An address or a file that cannot be used.
pub fn check(config: &Config) -> Result<(), LinkError> {
    servers(config)?;
    Credentials::load(config.credentials.clone(), config.tls.clone())?.options().map(drop)
}

/// Texts to hide from all messages, wherever they come from.
fn secrets(config: &Config) -> Vec<String> {
    let password = config.user.as_ref().map(|(_, password)| password);
    password.into_iter().chain(&config.token).cloned().collect()
}

fn servers(config: &Config) -> Result<Vec<ServerAddr>, LinkError> {
    let parse = |address: &String| {
        address.parse().map_err(|error| LinkError::Address(without_login(address), error))
    };
    config.servers.iter().map(parse).collect()
}

/// Grows, and differs from gateway to gateway: a server that comes back is
/// not run over.
fn delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.min(10)).unwrap_or(0);
    let delay = (FIRST_DELAY * 2_u32.pow(doublings)).min(LAST_DELAY);
    delay.mul_f64(rand::random_range(0.5..1.0))
}

/// Handles events of the connection.
struct Events {
    is_up: watch::Sender<bool>,
    trouble: Arc<Trouble>,
    /// Warnings about errors that the server reports over a connection.
    errors: Seldom,
    node: String,
    cluster: String,
}

impl Events {
    fn notice(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.trouble.is_over();
                let Self { node, cluster, .. } = self;
                tracing::info!(node, cluster, "connected to NATS: in the cluster");
                self.is_up.send_replace(true);
            }
            // By this gateway itself.
            Event::Closed => {
                self.is_up.send_replace(false);
            }
            Event::Disconnected => {
                if self.is_up.send_replace(false) {
                    tracing::warn!("the connection to NATS is lost: this gateway is on its own");
                }
            }
            Event::SlowConsumer(_) => {
                tracing::warn!("messages of the cluster were lost: this gateway does not keep up");
            }
            Event::LameDuckMode | Event::Draining => tracing::info!(%event, "NATS"),
            Event::ServerError(error) => {
                let problem = self.trouble.clean(&error.to_string());
                match self.errors.is_due() {
                    Some(left_out) => tracing::warn!(
                        problem,
                        left_out,
                        "NATS reports an error; the next such warning in a minute"
                    ),
                    None => tracing::debug!(problem, "NATS reports an error"),
                }
            }
            // Without the server and the cause: `Trouble` finds out both.
            Event::ClientError(error) => tracing::debug!(%error, "NATS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_logs_in_to_a_server_is_never_shown() {
        let servers = vec!["nats://gateway:hunter2-hunter2@nats:4222".to_owned()];
        let user = Some(("gateway".to_owned(), "pass-word-1".to_owned()));
        let token = Some("a-token-of-nats".to_owned());
        let config = Config { servers, user, token, ..Config::default() };
        let shown = format!("{config:?}");
        assert!(shown.contains("nats://…@nats:4222"), "{shown}");
        for secret in ["hunter2", "pass-word", "a-token"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let servers = vec!["nats://gateway:hunter2-hunter2@nats:70000".to_owned()];
        let error = check(&Config { servers, ..Config::default() }).unwrap_err().to_string();
        assert!(error.contains("nats:70000") && !error.contains("hunter2"), "{error}");
    }
}
