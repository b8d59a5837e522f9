//! When to stop, and how: by signal, with time for what is under way.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::workers::Workers;

/// After the drain period, how long calls under way may still take.
const GRACE: Duration = Duration::from_secs(10);
/// How often to look whether everybody has left.
const LOOK: Duration = Duration::from_millis(20);

/// How a stop was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// By a scheduler (SIGTERM): load balancers are given `drain.delay` to notice.
    Scheduled,
    /// By a person (SIGINT, Ctrl-C): no need to wait for load balancers.
    Interactive,
}

/// How the gateway goes away. See the `drain` section of routes.yaml.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// Between a scheduled stop and turning connections away.
    pub delay: Duration,
    /// The time over which sessions are closed.
    pub period: Duration,
}

/// Waits for SIGTERM or SIGINT. From then on a second one ends the process at
/// once, with exit code 1.
pub async fn signalled() -> std::io::Result<Stop> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = tokio::select! {
        _ = terminate.recv() => Stop::Scheduled,
        _ = interrupt.recv() => Stop::Interactive,
    };
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("stopped at once by a second signal");
        std::process::exit(1);
    });
    Ok(stop)
}

/// Lets every session finish and say goodbye, then ends the workers.
pub(super) async fn drain(workers: Workers, drain: Drain, stop: Stop) {
    let began = Instant::now();
    let sessions = workers.sessions();
    tracing::info!(sessions, delay = ?drain.delay, period = ?drain.period, "draining");
    if stop == Stop::Scheduled {
        sleep(drain.delay).await;
    }
    workers.drain(drain.period);
    let end = Instant::now() + drain.period + GRACE;
    while workers.sessions() > 0 && Instant::now() < end {
        sleep(LOOK).await;
    }
    let cut_off = workers.sessions();
    workers.halt();
    tracing::info!(sessions, cut_off, took = ?began.elapsed(), "stopped");
}
