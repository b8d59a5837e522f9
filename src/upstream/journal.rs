//! Logs when an endpoint comes and goes: once for the upstream, not once for
//! every connection of every worker. Counts events.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::closed::Closed;
use super::liveness::LOOK;

/// How often the same endpoint's failure to connect is a warning.
const REPEAT: Duration = Duration::from_secs(30);

/// The log state of one upstream's endpoints. Shared by all workers.
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

/// Counters of an upstream since it was made, over all workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Retries.
    pub retries: u64,
    /// Connections that were made.
    pub connects: u64,
    /// Failed connection attempts and look-ups, including connections that were
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
pub(super) struct LastAnswer {
    at: Mutex<Option<Instant>>,
    /// The same where the answer to a PING counts too, and a new connection.
    alive: Mutex<Option<Instant>>,
    /// Changes when a connection of any worker falls silent.
    suspicion: watch::Sender<()>,
    /// It was logged that calls run out of time: the next answer is news.
    is_awaited: AtomicBool,
}

impl LastAnswer {
    /// Calls have been answered since the look before, which was at most [`LOOK`] ago
    /// if there were any under way. Returns whether that is news: see
    /// [`Journal::answered`].
    pub(super) fn seen(&self, now: Instant) -> bool {
        *self.at.lock() = Some(now);
        self.is_alive(now);
        self.is_awaited.load(Ordering::Relaxed) && self.is_awaited.swap(false, Ordering::Relaxed)
    }

    /// Whether a call may have been answered after `sent`.
    pub(super) fn is_after(&self, sent: Instant) -> bool {
        self.at.lock().is_some_and(|seen| seen + LOOK >= sent)
    }

    /// The endpoint has given a sign of life, if only the answer to a PING.
    pub(super) fn is_alive(&self, now: Instant) {
        *self.alive.lock() = Some(now);
    }

    /// Whether it has given a sign of life after `since`.
    pub(super) fn was_alive_after(&self, since: Instant) -> bool {
        self.alive.lock().is_some_and(|seen| seen > since)
    }

    /// A connection to the endpoint has fallen silent.
    pub(super) fn suspect(&self) {
        self.suspicion.send_replace(());
    }

    /// Notifies of connections that fall silent from now on.
    pub(super) fn suspicions(&self) -> watch::Receiver<()> {
        self.suspicion.subscribe()
    }
}

/// A warning whose end is still to be logged.
#[derive(Debug, Clone, Copy)]
enum Warned {
    /// It could not be connected.
    Failing,
    /// A connection fell silent.
    Silent,
}

#[derive(Debug, Default)]
struct Record {
    last_answer: Arc<LastAnswer>,
    connections: usize,
    /// Whether the last log line was that it is connected.
    announced: bool,
    /// Whether attempts fail, or succeed for a moment only.
    failing: bool,
    warned: Option<Instant>,
    /// When it was last logged that it does not answer.
    unanswering: Option<Instant>,
    /// A warning whose end has not been logged. Time-outs of calls end with an
    /// answer, which `last_answer` records.
    open: Option<Warned>,
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

    /// A call is retried.
    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters' values.
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
        match (std::mem::replace(&mut record.announced, true), record.open.take()) {
            (false, _) => info!(upstream = self.upstream, %endpoint, "connected"),
            (true, Some(Warned::Failing)) => {
                info!(upstream = self.upstream, %endpoint, "connected again");
            }
            (true, Some(Warned::Silent)) => {
                info!(upstream = self.upstream, %endpoint, "answers again, on another connection");
            }
            (true, None) => {}
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
    /// `is_silent`: nothing at all comes over it; else its calls run out of time.
    pub(super) fn unanswering(&self, endpoint: &Arc<str>, why: &str, is_silent: bool) {
        self.with(endpoint, |record| {
            record.connections = record.connections.saturating_sub(1);
            record.announced &= record.connections > 0;
            record.problem = Some(why.to_owned());
            if record.unanswering.is_some_and(|warned| warned.elapsed() < REPEAT) {
                debug!(upstream = self.upstream, %endpoint, why, "still does not answer");
            } else {
                record.unanswering = Some(Instant::now());
                if is_silent {
                    record.open = Some(Warned::Silent);
                } else {
                    record.last_answer.is_awaited.store(true, Ordering::Relaxed);
                }
                warn!(
                    upstream = self.upstream, %endpoint, why,
                    "does not answer, trying another connection"
                );
            }
        });
    }

    /// Calls are answered, after they had run out of time.
    pub(super) fn answered(&self, endpoint: &Arc<str>) {
        self.with(endpoint, |record| {
            record.unanswering = None;
            if record.open.is_none() {
                record.problem = None;
            }
            info!(upstream = self.upstream, %endpoint, "answers again");
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
            let is_awaited = record.last_answer.is_awaited.swap(false, Ordering::Relaxed);
            let is_open = record.open.take().is_some() || is_awaited;
            if !std::mem::replace(&mut record.announced, true) || is_open {
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
                record.open = Some(Warned::Failing);
                warn!(upstream = self.upstream, %endpoint, error, "cannot connect, keeps trying");
            }
        });
    }

    /// A name was resolved. Where that failed before, it is news.
    pub(super) fn resolved(&self, name: &str) {
        let mut endpoints = self.endpoints.lock();
        let Some(record) = endpoints.get_mut(name).filter(|record| record.failing) else { return };
        (record.failing, record.warned, record.problem) = (false, None, None);
        if record.open.take().is_some() {
            info!(upstream = self.upstream, endpoint = name, "resolved again");
        }
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

#[cfg(test)]
mod tests {
    use std::io;

    use tracing::Level;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The messages at `info` and above, in order.
    fn logged(act: impl FnOnce(&Journal, &Arc<str>)) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            act(&Journal::new("msg".into()), &"http://msg:1".into());
        });
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        let message = |line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["fields"]["message"].as_str().unwrap().to_owned()
        };
        text.lines().map(message).collect()
    }

    const HANGS: &str = "does not answer, trying another connection";

    #[test]
    fn the_end_of_what_was_warned_of_is_logged_once() {
        // One of two connections is silent, and is replaced.
        let lines = logged(|journal, endpoint| {
            journal.connected(endpoint);
            journal.connected(endpoint);
            journal.unanswering(endpoint, "silence", true);
            journal.replaced(endpoint);
            journal.connected(endpoint);
            journal.answered_if_awaited(endpoint);
        });
        assert_eq!(lines, ["connected", HANGS, "answers again, on another connection"]);
        // One of two answers again.
        let lines = logged(|journal, endpoint| {
            journal.connected(endpoint);
            journal.connected(endpoint);
            journal.unanswering(endpoint, "silence", true);
            journal.answers_again(endpoint);
            journal.answers_again(endpoint);
        });
        assert_eq!(lines, ["connected", HANGS, "answers again"]);
        // A connection beside one that stays.
        let lines = logged(|journal, endpoint| {
            journal.connected(endpoint);
            journal.failed(endpoint, "refused");
            journal.connected(endpoint);
            journal.proven(endpoint);
            journal.proven(endpoint);
        });
        assert_eq!(lines, ["connected", "cannot connect, keeps trying", "connected again"]);
        // A name.
        let lines = logged(|journal, name| {
            journal.resolved(name);
            journal.failed(name, "no such host");
            journal.resolved(name);
            journal.resolved(name);
        });
        assert_eq!(lines, ["cannot connect, keeps trying", "resolved again"]);
    }

    #[test]
    fn calls_that_run_out_of_time_are_over_with_an_answer_and_not_with_a_connection() {
        let lines = logged(|journal, endpoint| {
            journal.connected(endpoint);
            journal.connected(endpoint);
            journal.unanswering(endpoint, "time-outs", false);
            journal.replaced(endpoint);
            journal.connected(endpoint);
            journal.unanswering(endpoint, "time-outs", false);
            journal.answered_if_awaited(endpoint);
            journal.answered_if_awaited(endpoint);
        });
        assert_eq!(lines, ["connected", HANGS, "answers again"]);
    }

    impl Journal {
        /// As an endpoint does it.
        fn answered_if_awaited(&self, endpoint: &Arc<str>) {
            if self.last_answer(endpoint).seen(Instant::now()) {
                self.answered(endpoint);
            }
        }
    }
}
