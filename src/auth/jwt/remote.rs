//! Keys that are fetched from a URL and kept up to date.
//!
//! A task fetches the set at the start, when it has become old, and when a token
//! names a key that is not in it ([`schedule`](super::schedule)). Logins read
//! the current set. One whose key is unknown waits for a fetch that may bring it,
//! for a bounded time. After any failure the last good set stays in use.
//!
//! Where the set is comes from the configuration, or from the issuer's document
//! (OpenID Connect Discovery 1.0), which is then read before each fetch.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::HeaderValue;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::http::{Answer, Client, FetchError};
use super::keys::{KeyProblem, KeySet};
use super::schedule::{FRESH, Schedule};
use super::url::{KeysUrl, UrlProblem};
use crate::upstream::{Pem, TlsConfig, TlsError};

/// How long a login waits for a fetch that may bring its key.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where keys are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteConfig {
    /// The location of the set, or of the issuer that names it.
    pub place: Place,
    /// The CAs for the server's certificate. Absent: the public web's roots.
    pub ca: Option<Pem>,
}

/// The server that keys are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The URL of a JWKS.
    Jwks(KeysUrl),
    /// The issuer of the tokens, by OpenID Connect discovery.
    Issuer(String),
}

/// A configuration with which no keys can be fetched.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The issuer is no URL that discovery could begin at.
    #[error("{0}")]
    Issuer(#[from] UrlProblem),
    /// The authorities cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A key set at a URL. The task that keeps it up to date ends with it.
pub struct Remote {
    config: RemoteConfig,
    shared: Arc<Shared>,
    fetcher: Mutex<Option<Fetcher>>,
    task: Mutex<Option<AbortHandle>>,
}

/// State shared by logins, the task and status queries.
struct Shared {
    now: ArcSwap<Known>,
    changed: watch::Sender<()>,
    /// A key was asked for that is not in the set.
    wanted: Notify,
    fetched: AtomicU64,
    unreachable: AtomicU64,
    invalid: AtomicU64,
    unknown: AtomicU64,
}

/// The state of the keys at a moment.
#[derive(Debug, Clone, Default)]
struct Known {
    set: Option<Arc<KeySet>>,
    /// When the fetch began that brought the set, or confirmed it.
    since: Option<Instant>,
    /// The same, when it ended, by the clock.
    fetched_at: Option<SystemTime>,
    /// When the last fetch began, if it failed, and why.
    failed: Option<(Instant, Arc<str>)>,
}

/// The status of the keys, for metrics and readiness.
#[derive(Debug, Clone, Default)]
pub struct RemoteStatus {
    /// The number of keys in use; 0: none has been fetched yet.
    pub keys: usize,
    /// When the set was last fetched, or found unchanged.
    pub fetched_at: Option<SystemTime>,
    /// Why the last fetch failed, if it did.
    pub failure: Option<String>,
    /// Fetches that brought a set, or confirmed that it has not changed.
    pub fetched: u64,
    /// Fetches without an answer.
    pub unreachable: u64,
    /// Fetches with an answer that is no key set.
    pub invalid: u64,
    /// Tokens whose key was not in the set.
    pub unknown: u64,
}

impl Remote {
    /// Keys that are not fetched until [`start`](Self::start).
    pub fn new(config: RemoteConfig) -> Result<Self, RemoteError> {
        let tls = TlsConfig { ca: config.ca.clone(), ..TlsConfig::default() };
        let place = match &config.place {
            Place::Jwks(url) => Source::Jwks(url.clone()),
            Place::Issuer(issuer) => {
                Source::Issuer { issuer: issuer.clone(), document: KeysUrl::discovery(issuer)? }
            }
        };
        let fetcher = Fetcher { client: Client::new(tls.for_http1()?), source: place, last: None };
        let shared = Shared {
            now: ArcSwap::default(),
            changed: watch::Sender::new(()),
            wanted: Notify::new(),
            fetched: AtomicU64::new(0),
            unreachable: AtomicU64::new(0),
            invalid: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        };
        Ok(Self {
            config,
            shared: Arc::new(shared),
            fetcher: Mutex::new(Some(fetcher)),
            task: Mutex::new(None),
        })
    }

    /// Begins to fetch, on this tokio runtime. Once is enough.
    pub fn start(&self) {
        if let Some(fetcher) = self.fetcher.lock().take() {
            let task = tokio::spawn(keep(fetcher, Arc::clone(&self.shared)));
            *self.task.lock() = Some(task.abort_handle());
        }
    }

    /// The configuration.
    pub fn config(&self) -> &RemoteConfig {
        &self.config
    }

    /// Waits until the first fetch has ended, for as long as `patience`.
    /// Returns why there is no key set, if there is none. Cancel safe.
    pub async fn first(&self, patience: Duration) -> Result<Arc<KeySet>, String> {
        let deadline = Instant::now() + patience;
        let mut changed = self.shared.changed.subscribe();
        loop {
            let known = self.shared.now.load();
            match (&known.set, &known.failed) {
                (Some(set), _) => return Ok(Arc::clone(set)),
                (None, Some((_, reason))) => return Err(reason.to_string()),
                (None, None) => {}
            }
            if !matches!(timeout_at(deadline, changed.changed()).await, Ok(Ok(()))) {
                return Err(format!("no answer within {}s", patience.as_secs()));
            }
        }
    }

    /// The set of this moment.
    pub(super) fn now(&self) -> Option<Arc<KeySet>> {
        self.shared.now.load().set.clone()
    }

    /// The set of a fetch that began just now, or hardly longer ago: a key that
    /// is not in it does not exist. Fetches, where that is allowed, and waits,
    /// but for [`PATIENCE`] at most.
    ///
    /// The error says why there is none. Cancel safe.
    pub(super) async fn fresh(&self) -> Result<Arc<KeySet>, String> {
        self.shared.unknown.fetch_add(1, Ordering::Relaxed);
        let asked = Instant::now();
        let mut changed = self.shared.changed.subscribe();
        loop {
            let known = self.shared.now.load();
            match (&known.set, known.since, &known.failed) {
                (Some(set), Some(since), _) if since + FRESH >= asked => {
                    return Ok(Arc::clone(set));
                }
                (_, _, Some((began, reason))) if *began + FRESH >= asked => {
                    return Err(reason.to_string());
                }
                _ => self.shared.wanted.notify_one(),
            }
            if !matches!(timeout_at(asked + PATIENCE, changed.changed()).await, Ok(Ok(()))) {
                return Err("the token's key is unknown, and keys were asked for not long ago, \
                            or are not told right now"
                    .to_owned());
            }
        }
    }

    /// The status of the keys.
    pub fn status(&self) -> RemoteStatus {
        let known = self.shared.now.load();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RemoteStatus {
            keys: known.set.as_ref().map_or(0, |set| set.len()),
            fetched_at: known.fetched_at,
            failure: known.failed.as_ref().map(|(_, reason)| reason.to_string()),
            fetched: count(&self.shared.fetched),
            unreachable: count(&self.shared.unreachable),
            invalid: count(&self.shared.invalid),
            unknown: count(&self.shared.unknown),
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jwks(url) => write!(f, "{url}"),
            Self::Issuer(issuer) => write!(f, "the issuer {issuer} (OpenID Connect discovery)"),
        }
    }
}

/// Keeps the set up to date, for ever.
async fn keep(mut fetcher: Fetcher, shared: Arc<Shared>) {
    let mut schedule = Schedule::new(Instant::now());
    let mut wanted = false;
    loop {
        tokio::select! {
            () = sleep_until(schedule.due(wanted)) => {}
            () = shared.wanted.notified(), if !wanted => {
                wanted = true;
                continue;
            }
        }
        let began = Instant::now();
        let outcome = fetcher.fetch().await;
        let before = shared.now.load_full();
        let now = match outcome {
            Ok(Fetched { set, max_age }) => {
                shared.fetched.fetch_add(1, Ordering::Relaxed);
                let is_new = set.is_some();
                log_fetched(&fetcher.source, set.as_ref(), &before);
                schedule.fetched(began, max_age, wanted && !is_new, rand::random());
                Known {
                    set: set.map(Arc::new).or_else(|| before.set.clone()),
                    since: Some(began),
                    fetched_at: Some(SystemTime::now()),
                    failed: None,
                }
            }
            Err(error) => {
                let counter = if error.is_answer() { &shared.invalid } else { &shared.unreachable };
                counter.fetch_add(1, Ordering::Relaxed);
                let (keys, from) =
                    (before.set.as_ref().map_or(0, |set| set.len()), &fetcher.source);
                tracing::warn!(%from, %error, keys, "keys for logins could not be fetched; the known ones stay in use");
                schedule.failed(Instant::now(), rand::random());
                Known { failed: Some((began, error.to_string().into())), ..(*before).clone() }
            }
        };
        wanted = false;
        // A login that asked meanwhile asks again, unless this set has its key.
        let _answered = shared.wanted.notified().now_or_never();
        shared.now.store(Arc::new(now));
        shared.changed.send_replace(());
    }
}

fn log_fetched(from: &Source, set: Option<&KeySet>, before: &Known) {
    match set {
        Some(keys) => tracing::info!(%from, %keys, "keys for logins fetched"),
        None if before.failed.is_some() => {
            tracing::info!(%from, "keys for logins can be fetched again, and are the same");
        }
        None => tracing::debug!(%from, "keys for logins are the same"),
    }
}

/// Fetches the set, and keeps the previous one for comparison.
struct Fetcher {
    client: Client,
    source: Source,
    last: Option<Last>,
}

/// Where the set is.
enum Source {
    Jwks(KeysUrl),
    Issuer { issuer: String, document: KeysUrl },
}

struct Last {
    url: KeysUrl,
    body: Bytes,
    etag: Option<HeaderValue>,
}

struct Fetched {
    /// `None`: the same as last time.
    set: Option<KeySet>,
    max_age: Option<Duration>,
}

/// Why a fetch brought no set.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the answer of {0} {1}")]
    Keys(KeysUrl, KeyProblem),
    #[error(
        "the answer of {0} is not a document of OpenID Connect discovery with `issuer` and `jwks_uri`"
    )]
    Document(KeysUrl),
    #[error(
        "the document of {url} is that of the issuer {found:?}, which is not exactly the configured one"
    )]
    OtherIssuer { url: KeysUrl, found: String },
    #[error("the document of {0} has a `jwks_uri` that {1}")]
    JwksUri(KeysUrl, UrlProblem),
}

impl Failure {
    /// Whether there was an answer, but an invalid one.
    fn is_answer(&self) -> bool {
        if let Self::Fetch(error) = self { error.is_answer() } else { true }
    }
}

impl Fetcher {
    async fn fetch(&mut self) -> Result<Fetched, Failure> {
        let url = self.find().await?;
        let last = self.last.take_if(|last| last.url == url);
        let answer = self.client.get(&url, last.as_ref().and_then(|last| last.etag.as_ref())).await;
        let (body, etag, max_age) = match answer {
            Ok(Answer::Document { body, etag, max_age }) => (body, etag, max_age),
            Ok(Answer::Unchanged { max_age }) => {
                self.last = last;
                return Ok(Fetched { set: None, max_age });
            }
            Err(error) => {
                self.last = last;
                return Err(error.into());
            }
        };
        if let Some(last) = last.as_ref().filter(|last| last.body == body) {
            self.last = Some(Last { url, body: last.body.clone(), etag });
            return Ok(Fetched { set: None, max_age });
        }
        match KeySet::fetched(&body) {
            Ok(set) => {
                self.last = Some(Last { url, body, etag });
                Ok(Fetched { set: Some(set), max_age })
            }
            Err(problem) => {
                self.last = last;
                Err(Failure::Keys(url, problem))
            }
        }
    }

    /// The URL of the set.
    async fn find(&self) -> Result<KeysUrl, Failure> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        let (issuer, url) = match &self.source {
            Source::Jwks(url) => return Ok(url.clone()),
            Source::Issuer { issuer, document } => (issuer, document),
        };
        let Answer::Document { body, .. } = self.client.get(url, None).await? else {
            return Err(Failure::Document(url.clone()));
        };
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body);
        let document: Document =
            serde_json::from_slice(body).map_err(|_| Failure::Document(url.clone()))?;
        if document.issuer != *issuer {
            let found = document.issuer.chars().take(200).collect();
            return Err(Failure::OtherIssuer { url: url.clone(), found });
        }
        KeysUrl::parse(&document.jwks_uri)
            .and_then(|jwks| {
                if url.is_https() && !jwks.is_https() { Err(UrlProblem::Plain) } else { Ok(jwks) }
            })
            .map_err(|problem| Failure::JwksUri(url.clone(), problem))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jwks(url) | Self::Issuer { document: url, .. } => write!(f, "{url}"),
        }
    }
}
