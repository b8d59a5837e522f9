//! State shared by the connections of a thread: their orders, their buffers and their tally.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Instant;

use tokio::sync::Notify;

use super::schedule::Schedule;
use super::tally::{Tally, Window};
use crate::client::raw::message::Template;

/// Bytes that are read at once.
const INPUT: usize = 64 << 10;

/// The work of the connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Orders {
    /// Send nothing, but read.
    Rest,
    /// As many requests in flight as there may be, until none is left.
    Loop { left: u64 },
    /// Each request when it is due; once it is over, none any more.
    Rate { schedule: Schedule, is_over: bool },
    /// So many requests on each connection, on the first `released` ones. Each
    /// that has `finished` releases another.
    Burst { each: u64, released: usize, finished: usize },
    /// Say goodbye.
    Close,
}

/// How far the run has come, for the progress bar.
#[derive(Debug, Default)]
pub(in crate::cli::bench) struct Progress {
    /// Connections that are open.
    pub(in crate::cli::bench) opened: AtomicU64,
    /// Answers, with those of the warm-up.
    pub(in crate::cli::bench) answers: AtomicU64,
}

/// Everything that is shared. Only the thread's own tasks lock it, so the lock is
/// never contended.
pub(super) struct Desk {
    /// The origin of all times.
    began: Instant,
    pub(super) orders: Orders,
    pub(super) template: Template,
    pub(super) window: Window,
    pub(super) tally: Tally,
    /// Requests that wait for their answers, on all connections.
    pub(super) in_flight: u64,
    /// Of a schedule: requests that were sent, or never will be since their
    /// connections are gone.
    pub(super) settled: u64,
    /// Connections that have not ended.
    pub(super) open: usize,
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    wakers: Vec<Option<Waker>>,
    progress: Arc<Progress>,
    /// Notified when the work may be done.
    pub(super) done: Arc<Notify>,
}

impl Desk {
    pub(super) fn new(template: Template, connections: usize, progress: Arc<Progress>) -> Self {
        Self {
            began: Instant::now(),
            orders: Orders::Rest,
            template,
            window: Window::CLOSED,
            tally: Tally::default(),
            in_flight: 0,
            settled: 0,
            open: 0,
            input: vec![0; INPUT],
            output: Vec::new(),
            wakers: vec![None; connections],
            progress,
            done: Arc::default(),
        }
    }

    /// Nanoseconds since the beginning.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The same of a moment; zero before the beginning.
    pub(super) fn time_of(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.began);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The moment of a time.
    pub(super) fn moment_of(&self, time: u64) -> Instant {
        self.began + std::time::Duration::from_nanos(time)
    }

    pub(super) fn is_registered(&self, connection: usize) -> bool {
        self.wakers.get(connection).is_some_and(Option::is_some)
    }

    /// Has a connection woken from now on.
    pub(super) fn register(&mut self, connection: usize, waker: &Waker) {
        if let Some(place) = self.wakers.get_mut(connection) {
            *place = Some(waker.clone());
        }
    }

    pub(super) fn wake(&self, connection: usize) {
        if let Some(Some(waker)) = self.wakers.get(connection) {
            waker.wake_by_ref();
        }
    }

    /// Gives orders to all connections.
    pub(super) fn order(&mut self, orders: Orders) {
        self.orders = orders;
        self.wakers.iter().flatten().for_each(Waker::wake_by_ref);
    }

    /// Stops sending and measuring. The requests that a schedule has left are
    /// counted. Returns the time.
    pub(super) fn stop(&mut self) -> u64 {
        let now = self.now();
        self.window.until = now;
        match &mut self.orders {
            Orders::Rate { is_over, .. } => *is_over = true,
            orders => *orders = Orders::Rest,
        }
        self.order(self.orders);
        now
    }

    /// Counts an answer that has come now. Its request's latency counts from `since`.
    pub(super) fn answer(&mut self, since: u64, now: u64, code: i32) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.tally.answer(self.window, since, now, code);
    }

    /// Adds answers to the progress.
    pub(super) fn came(&self, answers: u64) {
        self.progress.answers.fetch_add(answers, Ordering::Relaxed);
        if self.in_flight == 0 && self.is_all_sent() {
            self.done.notify_one();
        }
    }

    /// Whether there is nothing more to send, and nothing in flight.
    pub(super) fn is_done(&self) -> bool {
        self.open == 0 || self.in_flight == 0 && self.is_all_sent()
    }

    fn is_all_sent(&self) -> bool {
        match self.orders {
            Orders::Rest | Orders::Close => true,
            Orders::Loop { left } => left == 0,
            Orders::Rate { schedule, .. } => self.settled >= schedule.total(),
            Orders::Burst { finished, .. } => finished >= self.wakers.len(),
        }
    }

    /// Orders so many requests on each connection, on `at_once` at a time.
    pub(super) fn order_burst(&mut self, each: u64, at_once: usize) {
        let finished = self.wakers.len() - self.open;
        self.orders = Orders::Burst { each, released: 0, finished };
        (0..at_once).for_each(|_| self.release());
    }

    /// A connection has had its burst, or has ended without.
    pub(super) fn finish_burst(&mut self) {
        if let Orders::Burst { finished, .. } = &mut self.orders {
            *finished += 1;
            self.release();
        }
    }

    /// Lets another connection begin.
    fn release(&mut self) {
        let Orders::Burst { released, .. } = &mut self.orders else { return };
        while let Some(waker) = self.wakers.get(*released) {
            *released += 1;
            if let Some(waker) = waker {
                waker.wake_by_ref();
                return;
            }
        }
    }

    /// A connection has ended, with so many requests in flight.
    pub(super) fn leave(
        &mut self,
        connection: usize,
        in_flight: u64,
        unsent: u64,
        why: Option<String>,
    ) {
        if let Some(place) = self.wakers.get_mut(connection) {
            *place = None;
        }
        self.open = self.open.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(in_flight);
        self.settled += unsent;
        if let Some(why) = why {
            self.tally.lost += 1;
            self.tally.first_lost.get_or_insert(why);
        }
        self.done.notify_one();
    }
}
