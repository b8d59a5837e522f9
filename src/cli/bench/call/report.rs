//! The report of a run, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use crate::cli::bench::figures::{Micros, counted, grouped, mib, number, ratio, rounded};
use crate::cli::bench::process::{Generator, Process, Sample};
use crate::cli::bench::traffic::generator::Outcome;
use crate::cli::bench::traffic::tally::Tally;
use crate::cli::failure::Failure;
use crate::protocol::Code;

/// The part of a fixed rate below which it counts as not kept.
const KEPT: f64 = 0.98;
/// How busy threads may be before they, not the gateway, limit the result.
const BUSY: f64 = 0.9;

/// Everything, in the units of the names. Machines rely on its JSON.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Whether Ctrl-C has ended the run before its time.
    pub(super) interrupted: bool,
    pub(super) method: String,
    pub(super) connections: usize,
    /// On each connection, at most.
    pub(super) in_flight: u16,
    /// Requests a second over all connections; none where they were sent as
    /// fast as answers came.
    pub(super) rate: Option<f64>,
    pub(super) encrypted: bool,
    /// The measured time, behind the warm-up.
    pub(super) seconds: f64,
    /// Answered in that time.
    pub(super) requests: u64,
    pub(super) requests_per_second: f64,
    pub(super) latency_us: Micros,
    /// Answers by their code's number.
    pub(super) codes: BTreeMap<i32, u64>,
    /// The first answer that was no success.
    pub(super) first_failure: Option<FirstFailure>,
    pub(super) connections_lost: u64,
    /// How the first of them ended.
    pub(super) first_connection_lost: Option<String>,
    /// Requests that were sent and never answered.
    pub(super) unanswered: u64,
    /// Answers without a request, or that came twice.
    pub(super) unexpected_answers: u64,
    /// Requests that were due and could not be sent in time: where a rate was
    /// asked for that is too high.
    pub(super) unsent: u64,
    pub(super) gateway: Option<Gateway>,
    pub(super) generator: Generator,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct FirstFailure {
    code: i32,
    msg: String,
}

/// Costs of the gateway's process.
#[derive(Debug, Serialize)]
pub(super) struct Gateway {
    pid: u32,
    /// In the time that was measured.
    cpu_seconds: f64,
    cpu_us_per_request: f64,
    /// Resident memory at the end of that time, and at most since the process
    /// began.
    resident_bytes: u64,
    peak_resident_bytes: u64,
}

/// CPU time and memory spent.
pub(super) struct Cost {
    /// Samples from before and after the measurement.
    pub(super) gateway: Option<(Process, (Sample, Sample))>,
    pub(super) own: Duration,
    pub(super) threads: usize,
}

impl Report {
    /// Takes over the outcome of the run, and the late tally of closing the connections.
    pub(super) fn take(&mut self, outcome: Outcome, late: Tally, cost: &Cost) {
        let Outcome { tally, measured } = outcome;
        self.seconds = measured.as_secs_f64();
        self.requests = tally.answers;
        self.requests_per_second = number(tally.answers) / self.seconds.max(1e-9);
        self.latency_us = Micros::of(&tally.latencies);
        self.codes = tally.codes.into_iter().collect();
        self.first_failure = tally.first_failure.map(|(code, msg)| FirstFailure { code, msg });
        self.connections_lost = tally.lost + late.lost;
        self.first_connection_lost = tally.first_lost.or(late.first_lost);
        self.unanswered = tally.unanswered;
        self.unexpected_answers = tally.unexpected + late.unexpected;
        self.unsent = tally.unsent;
        self.generator = Generator::of_requests(cost.own, tally.answers);
        self.gateway = cost.gateway.as_ref().map(|(process, (before, after))| {
            let cpu = after.cpu_since(before).as_secs_f64();
            Gateway {
                pid: process.pid(),
                cpu_seconds: cpu,
                cpu_us_per_request: ratio(cpu * 1e6, tally.answers),
                resident_bytes: after.memory.resident,
                peak_resident_bytes: after.memory.peak,
            }
        });
        self.warn(cost.threads);
    }

    fn warn(&mut self, threads: usize) {
        let mut warnings = Vec::new();
        if cfg!(debug_assertions) {
            warnings.push(
                "this is a debug build, which is many times slower: build with --release to \
                 measure"
                    .to_owned(),
            );
        }
        if let Some(gateway) = &self.gateway
            && self.generator.cpu_seconds > gateway.cpu_seconds
        {
            warnings.push(format!(
                "making the load took more CPU time than the gateway spent on it ({:.2} s against \
                 {:.2} s): throughput and latency say more about this process than about the \
                 gateway",
                self.generator.cpu_seconds, gateway.cpu_seconds
            ));
        }
        if self.generator.cpu_seconds > BUSY * self.seconds * number(threads as u64) {
            let are = if threads == 1 { "thread is" } else { "threads are" };
            warnings.push(format!(
                "{threads} {are} busy all the time with making the load, so latencies are partly \
                 this process's own: try more --threads, if there are cores for them"
            ));
        }
        if let Some(rate) = self.rate.filter(|rate| self.requests_per_second < KEPT * rate) {
            warnings.push(format!(
                "the rate was not kept: {} requests a second of {} asked for; latencies count \
                 from the moments at which requests were due, and grow with the length of the run",
                rounded(self.requests_per_second),
                rounded(rate)
            ));
        }
        if self.unsent > 0 {
            warnings.push(format!(
                "of the requests that were due, {} could not be sent before the end; the latencies \
                 include them with the time that they had waited until then",
                grouped(self.unsent)
            ));
        }
        if self.requests > 0 && !self.codes.contains_key(&0) {
            warnings.push("no answer was a Success: is the request right?".to_owned());
        }
        self.warnings = warnings;
    }

    pub(super) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self).map_err(Failure::failed)
    }

    /// A failure if connections were lost, or not every request had its answer.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let wrong = self.wrong();
        if wrong.is_empty() {
            return if self.requests == 0 {
                Err(Failure::failed("no request was answered in the time that was measured"))
            } else {
                Ok(())
            };
        }
        let first = match &self.first_connection_lost {
            Some(why) => format!(" (the first connection: {why})"),
            None => String::new(),
        };
        Err(Failure::failed(format!("{}{first}", wrong.join(", "))))
    }

    fn wrong(&self) -> Vec<String> {
        let counts = [
            (self.connections_lost, "connections lost"),
            (self.unanswered, "requests not answered"),
            (self.unexpected_answers, "answers without a request"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        counts.map(|(count, what)| format!("{what}: {}", grouped(*count))).collect()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let encrypted = if self.encrypted { "encrypted " } else { "" };
        let connections = counted(self.connections as u64, &format!("{encrypted}connection"));
        let in_flight = counted(self.in_flight.into(), "request");
        write!(f, "{} over {connections}, ", self.method)?;
        match self.rate {
            None => writeln!(f, "{in_flight} in flight on each")?,
            Some(rate) => {
                let rate = if rate < 100.0 { rate.to_string() } else { rounded(rate) };
                writeln!(f, "{rate} requests a second, {in_flight} in flight on each at most")?;
            }
        }
        writeln!(
            f,
            "{} answered in {:.2} s: {} a second",
            counted(self.requests, "request"),
            self.seconds,
            rounded(self.requests_per_second)
        )?;
        let Micros { mean, p50, p90, p99, p99_9, max } = &self.latency_us;
        let head = ["mean", "p50", "p90", "p99", "p99.9", "max"];
        writeln!(f, "{:11}{}", "µs", head.map(|name| format!("{name:>11}")).concat())?;
        let line = [mean, p50, p90, p99, p99_9, max];
        writeln!(f, "{:11}{}", "latency", line.map(|us| format!("{us:>11.1}")).concat())?;
        writeln!(f, "answers: {}", self.told_codes())?;
        if let Some(FirstFailure { code, msg }) =
            self.first_failure.as_ref().filter(|first| !first.msg.is_empty())
        {
            writeln!(f, "the first {}: {msg}", Code::new(*code))?;
        }
        if let Some(gateway) = &self.gateway {
            writeln!(
                f,
                "gateway: {:.2} s of CPU time, {:.1} µs a request; {:.1} MiB resident, {:.1} at most",
                gateway.cpu_seconds,
                gateway.cpu_us_per_request,
                mib(gateway.resident_bytes),
                mib(gateway.peak_resident_bytes)
            )?;
        }
        let Generator { cpu_seconds, cpu_us_per_request, .. } = &self.generator;
        let each = cpu_us_per_request.unwrap_or_default();
        write!(f, "load generator: {cpu_seconds:.2} s of CPU time, {each:.1} µs a request")?;
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

impl Report {
    fn told_codes(&self) -> String {
        let told =
            |(code, count): (&i32, &u64)| format!("{} {}", grouped(*count), Code::new(*code));
        let told: Vec<_> = self.codes.iter().map(told).collect();
        if told.is_empty() { "none".to_owned() } else { told.join(", ") }
    }
}
