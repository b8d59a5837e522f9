//! When to stop, and how: by signal, with time for calls under way.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::workers::Workers;
use crate::broker::Broker;
use crate::push::Server;

/// After the drain period, how long calls under way may still take.
const GRACE: Duration = Duration::from_secs(10);
/// How long the last sessions may take for their close frames.
const GOODBYE: Duration = Duration::from_secs(4);
/// How long the last hooks may take to be delivered.
const HOOKS: Duration = Duration::from_secs(5);
/// How often the number of open sessions is checked.
const LOOK: Duration = Duration::from_millis(20);

/// How a stop was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// By a scheduler (SIGTERM): load balancers are given `drain.delay` to notice.
    Scheduled,
    /// By a person (SIGINT, Ctrl-C): no need to wait for load balancers.
    Interactive,
}

impl Stop {
    /// The time that load balancers get to notice.
    fn delay(self, drain: &Drain) -> Duration {
        match self {
            Self::Scheduled => drain.delay,
            Self::Interactive => Duration::ZERO,
        }
    }
}

/// How the gateway drains. See the `drain` section of routes.yaml.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// Between a scheduled stop and turning connections away.
    pub delay: Duration,
    /// The time over which sessions are closed.
    pub period: Duration,
}

/// Listens to SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on these signals do not end the process by themselves. Must be
    /// called inside a tokio runtime.
    pub fn listen() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for the first signal. A second one, later, ends the process at
    /// once, with exit code 1.
    pub async fn stop(mut self) -> Stop {
        let stop = self.next().await;
        tokio::spawn(async move {
            self.next().await;
            tracing::warn!("stopped at once by a second signal");
            std::process::exit(1);
        });
        stop
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => Stop::Scheduled,
            _ = self.interrupt.recv() => Stop::Interactive,
        }
    }
}

/// Lets every session finish and send its close frame, then ends the workers.
/// Backends can push until the last session is gone.
pub(super) async fn drain(
    workers: Workers,
    push: Option<Server>,
    broker: &Broker,
    drain: Drain,
    stop: Stop,
) {
    let began = Instant::now();
    let sessions = workers.sessions();
    let (delay, period) = (stop.delay(&drain), drain.period);
    let shown = humantime::format_duration;
    tracing::info!(sessions, delay = %shown(delay), period = %shown(period), "draining");
    if let Some(push) = &push {
        push.drain().await;
    }
    sleep(delay).await;
    workers.drain(drain.period);
    let end = Instant::now() + drain.period + GRACE;
    while workers.sessions() > 0 && Instant::now() < end {
        sleep(LOOK).await;
    }
    let cut_off = workers.sessions();
    workers.stop();
    let end = Instant::now() + GOODBYE;
    while workers.sessions() > 0 && Instant::now() < end {
        sleep(LOOK).await;
    }
    // The services that the hooks call may use the Push API meanwhile.
    deliver_hooks(&workers).await;
    if let Some(cluster) = broker.cluster() {
        cluster.stop().await;
    }
    if let Some(push) = push {
        push.stop().await;
    }
    workers.halt();
    tracing::info!(sessions, cut_off, took = ?began.elapsed(), "stopped");
}

/// Waits until the hooks of every session's end are delivered, for a limited time.
async fn deliver_hooks(workers: &Workers) {
    workers.hurry();
    let end = Instant::now() + HOOKS;
    while workers.untold() > 0 && Instant::now() < end {
        sleep(LOOK).await;
    }
    let undelivered = workers.untold();
    if undelivered > 0 {
        tracing::warn!(undelivered, "stopping before every hook is delivered");
    }
}
