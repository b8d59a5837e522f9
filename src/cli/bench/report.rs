//! The report of a run, for people and as JSON.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use super::arrivals::Faults;
use super::figures::{Millis, mib, number, ratio};
use super::process::{Process, Sample};
use super::receipts::{Outcomes, Receipts};
use crate::cli::failure::Failure;
use crate::client::CallError;

/// Everything, in the units of the names. Machines rely on its JSON.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Whether Ctrl-C has ended the run before its time.
    pub(super) interrupted: bool,
    pub(super) sessions: usize,
    /// The part of them that does not read.
    pub(super) stalled_sessions: usize,
    pub(super) encrypted: bool,
    /// Bytes of data in each push.
    pub(super) size: usize,
    pub(super) confirm: &'static str,
    pub(super) rounds: usize,
    /// How long it took to open all sessions.
    pub(super) open_seconds: f64,
    /// All rounds together, each until its last arrival and receipt.
    pub(super) seconds: f64,
    /// Pushes that have come to sessions.
    pub(super) deliveries: u64,
    pub(super) deliveries_per_second: f64,
    /// From a push to its last receipt of a session that reads.
    pub(super) last_receipt_ms: Last,
    /// From a push to each of its arrivals at a client.
    pub(super) arrival_ms: Millis,
    /// From a push to each of its receipts.
    pub(super) receipt_ms: Millis,
    pub(super) receipts: Outcomes,
    pub(super) stalled_receipts: Outcomes,
    /// Receipts of sessions that are none of this run's.
    pub(super) other_receipts: u64,
    pub(super) faults: AllFaults,
    pub(super) gateway: Option<Gateway>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Last {
    mean: f64,
    max: f64,
}

/// Faults: things that must not happen.
#[derive(Debug, Default, Serialize)]
pub(super) struct AllFaults {
    lost: u64,
    duplicated: u64,
    out_of_order: u64,
    receipts_missing: u64,
    receipts_duplicated: u64,
    /// Receipts with another outcome than the expected one.
    receipts_unconfirmed: u64,
    /// Sessions that did not answer in the end.
    sessions_lost: u64,
    /// Why the first of them did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_session_lost: Option<String>,
}

/// Costs of the gateway's process.
#[derive(Debug, Serialize)]
pub(super) struct Gateway {
    pid: u32,
    /// In the rounds, with all that they take.
    cpu_seconds: f64,
    cpu_us_per_delivery: f64,
    /// Resident memory before there were sessions, with all of them idle, and
    /// after the rounds; at most since the process began.
    resident_bytes_before: u64,
    resident_bytes_open: u64,
    resident_bytes_after: u64,
    resident_bytes_peak: u64,
}

impl Gateway {
    /// Samples from before there were sessions, with all of them open, and
    /// after the rounds.
    pub(super) fn new(
        process: Process,
        [before, open, after]: [&Sample; 3],
        deliveries: u64,
    ) -> Self {
        let cpu = after.cpu_since(open).as_secs_f64();
        Self {
            pid: process.pid(),
            cpu_seconds: cpu,
            cpu_us_per_delivery: ratio(cpu * 1e6, deliveries),
            resident_bytes_before: before.memory.resident,
            resident_bytes_open: open.memory.resident,
            resident_bytes_after: after.memory.resident,
            resident_bytes_peak: after.memory.peak,
        }
    }
}

impl Report {
    /// Takes over how long after its push each round's last receipt came, and
    /// how long the round took.
    pub(super) fn set_times(&mut self, times: &[(Duration, Duration)]) {
        let last = times.iter().map(|(last, _)| last.as_secs_f64() * 1000.0);
        let mean = ratio(last.clone().sum(), times.len() as u64);
        self.last_receipt_ms = Last { mean, max: last.fold(0.0, f64::max) };
        self.seconds = times.iter().map(|(_, whole)| whole.as_secs_f64()).sum();
        if self.seconds > 0.0 {
            self.deliveries_per_second = number(self.deliveries) / self.seconds;
        }
    }

    /// Takes over the faults of the arrivals, the receipts, and the errors of the
    /// sessions that were gone in the end.
    pub(super) fn set_faults(&mut self, faults: Faults, receipts: &Receipts, gone: &[CallError]) {
        self.receipts.clone_from(&receipts.outcomes);
        self.stalled_receipts.clone_from(&receipts.stalled);
        self.other_receipts = receipts.others;
        self.receipt_ms = Millis::of(&receipts.latencies);
        self.faults = AllFaults {
            lost: faults.lost,
            duplicated: faults.duplicated,
            out_of_order: faults.out_of_order,
            receipts_missing: receipts.missing() + receipts.missing_of_stalled(self.sessions),
            receipts_duplicated: receipts.duplicated,
            receipts_unconfirmed: receipts.unwanted(),
            sessions_lost: gone.len() as u64,
            first_session_lost: gone.first().map(ToString::to_string),
        };
    }

    pub(super) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self).map_err(Failure::failed)
    }

    /// A failure if anything was lost, duplicated or out of order.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.faults.are_none() { Ok(()) } else { Err(Failure::failed(&self.faults)) }
    }
}

impl AllFaults {
    fn counts(&self) -> [(u64, &'static str); 7] {
        [
            (self.lost, "pushes lost"),
            (self.duplicated, "pushes twice at a session"),
            (self.out_of_order, "pushes out of order"),
            (self.receipts_missing, "receipts missing"),
            (self.receipts_duplicated, "receipts given twice"),
            (self.receipts_unconfirmed, "receipts of something else than was asked for"),
            (self.sessions_lost, "sessions lost"),
        ]
    }

    fn are_none(&self) -> bool {
        self.counts().iter().all(|(count, _)| *count == 0)
    }
}

impl Display for AllFaults {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts.map(|(count, what)| format!("{what}: {count}")).collect();
        f.write_str(&counts.join(", "))?;
        match &self.first_session_lost {
            Some(why) => write!(f, " (the first: {why})"),
            None => Ok(()),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let encrypted = if self.encrypted { "encrypted " } else { "" };
        let a_second = number(self.sessions as u64) / self.open_seconds.max(1e-9);
        writeln!(
            f,
            "{} {encrypted}sessions opened in {:.2} s ({a_second:.0} a second)",
            self.sessions, self.open_seconds
        )?;
        writeln!(
            f,
            "{} pushes of {} bytes: {} deliveries in {:.3} s ({:.0} a second)",
            self.rounds, self.size, self.deliveries, self.seconds, self.deliveries_per_second
        )?;
        writeln!(
            f,
            "last {} of a push after {:.1} ms on average, {:.1} ms at most",
            self.confirm, self.last_receipt_ms.mean, self.last_receipt_ms.max
        )?;
        writeln!(f, "{:13}{:>10}{:>10}{:>10}{:>10}", "ms", "p50", "p90", "p99", "max")?;
        for (name, times) in [("arrival", &self.arrival_ms), ("receipt", &self.receipt_ms)] {
            let Millis { p50, p90, p99, max } = times;
            writeln!(f, "{name:13}{p50:>10.2}{p90:>10.2}{p99:>10.2}{max:>10.2}")?;
        }
        writeln!(f, "receipts: {}", told(&self.receipts))?;
        if self.stalled_sessions > 0 {
            let stalled = told(&self.stalled_receipts);
            writeln!(f, "receipts of {} stalled: {stalled}", self.stalled_sessions)?;
        }
        if self.other_receipts > 0 {
            writeln!(f, "receipts of others: {}", self.other_receipts)?;
        }
        if let Some(gateway) = &self.gateway {
            gateway.fmt(f)?;
        }
        if self.faults.are_none() {
            f.write_str("every session got every push once and in order")
        } else {
            write!(f, "wrong: {}", self.faults)
        }
    }
}

impl Display for Gateway {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "gateway: {:.2} s of CPU time, {:.1} µs a delivery",
            self.cpu_seconds, self.cpu_us_per_delivery
        )?;
        writeln!(
            f,
            "gateway: {:.1} MiB resident before, {:.1} with the sessions open, {:.1} after the \
             pushes, {:.1} at most",
            mib(self.resident_bytes_before),
            mib(self.resident_bytes_open),
            mib(self.resident_bytes_after),
            mib(self.resident_bytes_peak)
        )
    }
}

fn told(outcomes: &Outcomes) -> String {
    let told: Vec<_> = outcomes.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::process::Memory;

    #[test]
    fn faults_fail_and_are_named() {
        let mut report = Report::default();
        assert!(report.verdict().is_ok());
        report.faults.lost = 3;
        report.faults.sessions_lost = 1;
        report.faults.first_session_lost = Some("it is full".to_owned());
        let (text, is_usage) = report.verdict().unwrap_err().text();
        assert_eq!(text, "pushes lost: 3, sessions lost: 1 (the first: it is full)\n");
        assert!(!is_usage);
    }

    #[test]
    fn the_json_says_its_units() {
        let memory = Memory { resident: 1 << 20, peak: 2 << 20 };
        let process = Process::find(std::process::id()).unwrap();
        let samples = [5, 10, 30].map(|ms| Sample::of(Duration::from_millis(ms), memory));
        let [before, open, after] = &samples;
        let gateway = Some(Gateway::new(process, [before, open, after], 1000));
        let mut report = Report { deliveries: 1000, gateway, ..Report::default() };
        report.set_times(&[(Duration::from_millis(4), Duration::from_millis(5)); 2]);
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["gateway"]["cpu_us_per_delivery"], 20.0);
        assert_eq!(json["gateway"]["resident_bytes_peak"], 2 << 20);
        assert_eq!(json["last_receipt_ms"]["max"], 4.0);
        assert_eq!(json["deliveries_per_second"], 100_000.0);
        assert!(report.to_string().contains("20.0 µs a delivery"), "{report}");
    }
}
