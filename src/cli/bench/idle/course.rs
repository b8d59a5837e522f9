//! A run, moment by moment.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::burst;
use crate::cli::bench::interrupt::Interrupt;
use crate::cli::bench::kernel::Kernel;
use crate::cli::bench::process::{Process, Sample, own_cpu};
use crate::cli::bench::progress;
use crate::cli::bench::traffic::generator::{Fleet, Outcome, Setup};
use crate::cli::bench::traffic::tally::Tally;
use crate::cli::failure::Failure;

/// Samples of one moment.
pub(super) struct Seen {
    pub(super) gateway: Option<Sample>,
    pub(super) kernel: Option<Kernel>,
    pub(super) own_cpu: Duration,
}

impl Seen {
    fn now(process: Option<Process>) -> Result<Self, Failure> {
        let gateway = process.map(Process::sample).transpose()?;
        Ok(Self { gateway, kernel: Kernel::sample(), own_cpu: own_cpu() })
    }
}

/// The samples of a run, moment by moment.
pub(super) struct Course {
    pub(super) process: Option<Process>,
    pub(super) before: Seen,
    pub(super) opened_in: Duration,
    pub(super) open: Seen,
    /// How long they were left alone.
    pub(super) held_for: Duration,
    pub(super) held: Seen,
    /// The burst's outcome, and the samples some time after it.
    pub(super) burst: Option<(Outcome, Seen)>,
    /// The tally of closing the sessions.
    pub(super) late: Tally,
}

impl Course {
    pub(super) async fn run(
        setup: Setup,
        process: Option<Process>,
        hold: Duration,
        burst: Option<&burst::Plan>,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let sessions = setup.connections;
        let before = Seen::now(process)?;
        let started = Instant::now();
        let mut fleet = Fleet::start(setup, 1)?;
        let bar = progress::opening(sessions, &fleet.progress);
        interrupt.or(fleet.opened()).await?;
        let opened_in = started.elapsed();
        drop(bar);
        let open = Seen::now(process)?;

        let bar = progress::waiting("holding, s", hold);
        let holding = Instant::now();
        tokio::select! {
            () = sleep(hold) => {}
            () = interrupt.come() => {}
        }
        let held_for = hold.min(holding.elapsed());
        drop(bar);
        let held = Seen::now(process)?;

        let burst = match burst {
            Some(burst) if !interrupt.has_come() => {
                Some((burst.run(&mut fleet, sessions, interrupt).await?, Seen::now(process)?))
            }
            _ => None,
        };
        let late = fleet.close().await?;
        Ok(Self { process, before, opened_in, open, held_for, held, burst, late })
    }
}
