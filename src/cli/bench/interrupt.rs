//! Ctrl-C during a run: the results so far are printed.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::failure::{Failure, INTERRUPTED};
use crate::cli::output::note;

/// Whether Ctrl-C was pressed. A second Ctrl-C ends the process at once.
#[derive(Clone)]
pub(super) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// From now on Ctrl-C means the end of the run. Must be called within a runtime.
    pub(super) fn listen() -> Result<Self, Failure> {
        let mut signals = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            signals.recv().await;
            note("interrupted: ending the run; Ctrl-C again ends it without a report");
            sender.send_replace(true);
            signals.recv().await;
            std::process::exit(INTERRUPTED.into());
        });
        Ok(Self(receiver))
    }

    pub(super) fn has_come(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for Ctrl-C. May be dropped at any time.
    pub(super) async fn come(&self) {
        if self.0.clone().wait_for(|has_come| *has_come).await.is_err() {
            // The task is gone with the runtime.
            std::future::pending::<()>().await;
        }
    }

    /// Runs a future whose partial result is worth nothing.
    pub(super) async fn or<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = work => done,
            () = self.come() => Err(Failure::interrupted("interrupted before anything was measured")),
        }
    }

    /// The end of a run that has printed its report.
    pub(super) fn verdict(&self, of_report: Result<(), Failure>) -> Result<(), Failure> {
        of_report?;
        if self.has_come() { Err(Failure::interrupted("")) } else { Ok(()) }
    }
}
