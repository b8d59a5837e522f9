//! `bridgehead serve`: the gateway.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::{descriptors, diagnose, runtime};
use crate::app::{self, App, Signals, StartError};
use crate::config;

/// Run the gateway until SIGTERM or Ctrl-C.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "routes.yaml")]
    config: PathBuf,
    /// Worker threads [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        diagnose::must_exist(&self.config)?;
        let path = self.config.clone();
        let read = move || config::load(&path, &config::process_environment);
        // The file configures logging: it is read once for that.
        let loaded = read().map_err(|wrong| diagnose::unusable(&wrong))?;
        diagnose::print(&loaded.warnings);
        app::start_log(&loaded.config.log);
        descriptors::allow_all();
        descriptors::warn_below(loaded.config.edge.max_connections);
        let workers = self.workers.map_or_else(runtime::cores, usize::from);
        runtime::block_on(async {
            let mut signals = Signals::listen().map_err(Failure::failed)?;
            let app = tokio::select! {
                app = App::start(Box::new(read), Some(self.config), workers) => app,
                _ = signals.next() => return Ok(()), // there are no connections yet
            };
            app.map_err(start_failure)?.run(signals.stop()).await;
            Ok(())
        })
    }
}

/// Why a gateway did not start.
pub(super) fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Config(diagnostics) => diagnose::unusable(&diagnostics),
        error if error.is_taken() => Failure::failed(error).help(
            "something else listens there: another gateway, or the demo (`bridgehead demo`)? Stop \
             it, or change this key; `ss -ltnp` shows who it is",
        ),
        error => Failure::failed(error),
    }
}
