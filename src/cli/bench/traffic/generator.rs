//! Threads that make traffic, each with a runtime and connections of its own, and
//! the fleet that gives them orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{sleep_until, timeout};

use super::desk::{Desk, Orders, Progress};
use super::line::Line;
use super::pacer::pace;
use super::schedule::{Schedule, due_within};
use super::tally::{By, Tally, Window};
use crate::cli::bench::clients::Clients;
use crate::cli::failure::Failure;
use crate::client::raw::message::Template;

/// How often it is looked whether anything is still to come.
const LOOK: Duration = Duration::from_millis(100);

/// Settings of all threads.
pub(in crate::cli::bench) struct Setup {
    pub(in crate::cli::bench) clients: Clients,
    pub(in crate::cli::bench) template: Template,
    pub(in crate::cli::bench) connections: usize,
    /// Requests in flight on a connection, at most.
    pub(in crate::cli::bench) in_flight: u16,
    /// Connections that are being opened at the same time.
    pub(in crate::cli::bench) opening: usize,
    /// How long answers are waited for when nothing is sent any more.
    pub(in crate::cli::bench) patience: Duration,
}

/// The requests to send.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli::bench) enum Course {
    /// Requests, from a moment on.
    Requests { start: Instant, warmup: Duration, rate: Option<f64>, extent: Extent },
    /// So many requests on each connection, on `at_once` connections at a time.
    Burst { each: u64, at_once: usize },
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli::bench) enum Extent {
    For(Duration),
    Requests(u64),
}

/// The outcome of all threads together.
#[derive(Debug, Default)]
pub(in crate::cli::bench) struct Outcome {
    /// The counts.
    pub(in crate::cli::bench) tally: Tally,
    /// How long was measured.
    pub(in crate::cli::bench) measured: Duration,
}

/// All threads.
pub(in crate::cli::bench) struct Fleet {
    threads: Vec<Thread>,
    /// Courses end before their time.
    is_stopped: Arc<AtomicBool>,
    pub(in crate::cli::bench) progress: Arc<Progress>,
}

struct Thread {
    orders: UnboundedSender<Order>,
    events: UnboundedReceiver<Event>,
    handle: Option<JoinHandle<()>>,
}

enum Order {
    Run(Course),
    /// The last one.
    Close,
}

enum Event {
    /// All connections are open, or cannot be.
    Opened(Result<(), Failure>),
    /// Nothing more is measured.
    Measured,
    /// Nothing more comes.
    Ended(Box<Outcome>),
    /// Connections that ended before they were closed, and why the first did.
    Closed(Box<Tally>),
}

/// A thread's part: every `of`th connection, beginning with `nth`.
#[derive(Debug, Clone, Copy)]
struct Share {
    nth: usize,
    of: usize,
    all: usize,
}

impl Share {
    fn connections(self) -> usize {
        (self.all - self.nth).div_ceil(self.of)
    }

    /// The number that a connection has among all.
    fn global(self, number: usize) -> usize {
        self.nth + number * self.of
    }

    /// Its part of something that there is so much of, for all connections.
    fn part(self, of: u64) -> u64 {
        let before: usize = (0..self.nth).map(|nth| Self { nth, ..self }.connections()).sum();
        let to = |connections: usize| {
            let part = u128::from(of) * connections as u128 / self.all.max(1) as u128;
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        to(before + self.connections()) - to(before)
    }
}

impl Fleet {
    /// Starts the threads, which open their connections.
    pub(in crate::cli::bench) fn start(setup: Setup, threads: usize) -> Result<Self, Failure> {
        let (setup, progress) = (Arc::new(setup), Arc::new(Progress::default()));
        let of = threads.clamp(1, setup.connections.max(1));
        let is_given_up = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let threads = (0..of).map(|nth| {
            let (orders, queue) = mpsc::unbounded_channel();
            let (sender, events) = mpsc::unbounded_channel();
            let share = Share { nth, of, all: setup.connections };
            let generator = Generator {
                setup: Arc::clone(&setup),
                share,
                progress: Arc::clone(&progress),
                events: sender,
                is_given_up: Arc::clone(&is_given_up),
                is_stopped: Arc::clone(&is_stopped),
            };
            let thread = std::thread::Builder::new().name("load".to_owned());
            let handle = thread.spawn(move || generator.run(queue)).map_err(Failure::failed)?;
            Ok(Thread { orders, events, handle: Some(handle) })
        });
        let threads = threads.collect::<Result<_, Failure>>()?;
        Ok(Self { threads, is_stopped, progress })
    }

    pub(in crate::cli::bench) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Waits until all connections are open.
    pub(in crate::cli::bench) async fn opened(&mut self) -> Result<(), Failure> {
        for thread in &mut self.threads {
            let Event::Opened(outcome) = thread.event().await? else { return Err(out_of_step()) };
            outcome?;
        }
        Ok(())
    }

    /// Gives a course to all threads.
    pub(in crate::cli::bench) fn run(&self, course: Course) {
        for thread in &self.threads {
            thread.order(Order::Run(course));
        }
    }

    /// Waits until no thread measures any more. Has them end when there is `enough`.
    pub(in crate::cli::bench) async fn measured_until(
        &mut self,
        enough: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let is_stopped = Arc::clone(&self.is_stopped);
        let measured = self.measured();
        tokio::pin!(measured);
        tokio::select! {
            measured = &mut measured => return measured,
            () = enough => is_stopped.store(true, Ordering::Relaxed),
        }
        measured.await
    }

    async fn measured(&mut self) -> Result<(), Failure> {
        for thread in &mut self.threads {
            let Event::Measured = thread.event().await? else { return Err(out_of_step()) };
        }
        Ok(())
    }

    /// Waits for the answers that are still to come; after [`Self::measured`].
    pub(in crate::cli::bench) async fn ended(&mut self) -> Result<Outcome, Failure> {
        let mut all = Outcome::default();
        for thread in &mut self.threads {
            let Event::Ended(outcome) = thread.event().await? else { return Err(out_of_step()) };
            all.measured = all.measured.max(outcome.measured);
            all.tally.add(outcome.tally);
        }
        Ok(all)
    }

    /// Says goodbye on all connections. Returns the tally since the last outcome.
    pub(in crate::cli::bench) async fn close(mut self) -> Result<Tally, Failure> {
        self.threads.iter().for_each(|thread| thread.order(Order::Close));
        let mut all = Tally::default();
        for thread in &mut self.threads {
            let Event::Closed(tally) = thread.event().await? else { return Err(out_of_step()) };
            all.add(*tally);
            if let Some(handle) = thread.handle.take() {
                drop(handle.join());
            }
        }
        Ok(all)
    }
}

impl Thread {
    fn order(&self, order: Order) {
        // A thread that is gone shows in its missing events.
        drop(self.orders.send(order));
    }

    async fn event(&mut self) -> Result<Event, Failure> {
        let gone = || Failure::failed("a thread of the load generator is gone");
        self.events.recv().await.ok_or_else(gone)
    }
}

fn out_of_step() -> Failure {
    Failure::failed("the threads of the load generator are out of step")
}

/// A thread.
struct Generator {
    setup: Arc<Setup>,
    share: Share,
    progress: Arc<Progress>,
    events: UnboundedSender<Event>,
    /// Another one has failed.
    is_given_up: Arc<AtomicBool>,
    /// Courses end before their time.
    is_stopped: Arc<AtomicBool>,
}

impl Generator {
    fn run(self, orders: UnboundedReceiver<Order>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.work(orders)),
            Err(error) => self.tell(Event::Opened(Err(Failure::failed(error)))),
        }
    }

    fn tell(&self, event: Event) {
        // Where this fails there is no receiver any more.
        drop(self.events.send(event));
    }

    async fn work(&self, mut orders: UnboundedReceiver<Order>) {
        let setup = &self.setup;
        let connections = self.share.connections();
        let progress = Arc::clone(&self.progress);
        let desk = Desk::new(setup.template.clone(), connections, progress);
        let desk = Arc::new(Mutex::new(desk));
        let opened = self.open(&desk).await;
        let has_failed = opened.is_err();
        self.is_given_up.fetch_or(has_failed, Ordering::Relaxed);
        self.tell(Event::Opened(opened));
        while !has_failed && let Some(order) = orders.recv().await {
            match order {
                Order::Run(course) => self.course(&desk, course).await,
                Order::Close => {
                    self.close(&desk).await;
                    let tally = std::mem::take(&mut desk.lock().tally);
                    self.tell(Event::Closed(Box::new(tally)));
                    return;
                }
            }
        }
    }

    async fn open(&self, desk: &Arc<Mutex<Desk>>) -> Result<(), Failure> {
        let opening = self.setup.opening.div_ceil(self.share.of).max(1);
        let lines = stream::iter(0..self.share.connections()).map(|number| async move {
            if self.is_given_up.load(Ordering::Relaxed) {
                return Err(Failure::failed("another thread has given up"));
            }
            let session = self.setup.clients.open(self.share.global(number)).await?;
            desk.lock().open += 1;
            tokio::spawn(Line::new(desk, number, session, self.setup.in_flight));
            self.progress.opened.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        lines.buffer_unordered(opening).try_collect().await
    }

    async fn course(&self, desk: &Arc<Mutex<Desk>>, course: Course) {
        let measured = match course {
            Course::Requests { start, warmup, rate: None, extent } => {
                self.closed_loop(desk, start, warmup, extent).await
            }
            Course::Requests { start, warmup, rate: Some(rate), extent } => {
                self.fixed_rate(desk, start, warmup, rate, extent).await
            }
            Course::Burst { each, at_once } => self.burst(desk, each, at_once).await,
        };
        self.tell(Event::Measured);
        self.drain(desk, self.setup.patience).await;
        let mut desk = desk.lock();
        let mut tally = std::mem::take(&mut desk.tally);
        tally.unanswered = desk.in_flight;
        self.tell(Event::Ended(Box::new(Outcome { tally, measured })));
    }

    /// Sends as fast as answers come.
    async fn closed_loop(
        &self,
        desk: &Mutex<Desk>,
        start: Instant,
        warmup: Duration,
        extent: Extent,
    ) -> Duration {
        sleep_until(start.into()).await;
        if !warmup.is_zero() {
            desk.lock().order(Orders::Loop { left: u64::MAX });
            sleep_until((start + warmup).into()).await;
        }
        let (by, left) = match extent {
            Extent::For(_) => (By::Arrival, u64::MAX),
            Extent::Requests(requests) => (By::Beginning, self.share.part(requests)),
        };
        let from = {
            let mut desk = desk.lock();
            let from = desk.now();
            desk.window = Window::open(from, by, by);
            desk.order(Orders::Loop { left });
            from
        };
        self.measure(desk, from, extent).await
    }

    /// Sends when requests are due.
    async fn fixed_rate(
        &self,
        desk: &Arc<Mutex<Desk>>,
        start: Instant,
        warmup: Duration,
        rate: f64,
        extent: Extent,
    ) -> Duration {
        let connections = self.share.connections() as u64;
        let share = Share { ..self.share };
        // Exact enough for a share of a share.
        #[expect(clippy::cast_precision_loss, reason = "numbers of connections")]
        let rate = rate * connections as f64 / share.all.max(1) as f64;
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let (schedule, from) = {
            let mut desk = desk.lock();
            let begin = desk.time_of(start);
            let of_warmup = due_within(nanos(warmup), rate);
            let measured = match extent {
                Extent::For(span) => due_within(nanos(warmup + span), rate) - of_warmup,
                Extent::Requests(requests) => share.part(requests),
            };
            let schedule = Schedule::new(begin, rate, connections, of_warmup + measured);
            let from = begin + nanos(warmup);
            let counts = match extent {
                Extent::For(_) => By::Arrival,
                Extent::Requests(_) => By::Beginning,
            };
            desk.window = Window::open(from, counts, By::Beginning);
            desk.order(Orders::Rate { schedule, is_over: false });
            (schedule, from)
        };
        let pacer = tokio::spawn(pace(Arc::clone(desk), schedule));
        let measured = self.measure(desk, from, extent).await;
        pacer.abort();
        measured
    }

    /// Waits for the end of the measurement, and stops sending. Returns how long it was.
    async fn measure(&self, desk: &Mutex<Desk>, from: u64, extent: Extent) -> Duration {
        match extent {
            Extent::For(span) => {
                let until = desk.lock().moment_of(from) + span;
                while Instant::now() < until && desk.lock().open > 0 && !self.is_stopped() {
                    sleep_until(until.min(Instant::now() + LOOK).into()).await;
                }
            }
            Extent::Requests(_) => self.drain(desk, self.setup.patience).await,
        }
        let mut desk = desk.lock();
        let now = desk.stop();
        let until = match extent {
            Extent::For(_) => now,
            Extent::Requests(_) => desk.tally.last,
        };
        Duration::from_nanos(until.saturating_sub(from))
    }

    async fn burst(&self, desk: &Mutex<Desk>, each: u64, at_once: usize) -> Duration {
        let from = {
            let mut desk = desk.lock();
            let from = desk.now();
            desk.window = Window::open(from, By::Arrival, By::Arrival);
            desk.order_burst(each, at_once.div_ceil(self.share.of));
            from
        };
        self.drain(desk, self.setup.patience).await;
        let mut desk = desk.lock();
        desk.stop();
        Duration::from_nanos(desk.tally.last.saturating_sub(from))
    }

    /// Waits until all answers have come, or until none has come for so long.
    async fn drain(&self, desk: &Mutex<Desk>, patience: Duration) {
        let done = Arc::clone(&desk.lock().done);
        let come = || self.progress.answers.load(Ordering::Relaxed);
        let (mut before, mut since) = (come(), Instant::now());
        let may_stop = !self.is_stopped();
        while !desk.lock().is_done() && since.elapsed() < patience {
            if may_stop && self.is_stopped() {
                return;
            }
            // Also looks at the clock now and then.
            drop(timeout(LOOK, done.notified()).await);
            let now = come();
            if now != before || desk.lock().in_flight == 0 {
                (before, since) = (now, Instant::now());
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    async fn close(&self, desk: &Mutex<Desk>) {
        desk.lock().order(Orders::Close);
        let done = Arc::clone(&desk.lock().done);
        let started = Instant::now();
        while desk.lock().open > 0 && started.elapsed() < self.setup.patience {
            drop(timeout(LOOK, done.notified()).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_connections_and_requests_and_nothing_is_left() {
        for (all, of) in [(10, 3), (1, 1), (7, 7), (64, 2)] {
            let shares: Vec<_> = (0..of).map(|nth| Share { nth, of, all }).collect();
            let mut connections: Vec<_> = shares
                .iter()
                .flat_map(|share| (0..share.connections()).map(|number| share.global(number)))
                .collect();
            connections.sort_unstable();
            assert_eq!(connections, (0..all).collect::<Vec<_>>());
            for requests in [0, 1, 999, 1_000_000_007] {
                let sum: u64 = shares.iter().map(|share| share.part(requests)).sum();
                assert_eq!(sum, requests, "{of} threads");
            }
        }
    }
}
