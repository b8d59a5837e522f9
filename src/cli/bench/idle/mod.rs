//! `bridgehead bench idle`: many sessions that do nothing, and their costs.

mod burst;
mod course;
mod report;

use std::time::Duration;

use clap::Args;

use super::clients::ClientArgs;
use super::interrupt::Interrupt;
use super::process::Process;
use super::traffic::generator::Setup;
use crate::cli::failure::Failure;
use crate::cli::limits;
use crate::cli::output::print_with_verdict;
use crate::cli::runtime;
use burst::BurstArgs;
use course::Course;
use report::Report;

/// Requests of a burst that are in flight on a session, at most.
const IN_FLIGHT: u16 = 16;

/// Open many idle sessions, and report their cost.
///
/// With --pid it reports the CPU time of the gateway for each handshake (TCP,
/// WebSocket, setCxnParams, login, and RSA where sessions are encrypted), and its
/// memory for each session: resident, as the growth of the process's resident memory
/// since before the first session; and the kernel's, as the growth of Slab in
/// /proc/meminfo and of the TCP buffers in /proc/net/sockstat since then. The latter
/// two are of the whole machine: other work on it disturbs them. Half of them counts
/// as the gateway's, since this command has the other ends of the same sockets.
///
/// Fixed costs weigh less with more sessions: take thousands. Ctrl-C ends it early:
/// the results until then are printed, and the exit code is 130. The exit code is 1
/// if sessions were lost.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  bridgehead bench idle --sessions 15000 --pid $(pidof bridgehead)
  bridgehead bench idle --sessions 5000 --encrypt session.pub.pem --hold 10m --burst 1MiB --pid $(pidof bridgehead) --json")]
pub(in crate::cli) struct Idle {
    /// The number of sessions, each with a user of its own.
    ///
    /// Each takes a file descriptor here and one in the gateway.
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sessions: u32,
    /// Sessions that are being opened at the same time.
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..))]
    opening: u16,
    /// How long to leave them alone. Pings are answered.
    #[arg(long, value_name = "DURATION", default_value = "5s",
          value_parser = limits::pause)]
    hold: Duration,
    #[command(flatten)]
    clients: ClientArgs,
    #[command(flatten)]
    burst: BurstArgs,
    /// How long opening a session, and a wait for answers, may take.
    ///
    /// A wait begins anew with each answer.
    #[arg(long, help_heading = "Clients", value_name = "DURATION", default_value = "10s",
          value_parser = limits::time_limit)]
    timeout: Duration,
    /// The gateway's process id: reports its CPU time and memory.
    ///
    /// It must run on this machine.
    #[arg(long, help_heading = "Output")]
    pid: Option<u32>,
    /// Print the results as JSON.
    ///
    /// All numbers are in the units of their names.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

impl Idle {
    pub(in crate::cli) fn run(self) -> Result<(), Failure> {
        let process = self.pid.map(Process::find).transpose()?;
        let clients = self.clients.clients(self.sessions, self.timeout)?;
        let (opening, patience, hold, json) =
            (self.opening.into(), self.timeout, self.hold, self.json);
        runtime::block_on(async move {
            let burst = self.burst.plan().await?;
            let (sessions, encrypted) = (clients.count(), clients.are_encrypted());
            let template =
                burst.as_ref().map_or_else(burst::nothing, |burst| burst.template.clone());
            let connections = sessions;
            let setup =
                Setup { clients, template, connections, in_flight: IN_FLIGHT, opening, patience };
            let interrupt = Interrupt::listen()?;
            let course = Course::run(setup, process, hold, burst.as_ref(), &interrupt).await?;
            let mut report = Report::new(sessions, encrypted, burst.as_ref(), course);
            report.interrupted = interrupt.has_come();
            let text = if json { report.json()? } else { report.to_string() };
            print_with_verdict(&text, interrupt.verdict(report.verdict()))
        })
    }
}
