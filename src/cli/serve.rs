//! `bridgehead serve`: the gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{EXIT_CONFIG, report};
use crate::app::{self, App, StartError};
use crate::config;

/// Runs the gateway until SIGTERM or Ctrl-C.
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
    /// Serves; returns when the gateway has stopped.
    pub(super) fn run(self) -> ExitCode {
        let path = self.config.clone();
        let read = move || config::load(&path, &config::process_environment);
        // Logging comes first, and is configured in the file: read it once for that.
        let loaded = match read() {
            Ok(loaded) => loaded,
            Err(diagnostics) => {
                report::diagnostics(&diagnostics);
                return ExitCode::from(EXIT_CONFIG);
            }
        };
        report::diagnostics(&loaded.warnings);
        app::start_log(&loaded.config.log);
        let workers = self.workers.map_or_else(super::cores, usize::from);
        super::block_on(serve(Box::new(read), self.config, workers))
    }
}

async fn serve(read: app::Read, path: PathBuf, workers: usize) -> ExitCode {
    let app = match App::start(read, Some(path), workers).await {
        Ok(app) => app,
        Err(StartError::Config(diagnostics)) => {
            report::diagnostics(&diagnostics);
            return ExitCode::from(EXIT_CONFIG);
        }
        Err(error) => {
            report::error(&error);
            return ExitCode::FAILURE;
        }
    };
    app.run(async {
        match app::signalled().await {
            Ok(stop) => stop,
            Err(error) => {
                tracing::error!(%error, "signals cannot be listened to");
                std::future::pending().await
            }
        }
    })
    .await;
    ExitCode::SUCCESS
}
