//! One worker's connections to one upstream: which there are, and which takes
//! the next call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::balance::least_of_two;
use super::connection::Connection;
use super::dial::Target;
use super::endpoint::Endpoint;
use super::failure::{Failure, Fault};
use super::health::{self, Health, Share};
use super::journal::Journal;
use super::permit::Permit;
use super::retry::RetryBudget;
use super::waiters::Waiters;

/// The connections and their health.
pub(super) struct Pool {
    /// To each endpoint.
    pub(super) connections: usize,
    journal: Arc<Journal>,
    state: Mutex<State>,
    pub(super) waiters: Arc<Waiters>,
    pub(super) retries: Mutex<RetryBudget>,
    /// Asks the tasks that resolve names to do so again soon. Dropped with the
    /// pool, which ends them.
    stale: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    endpoints: Vec<Arc<Endpoint>>,
    /// Names that have not been resolved yet, nor failed to be.
    unresolved: usize,
    /// Every connection that takes calls.
    connections: Vec<Arc<Connection>>,
    /// Sound connections; if there are none, connections of endpoints that are
    /// not ejected; if there are none either, all.
    eligible: Vec<Arc<Connection>>,
    /// Connections of endpoints on trial.
    trials: Vec<Arc<Connection>>,
    /// When the first ejection ends.
    reinstate: Option<Instant>,
    /// The last failure to connect or to resolve.
    problem: Option<Arc<str>>,
}

/// The result of an attempt to get room for a call.
enum Choice {
    Found(Permit),
    /// There may be room soon.
    Wait,
    /// There is no connection, and none to be expected soon.
    Unavailable,
}

/// No connection, and none in sight.
#[derive(Debug)]
pub(super) struct Unavailable(pub(super) Arc<str>);

impl Pool {
    /// A pool without endpoints.
    pub(super) fn new(connections: usize, journal: Arc<Journal>) -> Arc<Self> {
        Arc::new(Self {
            connections,
            journal,
            state: Mutex::default(),
            waiters: Arc::default(),
            retries: Mutex::new(RetryBudget::new(Instant::now())),
            stale: watch::Sender::new(()),
        })
    }

    /// There is a name whose endpoints are still to be found. The returned receiver
    /// asks for it to be resolved again soon, and ends with the pool.
    pub(super) fn expect_name(&self) -> watch::Receiver<()> {
        self.state.lock().unresolved += 1;
        self.stale.subscribe()
    }

    /// Takes room for one call, waiting for it if there is a prospect. Prefers
    /// any endpoint but `avoid`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; a wake-up meant for it goes to the next.
    pub(super) async fn acquire(
        &self,
        avoid: Option<&Arc<Endpoint>>,
    ) -> Result<Permit, Unavailable> {
        if self.waiters.is_empty() {
            match self.choose(avoid) {
                Choice::Found(permit) => return Ok(permit),
                Choice::Unavailable => return Err(self.unavailable()),
                Choice::Wait => {}
            }
        }
        // Behind earlier waiters.
        let ticket = self.waiters.join();
        let mut woken = ticket.woken();
        loop {
            woken.await;
            woken = ticket.woken();
            match self.choose(avoid) {
                Choice::Found(permit) => return Ok(permit),
                Choice::Unavailable => return Err(self.unavailable()),
                Choice::Wait => {}
            }
        }
    }

    fn choose(&self, avoid: Option<&Arc<Endpoint>>) -> Choice {
        let mut state = self.state.lock();
        if state.reinstate.is_some_and(|at| at <= Instant::now()) {
            state.sort_out();
        }
        if !state.trials.is_empty()
            && avoid.is_none()
            && let Some(connection) = state.trial()
        {
            return Choice::Found(Permit::new(connection));
        }
        if let Some(avoid) = avoid {
            let others: Vec<_> = state
                .eligible
                .iter()
                .filter(|connection| !Arc::ptr_eq(connection.endpoint(), avoid))
                .collect();
            let room = |connection: &&Arc<Connection>| connection.room();
            if let Some(connection) = least_of_two(&others, room, random) {
                return Choice::Found(Permit::new(connection));
            }
        }
        let room = |connection: &Arc<Connection>| connection.room();
        if let Some(connection) = least_of_two(&state.eligible, room, random) {
            return Choice::Found(Permit::new(connection));
        }
        let prospect = !state.eligible.is_empty()
            || state.unresolved > 0
            || state.endpoints.iter().any(|endpoint| endpoint.is_connecting());
        if prospect { Choice::Wait } else { Choice::Unavailable }
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    fn unavailable(&self) -> Unavailable {
        let problem = self.state.lock().problem.clone();
        Unavailable(problem.unwrap_or_else(|| "no connection".into()))
    }

    /// Judges an endpoint by a failed attempt.
    pub(super) fn failed(&self, connection: &Connection, failure: &Failure) {
        let counts = match failure.fault {
            Fault::None => false,
            Fault::Call => true,
            Fault::Connection => connection.blame(),
        };
        if counts {
            let why = failure.status.message();
            self.judge(connection.endpoint(), why, |health, now, may_eject| {
                health.failed(now, may_eject)
            });
        }
    }

    /// Judges an endpoint by this number of timed-out calls, while nothing else
    /// was answered on their connection.
    pub(super) fn timed_out(&self, connection: &Connection, calls: u32) {
        self.judge(connection.endpoint(), "calls run out of time", |health, now, may_eject| {
            health.timed_out(now, calls, may_eject)
        });
    }

    fn judge(
        &self,
        endpoint: &Arc<Endpoint>,
        why: &str,
        judge: impl FnOnce(&mut Health, Instant, &dyn Fn() -> bool) -> Option<Duration>,
    ) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let may_eject = || {
            let total = state.endpoints.len();
            let ejected = state.endpoints.iter().filter(|other| !Arc::ptr_eq(other, endpoint));
            health::may_eject(total, ejected.filter(|other| other.is_ejected(now)).count())
        };
        let (ejected, is_back) = {
            let mut health = endpoint.health.lock();
            let was_out = !health.is_in_full_use();
            let ejected = judge(&mut health, now, &may_eject);
            (ejected, was_out && health.is_in_full_use())
        };
        if let Some(time) = ejected {
            self.journal.ejected(endpoint.label(), time, why);
            state.sort_out();
        }
        // A trial has failed, but too few endpoints are left to eject it.
        if is_back {
            self.journal.in_use_again(endpoint.label());
        }
    }

    /// An endpoint gives a sign of life.
    pub(super) fn stirred(&self, endpoint: &Endpoint) {
        if endpoint.health.lock().stirred() {
            self.sort_out();
        }
    }

    /// An endpoint that was ejected has answered.
    pub(super) fn back(&self, endpoint: &Endpoint) {
        if endpoint.health.lock().is_in_full_use() {
            self.journal.in_use_again(endpoint.label());
        }
        self.sort_out();
    }

    /// Recomputes which connections take calls, since the share of an endpoint
    /// has changed.
    pub(super) fn sort_out(&self) {
        self.state.lock().sort_out();
        self.waiters.wake_all();
    }

    /// Prefers other connections to this one, or not any more.
    pub(super) fn doubt(&self, connection: &Connection, doubted: bool) {
        if connection.doubt(doubted) {
            self.sort_out();
        }
    }

    /// Adds an endpoint, which is to be connected to.
    pub(super) fn add(&self, target: Target, source: usize) -> Arc<Endpoint> {
        let journal = Arc::clone(&self.journal);
        let endpoint = Arc::new(Endpoint::new(target, source, self.connections, journal));
        self.state.lock().endpoints.push(Arc::clone(&endpoint));
        endpoint
    }

    /// Replaces the endpoints of one name by its resolved addresses. Returns the new
    /// endpoints, which are to be connected to.
    pub(super) fn resolved(
        &self,
        source: usize,
        first: bool,
        targets: Vec<Target>,
    ) -> Vec<Arc<Endpoint>> {
        let mut state = self.state.lock();
        if first {
            state.unresolved = state.unresolved.saturating_sub(1);
        }
        let is_of = |endpoint: &Endpoint, target: &Target| {
            endpoint.source == source && endpoint.label() == &target.label
        };
        state.endpoints.retain(|endpoint| {
            let stays =
                endpoint.source != source || targets.iter().any(|target| is_of(endpoint, target));
            if !stays {
                endpoint.retire();
            }
            stays
        });
        let fresh: Vec<_> = targets
            .into_iter()
            .filter(|target| !state.endpoints.iter().any(|endpoint| is_of(endpoint, target)))
            .collect();
        state.connections.retain(|connection| !connection.endpoint().is_retired());
        state.sort_out();
        drop(state);
        let fresh = fresh.into_iter().map(|target| self.add(target, source)).collect();
        self.waiters.wake_all();
        fresh
    }

    /// A name could not be resolved. Its previous endpoints stay.
    pub(super) fn unresolvable(&self, first: bool, problem: Arc<str>) {
        let mut state = self.state.lock();
        if first {
            state.unresolved = state.unresolved.saturating_sub(1);
        }
        state.problem = Some(problem);
        drop(state);
        self.waiters.wake_all();
    }

    /// Puts a new connection to use, unless its endpoint is gone.
    pub(super) fn connected(&self, connection: Arc<Connection>) {
        let mut state = self.state.lock();
        if connection.endpoint().is_retired() {
            return;
        }
        state.connections.push(connection);
        state.sort_out();
        drop(state);
        self.waiters.wake_all();
    }

    /// Takes a connection out of use. Calls on it go on.
    pub(super) fn disconnected(&self, connection: &Arc<Connection>) {
        let mut state = self.state.lock();
        state.connections.retain(|other| !Arc::ptr_eq(other, connection));
        state.sort_out();
        drop(state);
        self.waiters.wake_all();
        self.stale.send_replace(());
    }

    /// The same for a connection that does not answer: it may come back.
    pub(super) fn withdrawn(&self, connection: &Arc<Connection>, problem: Arc<str>) {
        self.state.lock().problem = Some(problem);
        self.disconnected(connection);
    }

    /// A connection could not be made.
    pub(super) fn unreachable(&self, problem: Arc<str>) {
        self.state.lock().problem = Some(problem);
        self.waiters.wake_all();
        self.stale.send_replace(());
    }

    /// Every endpoint with its connections and the calls on them.
    pub(super) fn endpoints(&self) -> Vec<(Arc<Endpoint>, usize, usize)> {
        let state = self.state.lock();
        let of = |endpoint: &Arc<Endpoint>| {
            let connections =
                state.connections.iter().filter(|one| Arc::ptr_eq(one.endpoint(), endpoint));
            connections.fold((0, 0), |(count, calls), one| (count + 1, calls + one.in_flight()))
        };
        let with = |endpoint: &Arc<Endpoint>| {
            let (connections, calls) = of(endpoint);
            (Arc::clone(endpoint), connections, calls)
        };
        state.endpoints.iter().map(with).collect()
    }
}

impl State {
    /// Recomputes the eligible connections.
    fn sort_out(&mut self) {
        let now = Instant::now();
        self.eligible.clear();
        self.trials.clear();
        let mut doubted = Vec::new();
        for connection in &self.connections {
            match (connection.endpoint().health.lock().share(now), connection.is_doubted()) {
                (Share::All, false) => self.eligible.push(Arc::clone(connection)),
                (Share::All, true) => doubted.push(Arc::clone(connection)),
                (Share::Trial, false) => self.trials.push(Arc::clone(connection)),
                (Share::Trial, true) | (Share::None(_), _) => {}
            }
        }
        if self.eligible.is_empty() {
            self.eligible = doubted;
        }
        if self.eligible.is_empty() {
            self.eligible.clone_from(&self.connections);
        }
        let end = |endpoint: &Arc<Endpoint>| match endpoint.health.lock().share(now) {
            Share::None(until) => Some(until),
            Share::All | Share::Trial => None,
        };
        self.reinstate = self.endpoints.iter().filter_map(end).min();
    }

    /// A connection to an endpoint on trial, if it is to get a call now.
    fn trial(&self) -> Option<&Arc<Connection>> {
        let now = Instant::now();
        let is_tried = |connection: &&Arc<Connection>| {
            connection.room().is_some() && connection.endpoint().health.lock().try_it(now)
        };
        self.trials.iter().find(is_tried)
    }
}

fn random(below: usize) -> usize {
    rand::random_range(0..below.max(1))
}

impl Drop for Pool {
    fn drop(&mut self) {
        for endpoint in &self.state.get_mut().endpoints {
            endpoint.retire();
        }
    }
}
