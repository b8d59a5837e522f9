//! Says in the log when an endpoint comes and goes: once for the upstream, not
//! once for every connection of every worker. Counts what happens.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{debug, info, warn};

use super::closed::Closed;
use super::liveness::LOOK;

/// How often the same endpoint's failure to connect is a warning.
const REPEAT: Duration = Duration::from_secs(30);

/// What has been logged about one upstream's endpoints. Shared by all workers.
#[derive(Debug)]
pub(super) struct Journal {
    upstream: String,
    endpoints: Mutex<HashMap<Arc<str>, Record>>,
    retries: AtomicU64,
    connects: AtomicU64,
    failures: AtomicU64,
    disconnects: AtomicU64,
    replacements: AtomicU64,
    ejections: AtomicU64,
}

/// What has happened to an upstream since it was made, over all workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that were sent once more.
    pub retries: u64,
    /// Connections that were made.
    pub connects: u64,
    /// Connections, or looks at a name, that failed: also those that were
    /// closed within a second.
    pub failures: u64,
    /// Connections that were ended by the service, or by something between it and the gateway.
    pub disconnects: u64,
    /// Connections that were replaced, because they did not answer.
    pub replacements: u64,
    /// Endpoints that a worker left alone for a while.
    pub ejections: u64,
}

/// When an endpoint was last seen to answer, on any worker's connection.
#[derive(Debug, Default)]
pub(super) struct LastAnswer(Mutex<Option<Instant>>);

impl LastAnswer {
    /// Calls have been answered since the look before, which was at most [`LOOK`] ago
    /// if there were any under way.
    pub(super) fn seen(&self, now: Instant) {
        *self.0.lock() = Some(now);
    }

    /// Whether a call may have been answered after `sent`.
    pub(super) fn is_after(&self, sent: Instant) -> bool {
        self.0.lock().is_some_and(|seen| seen + LOOK >= sent)
    }
}

#[derive(Debug, Default)]
struct Record {
    last_answer: Arc<LastAnswer>,
    connections: usize,
    /// Whether the last thing said was that it is connected.
    announced: bool,
    /// Whether attempts fail, or succeed for a moment only.
    failing: bool,
    warned: Option<Instant>,
    /// When it was last said that it does not answer.
    unanswering: Option<Instant>,
    problem: Option<String>,
}

impl Journal {
    pub(super) fn new(upstream: String) -> Self {
        Self {
            upstream,
            endpoints: Mutex::default(),
            retries: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            disconnects: AtomicU64::new(0),
            replacements: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
        }
    }

    /// When an endpoint was last seen to answer: one record for all workers.
    pub(super) fn last_answer(&self, endpoint: &Arc<str>) -> Arc<LastAnswer> {
        self.with(endpoint, |record| Arc::clone(&record.last_answer))
    }

    /// A call is sent once more.
    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// What has happened so far.
    pub(super) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            retries: read(&self.retries),
            connects: read(&self.connects),
            failures: read(&self.failures),
            disconnects: read(&self.disconnects),
            replacements: read(&self.replacements),
            ejections: read(&self.ejections),
        }
    }

    fn with<T>(&self, endpoint: &Arc<str>, change: impl FnOnce(&mut Record) -> T) -> T {
        change(self.endpoints.lock().entry(Arc::clone(endpoint)).or_default())
    }

    fn announce(&self, endpoint: &Arc<str>, record: &mut Record) {
        if !record.announced {
            record.announced = true;
            info!(upstream = self.upstream, %endpoint, "connected");
        }
    }

    /// A connection is up. Where connecting failed before, it must last for it
    /// to be news.
    pub(super) fn connected(&self, endpoint: &Arc<str>) {
        self.connects.fetch_add(1, Ordering::Relaxed);
        self.with(endpoint, |record| {
            record.connections += 1;
            if !record.failing {
                self.announce(endpoint, record);
            }
        });
    }

    /// A connection has lasted.
    pub(super) fn proven(&self, endpoint: &Arc<str>) {
        self.with(endpoint, |record| {
            record.failing = false;
            record.warned = None;
            record.problem = None;
            self.announce(endpoint, record);
        });
    }

    /// A connection is gone; `None` because it is not wanted any more. The last
    /// one is news.
    pub(super) fn disconnected(&self, endpoint: &Arc<str>, why: Option<&Closed>) {
        if why.is_some() {
            self.disconnects.fetch_add(1, Ordering::Relaxed);
        }
        self.with(endpoint, |record| {
            record.connections = record.connections.saturating_sub(1);
            if record.connections > 0 || !std::mem::take(&mut record.announced) {
                return;
            }
            match why {
                Some(Closed::Broken(error)) => {
                    warn!(upstream = self.upstream, %endpoint, error, "lost the connection");
                }
                Some(Closed::Goodbye) => {
                    info!(upstream = self.upstream, %endpoint, "the service closed the connection");
                }
                None => info!(upstream = self.upstream, %endpoint, "disconnected"),
            }
        });
    }

    /// A connection does not answer, and is used no more unless it does again.
    pub(super) fn unanswering(&self, endpoint: &Arc<str>, why: &str) {
        self.with(endpoint, |record| {
            record.connections = record.connections.saturating_sub(1);
            record.announced &= record.connections > 0;
            record.problem = Some(why.to_owned());
            if record.unanswering.is_some_and(|warned| warned.elapsed() < REPEAT) {
                debug!(upstream = self.upstream, %endpoint, why, "still does not answer");
            } else {
                record.unanswering = Some(Instant::now());
                warn!(
                    upstream = self.upstream, %endpoint, why,
                    "does not answer, trying another connection"
                );
            }
        });
    }

    /// A connection that did not answer does again.
    pub(super) fn answers_again(&self, endpoint: &Arc<str>) {
        self.with(endpoint, |record| {
            record.connections += 1;
            record.failing = false;
            record.warned = None;
            record.unanswering = None;
            record.problem = None;
            if !std::mem::replace(&mut record.announced, true) {
                info!(upstream = self.upstream, %endpoint, "answers again");
            }
        });
    }

    /// A connection that does not answer has a successor.
    pub(super) fn replaced(&self, endpoint: &Arc<str>) {
        self.replacements.fetch_add(1, Ordering::Relaxed);
        debug!(upstream = self.upstream, %endpoint, "a connection was replaced");
    }

    /// Connecting, or resolving, failed.
    pub(super) fn failed(&self, endpoint: &Arc<str>, error: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.with(endpoint, |record| {
            record.failing = true;
            record.problem = Some(error.to_owned());
            if record.warned.is_some_and(|warned| warned.elapsed() < REPEAT) {
                debug!(upstream = self.upstream, %endpoint, error, "still cannot connect");
            } else {
                record.warned = Some(Instant::now());
                warn!(upstream = self.upstream, %endpoint, error, "cannot connect, trying on");
            }
        });
    }

    /// An endpoint is left alone for a while.
    pub(super) fn ejected(&self, endpoint: &Arc<str>, time: Duration, why: &str) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
        warn!(upstream = self.upstream, %endpoint, ?time, why, "ejected after repeated failures");
    }

    /// An endpoint that was ejected is in use again.
    pub(super) fn in_use_again(&self, endpoint: &Arc<str>) {
        info!(upstream = self.upstream, %endpoint, "in use again");
    }

    /// The last thing that went wrong with an endpoint since it was connected.
    pub(super) fn problem(&self, endpoint: &str) -> Option<String> {
        self.endpoints.lock().get(endpoint).and_then(|record| record.problem.clone())
    }

    /// The endpoint is gone, unless other workers are still connected to it.
    pub(super) fn forget(&self, endpoint: &str) {
        let mut endpoints = self.endpoints.lock();
        // The record's own reference, and that of the endpoint that goes.
        let is_unused = |record: &Record| {
            record.connections == 0 && Arc::strong_count(&record.last_answer) <= 2
        };
        if endpoints.get(endpoint).is_some_and(is_unused) {
            endpoints.remove(endpoint);
        }
    }
}
