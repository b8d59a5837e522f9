//! The commands of the `bridgehead` binary: what people type and read.
//!
//! Exit codes: 0, 1 for a failure, 64 for wrong usage or configuration
//! (`EX_USAGE` of sysexits.h).

mod check;

mod report;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Wrong usage or configuration.
const EXIT_CONFIG: u8 = 64;

/// A WebSocket edge for gRPC services.
#[derive(Debug, Parser)]
#[command(name = "bridgehead", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),

    Check(check::Check),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, but not to anybody else.
            let wrong = error.use_stderr();
            let _told = error.print();
            return if wrong { ExitCode::from(EXIT_CONFIG) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Serve(serve) => serve.run(),

        Command::Check(check) => check.run(),
    }
}

/// Runs a command's future beside the workers: reloads, reflection, signals.
fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("background")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            report::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
