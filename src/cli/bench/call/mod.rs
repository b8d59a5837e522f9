//! `bridgehead bench call`: many requests on many connections, and their costs.

mod report;
pub(super) mod request;

use std::time::{Duration, Instant};

use clap::Args;
use tokio::time::sleep_until;

use super::clients::ClientArgs;
use super::interrupt::Interrupt;
use super::process::{Process, own_cpu};
use super::progress::{self, Span};
use super::traffic::generator::{Course, Extent, Fleet, Setup};
use crate::cli::failure::Failure;
use crate::cli::limits;
use crate::cli::output::print_with_verdict;
use crate::cli::runtime;
use report::{Cost, Report};
use request::RequestArgs;

/// Requests in flight on a connection, by default, where the rate is fixed: as many
/// as gateways allow by default.
const IN_FLIGHT_AT_A_RATE: u16 = 128;
/// Sessions that are being opened at the same time.
const OPENING: usize = 64;
/// From the moment at which all is ready until the first request.
const LEAD: Duration = Duration::from_millis(20);

/// Call a method over many connections at once, and report throughput, latency and cost.
///
/// Without --rate each connection has --in-flight requests in flight, and sends the
/// next one when an answer comes. With --rate requests are sent at equal distances,
/// however long the answers take, and a latency counts from the moment at which the
/// request was due: a gateway that stalls for a second shows with all the requests
/// that would have been sent meanwhile.
///
/// Ctrl-C ends it early: the results until then are printed, and the exit code is
/// 130. The exit code is 1 if connections were lost, or requests not answered.
/// Answers with other codes than Success are counted, and do not make it fail.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  bridgehead bench call /v1/conn/keepAlive --connections 100 --pid $(pidof bridgehead)
  bridgehead bench call /v1/relation/getFriendList '{\"page\": {\"size\": 5}}' --in-flight 64 --connections 1
  bridgehead bench call /v1/relation/getFriendList --connections 10000 --rate 5000 --duration 1m --json")]
pub(in crate::cli) struct Call {
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    clients: ClientArgs,
    /// How long connecting, and a wait for answers, may take.
    ///
    /// A wait begins anew with each answer.
    #[arg(long, value_name = "DURATION", default_value = "10s",
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

#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
struct LoadArgs {
    /// Connections, each with a user of its own.
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// Requests in flight on each [default: 1; with --rate 128].
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    in_flight: Option<u16>,
    /// Requests a second, over all connections [default: as many as it gets].
    #[arg(long, value_name = "R", value_parser = positive)]
    rate: Option<f64>,
    /// How long to measure.
    #[arg(long, value_name = "DURATION", default_value = "10s",
          value_parser = limits::time_limit)]
    duration: Duration,
    /// Measure this many requests, however long they take.
    #[arg(long, value_name = "N", conflicts_with = "duration",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    requests: Option<u64>,
    /// How long to send requests before those that are measured.
    #[arg(long, value_name = "DURATION", default_value = "2s",
          value_parser = limits::pause)]
    warmup: Duration,
    /// Threads that generate the load.
    ///
    /// One costs least, and is enough for some hundred thousand requests a second.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
}

/// The measurement.
#[derive(Debug, Clone, Copy)]
struct Plan {
    rate: Option<f64>,
    extent: Extent,
    warmup: Duration,
}

impl Call {
    pub(in crate::cli) fn run(self) -> Result<(), Failure> {
        let process = self.pid.map(Process::find).transpose()?;
        let Self { request, load, clients, timeout, json, .. } = self;
        let plan = load.plan();
        let clients = clients.clients(load.connections, timeout)?;
        let default = if plan.rate.is_some() { IN_FLIGHT_AT_A_RATE } else { 1 };
        let in_flight = load.in_flight.unwrap_or(default);
        runtime::block_on(async move {
            let mut report = Report {
                method: request.method().to_owned(),
                connections: clients.count(),
                in_flight,
                rate: plan.rate,
                encrypted: clients.are_encrypted(),
                ..Report::default()
            };
            let setup = Setup {
                clients,
                template: request.template().await?,
                connections: report.connections,
                in_flight,
                opening: OPENING,
                patience: timeout,
            };
            let interrupt = Interrupt::listen()?;
            let fleet = Fleet::start(setup, load.threads.into())?;
            plan.measure(fleet, process, &interrupt, &mut report).await?;
            report.interrupted = interrupt.has_come();
            let text = if json { report.json()? } else { report.to_string() };
            print_with_verdict(&text, interrupt.verdict(report.verdict()))
        })
    }
}

impl LoadArgs {
    fn plan(&self) -> Plan {
        let extent = self.requests.map_or(Extent::For(self.duration), Extent::Requests);
        Plan { rate: self.rate, extent, warmup: self.warmup }
    }
}

impl Plan {
    async fn measure(
        self,
        mut fleet: Fleet,
        process: Option<Process>,
        interrupt: &Interrupt,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let threads = fleet.threads();
        let opening = progress::opening(report.connections, &fleet.progress);
        interrupt.or(fleet.opened()).await?;
        drop(opening);

        let start = Instant::now() + LEAD;
        let Self { rate, extent, warmup } = self;
        let course = Course::Requests { start, warmup, rate, extent };
        let sample = || process.map(Process::sample).transpose();
        let running = progress::running(
            &fleet.progress,
            start,
            warmup,
            match extent {
                Extent::For(duration) => Span::Time(duration),
                Extent::Requests(requests) => Span::Answers(requests),
            },
        );
        fleet.run(course);
        let warm = async {
            sleep_until((start + warmup).into()).await;
            Ok(())
        };
        interrupt.or(warm).await?;
        let (before, own_before) = (sample()?, own_cpu());
        fleet.measured_until(interrupt.come()).await?;
        let (after, own) = (sample()?, own_cpu().saturating_sub(own_before));
        let outcome = fleet.ended().await?;
        drop(running);
        let late = fleet.close().await?;

        let gateway = process.zip(before.zip(after));
        report.take(outcome, late, &Cost { gateway, own, threads });
        Ok(())
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if number.is_finite() && number > 0.0 && number <= 1e9 {
        Ok(number)
    } else {
        Err("it must be more than 0, and 1e9 at most".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_requests_a_second() {
        assert_eq!(positive("0.5"), Ok(0.5));
        assert_eq!(positive("5e3"), Ok(5000.0));
        for text in ["0", "-1", "inf", "NaN", "fast", "1e10"] {
            assert!(positive(text).is_err(), "{text}");
        }
    }
}
