//! The parts that run as processes of their own: this program, started again
//! with the words after `part`. Each prints one line of JSON when it is ready,
//! and ends with its standard input, so that none outlives the table.

mod answerer;
mod direct;
mod drain;
mod service;
mod spread;
mod write_loop;

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

pub(crate) use direct::Measured as DirectMeasured;
pub(crate) use service::Seen;
pub(crate) use write_loop::Written;

use crate::failure::{Context as _, Failure};
use crate::processes::Process;

/// How long a part may take to get ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a part that serves listens.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) address: SocketAddr,
}

/// Runs a part, in the process that is for it.
pub(crate) fn run(name: &str, arguments: &[String]) -> Result<(), Failure> {
    match name {
        "service" => service::run(),
        "answerer" => answerer::run(),
        "direct" => direct::run(arguments),
        "write-loop" => write_loop::run(arguments),
        "drain" => drain::run(arguments),
        other => Err(Failure::new(format!("there is no part {other}"))),
    }
}

/// The command that runs a part.
pub(crate) fn command(arguments: &[&str]) -> Result<Command, Failure> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(this);
    command.arg("part").args(arguments);
    Ok(command)
}

/// Starts a part that serves, and waits until it does.
pub(crate) fn serve(arguments: &[&str]) -> Result<(Process, SocketAddr), Failure> {
    let name = format!("the part `{}`", arguments.join(" "));
    let mut process = Process::start(name, &mut command(arguments)?)?;
    let Ready { address } = process.json(PATIENCE)?;
    Ok((process, address))
}

/// A word of a part's command line.
fn argument<T: std::str::FromStr>(
    arguments: &[String],
    nth: usize,
    what: &str,
) -> Result<T, Failure> {
    let value = arguments.get(nth).and_then(|value| value.parse().ok());
    value.context(format!("argument {} should be {what}", nth + 1))
}

/// Prints a line of JSON for the table.
fn say(what: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(what).context("cannot write JSON")?;
    println!("{line}");
    Ok(())
}

/// Ends this process with its standard input.
fn end_with_input() {
    std::thread::spawn(|| {
        let _all = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

/// A runtime of one thread: this one.
fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().context("cannot start a runtime")
}

/// Lets this process have as many file descriptors as it may.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where this fails, the part that needs more will fail with an error.
    let _tried = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
