//! Keeps one connection to an endpoint open: connects, waits until it closes,
//! connects again, with backoff after failures. One that does not answer is
//! replaced: the next is made while the old one is watched.

use std::future::pending;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::backoff::Backoff;
use super::closed::Closed;
use super::connection::{Connection, Opened};
use super::dial::CONNECT_TIMEOUT;
use super::endpoint::{Endpoint, Phase};
use super::liveness::{LOOK, Renewals, Standing};
use super::monitor::Monitor;
use super::pool::Pool;
use super::waiters::Waiters;

/// A connection that closes sooner than this counts as a failed attempt, so
/// that a service which accepts and hangs up is not stormed.
const PROVEN: Duration = Duration::from_secs(1);

/// The wait after one failed attempt.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// Kept short: calls must succeed again within two seconds of a service's
/// return, and one connection attempt a second does no harm.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Keeps all connections to an endpoint of a pool open, in the background.
pub(super) fn start(pool: &Arc<Pool>, endpoint: &Arc<Endpoint>) {
    for index in 0..pool.connections {
        let waiters = Arc::clone(&pool.waiters);
        tokio::spawn(keep(Arc::downgrade(pool), Arc::clone(endpoint), index, waiters));
    }
}

/// Runs until the endpoint is retired or the pool is gone.
async fn keep(pool: Weak<Pool>, endpoint: Arc<Endpoint>, index: usize, waiters: Arc<Waiters>) {
    let backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let renewals = Renewals::new();
    let mut keeper = Keeper { pool, endpoint, index, waiters, backoff, renewals, lost: false };
    keeper.run().await;
}

/// Keeps one connection.
struct Keeper {
    pool: Weak<Pool>,
    endpoint: Arc<Endpoint>,
    index: usize,
    waiters: Arc<Waiters>,
    /// The waits between failed attempts.
    backoff: Backoff,
    renewals: Renewals,
    /// Whether the endpoint could not be reached, or did not answer, last.
    lost: bool,
}

/// A connection in use.
struct Current {
    connection: Arc<Connection>,
    closed: oneshot::Receiver<Closed>,
    monitor: Monitor,
    /// Whether it has lasted.
    proven: bool,
    /// Whether calls may be sent on it.
    in_use: bool,
}

enum Served {
    /// It lasted. The next one may be made at once.
    Proven,
    /// It closed so soon that it must have a reason.
    TooShort(String),
    /// It did not answer, and this is the next one.
    Replaced(Opened),
    /// No further connection is wanted.
    Retired,
}

impl Keeper {
    async fn run(&mut self) {
        let mut next = None;
        loop {
            let attempt = match next.take() {
                Some(opened) => Ok(opened),
                None => tokio::select! {
                    () = self.endpoint.retired() => return,
                    attempt = connect(&self.endpoint, &self.waiters) => attempt,
                },
            };
            let problem = match attempt {
                Err(problem) => {
                    self.endpoint.missed(self.index, Instant::now().into_std());
                    problem
                }
                Ok(opened) => match self.serve(opened).await {
                    Served::Retired => return,
                    Served::Replaced(opened) => {
                        next = Some(opened);
                        continue;
                    }
                    Served::TooShort(problem) => problem,
                    Served::Proven => {
                        self.backoff.succeeded();
                        self.endpoint.set_phase(self.index, Phase::Connecting);
                        continue;
                    }
                },
            };
            let wait = self.failed(&problem);
            tokio::select! {
                () = self.endpoint.retired() => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// Reports that an attempt failed. Returns how long to wait before the next.
    fn failed(&mut self, problem: &str) -> Duration {
        let endpoint = &self.endpoint;
        endpoint.journal().failed(endpoint.label(), problem);
        endpoint.set_phase(self.index, Phase::Failing);
        self.lost = true;
        if let Some(pool) = self.pool.upgrade() {
            pool.unreachable(format!("{}: {problem}", endpoint.label()).into());
        }
        self.backoff.failed(rand::random())
    }

    /// Offers a connection to calls until it closes, or is replaced.
    async fn serve(&mut self, opened: Opened) -> Served {
        let Some(mut current) = self.put_to_use(opened) else { return Served::Retired };
        let closed = loop {
            tokio::select! {
                () = self.endpoint.retired() => break None,
                closed = &mut current.closed => break Some(reason(closed)),
                () = sleep(PROVEN), if !current.proven => {
                    current.proven = true;
                    self.endpoint.journal().proven(self.endpoint.label());
                }
                standing = current.monitor.changed() => match standing {
                    Standing::Sound | Standing::Doubtful => {
                        self.doubt(&current, standing == Standing::Doubtful);
                    }
                    Standing::Overdue | Standing::Silent | Standing::Dead => {
                        match self.replace(current, standing).await {
                            Replacement::NotNeeded(same) => current = same,
                            Replacement::Made(opened) => return Served::Replaced(opened),
                            Replacement::Closed(same, closed) => {
                                current = same;
                                break Some(closed);
                            }
                            Replacement::Retired => return Served::Retired,
                        }
                    }
                },
            }
        };
        let journal = self.endpoint.journal();
        if current.in_use {
            journal.disconnected(self.endpoint.label(), closed.as_ref());
        }
        let Some(closed) = closed else { return Served::Retired };
        self.endpoint.ended(self.index, Instant::now().into_std());
        if let Some(pool) = self.pool.upgrade() {
            pool.disconnected(&current.connection);
        }
        match closed {
            _ if current.proven => Served::Proven,
            Closed::Goodbye => {
                Served::TooShort("the peer sends GOAWAY at once, or closes the connection".into())
            }
            Closed::Broken(error) => Served::TooShort(error),
        }
    }

    /// `None` when the pool is gone.
    fn put_to_use(&mut self, opened: Opened) -> Option<Current> {
        let Opened { connection, closed, pings, ponged } = opened;
        let pool = self.pool.upgrade()?;
        self.endpoint.set_phase(self.index, Phase::Connected);
        self.endpoint.reached(self.index, Instant::now().into_std());
        pool.connected(Arc::clone(&connection));
        if std::mem::take(&mut self.lost) {
            pool.stirred(&self.endpoint);
        }
        self.endpoint.journal().connected(self.endpoint.label());
        let monitor = Monitor::new(Arc::clone(&connection), self.pool.clone(), pings, ponged);
        Some(Current { connection, closed, monitor, proven: false, in_use: true })
    }

    fn doubt(&self, current: &Current, doubted: bool) {
        if let Some(pool) = self.pool.upgrade() {
            pool.doubt(&current.connection, doubted);
        }
    }

    /// Stops sending calls on a connection.
    fn withdraw(&mut self, current: &mut Current, standing: Standing) {
        if !std::mem::take(&mut current.in_use) {
            return;
        }
        let why = why(current, standing);
        self.lost = true;
        self.endpoint.fell_silent(self.index);
        let is_silent = standing != Standing::Overdue;
        self.endpoint.journal().unanswering(self.endpoint.label(), &why, is_silent);
        if let Some(pool) = self.pool.upgrade() {
            pool.withdrawn(&current.connection, format!("{}: {why}", self.endpoint.label()).into());
        }
    }

    /// Resumes sending calls on it.
    fn restore(&mut self, current: &mut Current) {
        self.doubt(current, false);
        self.endpoint.set_phase(self.index, Phase::Connected);
        if std::mem::replace(&mut current.in_use, true) {
            return;
        }
        self.lost = false;
        self.endpoint.reached(self.index, Instant::now().into_std());
        self.endpoint.journal().answers_again(self.endpoint.label());
        if let Some(pool) = self.pool.upgrade() {
            pool.connected(Arc::clone(&current.connection));
            pool.stirred(&self.endpoint);
        }
    }

    /// Makes another connection beside one that does not answer, until it does
    /// again.
    async fn replace(&mut self, current: Current, standing: Standing) -> Replacement {
        let now = || Instant::now().into_std();
        let has_answered = current.connection.has_answered();
        let wait = self.renewals.wait(now(), has_answered);
        let mut old = Some(current);
        // Calls wait for a connection that is on its way, and for no other.
        let phase = if wait.is_zero() { Phase::Connecting } else { Phase::Failing };
        self.endpoint.set_phase(self.index, phase);
        if let Some(current) = &mut old {
            self.unanswering(current, standing);
        }
        let mut attempt =
            Box::pin(connect_after(wait, Arc::clone(&self.endpoint), Arc::clone(&self.waiters)));
        loop {
            tokio::select! {
                () = self.endpoint.retired() => {
                    if old.is_some_and(|current| current.in_use) {
                        self.endpoint.journal().disconnected(self.endpoint.label(), None);
                    }
                    return Replacement::Retired;
                }
                event = next_of(&mut old) => match (event, old.take()) {
                    (Event::Closed(closed), Some(current)) => {
                        return Replacement::Closed(current, closed);
                    }
                    (Event::Standing(Standing::Sound | Standing::Doubtful), Some(mut current)) => {
                        self.restore(&mut current);
                        return Replacement::NotNeeded(current);
                    }
                    (Event::Standing(Standing::Dead), Some(current)) => {
                        give_up(&current);
                        self.endpoint.ended(self.index, now());
                    }
                    (Event::Standing(standing), Some(mut current)) => {
                        self.unanswering(&mut current, standing);
                        old = Some(current);
                    }
                    (_, None) => {}
                },
                made = &mut attempt => match made {
                    Ok(opened) => {
                        self.renewals.made(now(), rand::random());
                        self.endpoint.journal().replaced(self.endpoint.label());
                        if let Some(mut current) = old {
                            self.withdraw(&mut current, Standing::Overdue);
                            self.see_off(current);
                        }
                        return Replacement::Made(opened);
                    }
                    Err(problem) => {
                        // Not even a new connection answers.
                        if let Some(current) = &mut old {
                            self.withdraw(current, Standing::Overdue);
                        }
                        self.endpoint.missed(self.index, now());
                        let wait = self.failed(&problem);
                        attempt = Box::pin(connect_after(wait, Arc::clone(&self.endpoint), Arc::clone(&self.waiters)));
                    }
                },
            }
        }
    }

    /// Stops sending calls on a silent connection, and prefers others to a
    /// connection whose calls time out.
    fn unanswering(&mut self, current: &mut Current, standing: Standing) {
        if standing == Standing::Overdue {
            self.doubt(current, true);
            return;
        }
        self.withdraw(current, standing);
        self.endpoint.suspect();
    }

    /// Leaves a connection that was replaced to itself: its calls go on, unless
    /// it stays silent.
    fn see_off(&self, current: Current) {
        let endpoint = Arc::clone(&self.endpoint);
        tokio::spawn(async move {
            let mut current = Some(current);
            // Held no longer than its calls take: it closes with the last one.
            while current.as_ref().is_some_and(|current| current.connection.in_flight() > 0) {
                let event = tokio::select! {
                    () = endpoint.retired() => return,
                    event = next_of(&mut current) => event,
                    () = sleep(LOOK) => continue,
                };
                match (event, &current) {
                    (Event::Standing(Standing::Dead), Some(current)) => {
                        give_up(current);
                        return;
                    }
                    // It is silent no more, so its calls end by themselves.
                    (Event::Standing(Standing::Silent), Some(_)) => {}
                    _ => return,
                }
            }
        });
    }
}

/// The result of replacing a connection.
enum Replacement {
    /// It answers again.
    NotNeeded(Current),
    Made(Opened),
    /// It has closed.
    Closed(Current, Closed),
    Retired,
}

/// Events of a connection that does not answer.
enum Event {
    Closed(Closed),
    Standing(Standing),
}

/// Pending for ever where there is no connection. May be dropped at any time.
async fn next_of(current: &mut Option<Current>) -> Event {
    let Some(current) = current else { return pending().await };
    tokio::select! {
        closed = &mut current.closed => Event::Closed(reason(closed)),
        standing = current.monitor.changed() => Event::Standing(standing),
    }
}

fn reason(closed: Result<Closed, oneshot::error::RecvError>) -> Closed {
    closed.unwrap_or(Closed::Broken("its task ended".into()))
}

/// Why no more calls are sent on a connection.
fn why(current: &Current, standing: Standing) -> String {
    match standing {
        Standing::Silent | Standing::Dead => format!(
            "nothing was received for {:.1?} while calls waited, not even the answer to a PING",
            current.monitor.quiet()
        ),
        _ => "calls run out of time, and none is answered".into(),
    }
}

/// Closes a connection; its calls fail.
fn give_up(current: &Current) {
    current.connection.break_off(why(current, Standing::Dead));
}

async fn connect_after(
    wait: Duration,
    endpoint: Arc<Endpoint>,
    waiters: Arc<Waiters>,
) -> Result<Opened, String> {
    sleep(wait).await;
    connect(&endpoint, &waiters).await
}

async fn connect(endpoint: &Arc<Endpoint>, waiters: &Arc<Waiters>) -> Result<Opened, String> {
    let end = Instant::now() + CONNECT_TIMEOUT;
    let dialed = timeout(CONNECT_TIMEOUT, endpoint.target.dial()).await;
    let io = dialed
        .map_err(|_| "the peer does not answer".to_owned())?
        .map_err(|error| error.to_string())?;
    let opened = Connection::open(io, Arc::clone(endpoint), Arc::clone(waiters));
    timeout_at(end, opened)
        .await
        .unwrap_or_else(|_| Err("the peer accepts the connection and does not answer".into()))
}
