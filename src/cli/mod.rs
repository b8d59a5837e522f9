//! The commands of `bridgehead …`.
//!
//! Each command is a module with its arguments as a struct and a `run`. They share
//! their exit codes: 0, 1 for a failure, 64 for a command line or a configuration
//! that cannot be used (`EX_USAGE` of `sysexits.h`), and 130 for a measurement that
//! Ctrl-C has ended early. Results go to standard output, everything else to
//! standard error.

mod bench;
mod call;
mod catalogue;
mod check;
mod completions;
mod demo;
mod descriptors;
mod diagnose;
mod failure;
mod files;
mod health;
mod hex;
mod json;
mod keygen;
mod kick;
mod limits;
mod man;
mod output;
mod push;
mod push_api;
mod runtime;
mod schema;
mod serve;
mod sessions;
mod token;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

use failure::{Failure, USAGE};
use output::note;

/// A WebSocket edge for gRPC services.
#[derive(Debug, Parser)]
#[command(name = "bridgehead", version = env!("BRIDGEHEAD_VERSION"), max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Check(check::Check),
    Call(Box<call::Call>),
    Push(Box<push::Push>),
    Sessions(sessions::Sessions),
    Kick(kick::Kick),
    Bench(bench::Bench),
    Keygen(keygen::Keygen),
    Token(Box<token::Token>),
    Schema(schema::Schema),
    Health(health::Health),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Runs the command of the arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let outcome = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli.command.run(),
        Err(error) => return explain(&error, &arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Serve(command) => command.run(),
            Self::Demo(command) => command.run(),
            Self::Check(command) => command.run(),
            Self::Schema(command) => command.run(),
            Self::Call(command) => command.run(),
            Self::Push(command) => command.run(),
            Self::Sessions(command) => command.run(),
            Self::Kick(command) => command.run(),
            Self::Bench(command) => command.run(),
            Self::Keygen(command) => command.run(),
            Self::Token(command) => command.run(),
            Self::Health(command) => command.run(),
            Self::Completions(command) => command.run(Cli::command()),
            Self::Man(command) => command.run(Cli::command()),
        }
    }
}

/// Prints clap's message: help and version are no failures.
fn explain(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    // Nowhere to say so, if even this cannot be printed.
    drop(error.print());
    if error.kind() == ErrorKind::InvalidSubcommand {
        note(&format!("\ncommands: {}", commands_where(arguments).join(", ")));
    }
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

/// The commands that there are where one was not recognised.
fn commands_where(arguments: &[OsString]) -> Vec<String> {
    let root = Cli::command();
    let mut command = &root;
    for argument in arguments.iter().skip(1) {
        let Some(below) = argument.to_str().and_then(|name| command.find_subcommand(name)) else {
            break;
        };
        command = below;
    }
    command.get_subcommands().map(|below| below.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_code(arguments: &[&str]) -> ExitCode {
        run(arguments.iter().map(OsString::from))
    }

    #[test]
    fn the_commands_are_declared_consistently() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_line_that_cannot_be_used_exits_with_64() {
        for arguments in [&["bridgehead"][..], &["bridgehead", "no"], &["bridgehead", "call"]] {
            assert_eq!(exit_code(arguments), ExitCode::from(64), "{arguments:?}");
        }
    }

    /// Every command with its short help, as a terminal of 100 columns shows it.
    fn short_helps(command: &clap::Command, name: &str, found: &mut Vec<(String, String)>) {
        let mut shown = command.clone().term_width(100);
        found.push((name.to_owned(), shown.render_help().to_string()));
        for below in command.get_subcommands() {
            short_helps(below, &format!("{name} {}", below.get_name()), found);
        }
    }

    #[test]
    fn the_short_help_of_every_command_fits_a_screen() {
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let mut found = Vec::new();
        short_helps(&command, "bridgehead", &mut found);
        assert!(found.len() > 15, "{}", found.len());
        for (name, help) in found {
            let widest = help.lines().map(|line| line.chars().count()).max().unwrap_or_default();
            let lines = help.lines().count();
            assert!(lines <= 40 && widest <= 100, "{name}: {lines} lines, {widest}\n{help}");
        }
    }

    #[test]
    fn help_and_version_are_no_failures() {
        for flag in ["--help", "--version"] {
            assert_eq!(exit_code(&["bridgehead", flag]), ExitCode::SUCCESS);
        }
    }
}
