//! The report of a run, for people and as JSON.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::burst::Plan;
use super::course::{Course, Seen};
use crate::cli::bench::figures::{counted, grouped, mib, number, ratio, rounded};
use crate::cli::bench::process::{Generator, Process, Sample};
use crate::cli::failure::Failure;

/// Sessions below which fixed costs weigh too much.
const FEW: usize = 1_000;

/// Everything, in the units of the names. Machines rely on its JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether Ctrl-C has ended the run before its time.
    pub(super) interrupted: bool,
    sessions: usize,
    encrypted: bool,
    open_seconds: f64,
    handshakes_per_second: f64,
    hold_seconds: f64,
    burst: Option<Burst>,
    /// Sessions that ended before they were closed.
    sessions_lost: u64,
    /// How the first of them ended.
    first_session_lost: Option<String>,
    gateway: Option<Gateway>,
    /// While the sessions were opened.
    generator: Generator,
    warnings: Vec<String>,
}

/// The outcome of the burst.
#[derive(Debug, Serialize)]
struct Burst {
    bytes_per_session: u64,
    requests_per_session: u64,
    seconds: f64,
    answers: u64,
    /// Answers that were no success.
    failures: u64,
    unanswered: u64,
}

/// Costs of the gateway's process.
#[derive(Debug, Serialize)]
struct Gateway {
    pid: u32,
    /// While the sessions were opened.
    cpu_us_per_handshake: f64,
    handshakes_per_cpu_second: f64,
    /// In the hold.
    hold_cpu_seconds: f64,
    /// Before the first session.
    resident_before_bytes: u64,
    /// As soon as all were open.
    resident_bytes: u64,
    /// How much that is more than before.
    resident_bytes_per_session: f64,
    /// The growth of the kernel's memory at the same moment, of which one half is
    /// the gateway's.
    kernel_bytes_per_session: Option<f64>,
    resident_after_hold_bytes: u64,
    resident_after_hold_bytes_per_session: f64,
    resident_after_burst_bytes: Option<u64>,
    resident_after_burst_bytes_per_session: Option<f64>,
    /// At most, since the process began.
    peak_resident_bytes: u64,
}

impl Report {
    pub(super) fn new(
        sessions: usize,
        encrypted: bool,
        plan: Option<&Plan>,
        course: Course,
    ) -> Self {
        let gateway = Gateway::of(sessions, &course);
        let Course { before, opened_in, open, held_for, mut burst, late, .. } = course;
        let (mut lost, mut first_lost) = (late.lost, late.first_lost);
        if let Some((outcome, _)) = &mut burst {
            lost += outcome.tally.lost;
            first_lost = outcome.tally.first_lost.take().or(first_lost);
        }
        let own = open.own_cpu.saturating_sub(before.own_cpu);
        let mut report = Self {
            interrupted: false,
            sessions,
            encrypted,
            open_seconds: opened_in.as_secs_f64(),
            handshakes_per_second: number(sessions as u64) / opened_in.as_secs_f64().max(1e-9),
            hold_seconds: held_for.as_secs_f64(),
            burst: plan.zip(burst.as_ref()).map(|(plan, (outcome, _))| Burst {
                bytes_per_session: plan.bytes(),
                requests_per_session: plan.each,
                seconds: outcome.measured.as_secs_f64(),
                answers: outcome.tally.answers,
                failures: outcome.tally.failures(),
                unanswered: outcome.tally.unanswered,
            }),
            sessions_lost: lost,
            first_session_lost: first_lost,
            gateway,
            generator: Generator::of_handshakes(own, sessions as u64),
            warnings: Vec::new(),
        };
        report.warn();
        report
    }

    fn warn(&mut self) {
        let mut warnings = Vec::new();
        if cfg!(debug_assertions) {
            let warning = "this is a debug build, which is many times slower: build with --release \
                           to measure";
            warnings.push(warning.to_owned());
        }
        if let Some(gateway) = &self.gateway {
            let own = self.generator.cpu_us_per_handshake.unwrap_or_default();
            if own > gateway.cpu_us_per_handshake {
                warnings.push(format!(
                    "opening a session took more CPU time here than in the gateway ({own:.0} µs \
                     against {:.0} µs): handshakes a second say more about this process than about \
                     the gateway",
                    gateway.cpu_us_per_handshake
                ));
            }
            if gateway.resident_bytes < gateway.resident_before_bytes {
                warnings.push(
                    "the gateway was giving back memory of earlier work meanwhile, so the memory of \
                     the sessions is not known: begin with a gateway that has just started"
                        .to_owned(),
                );
            }
            if self.sessions < FEW {
                warnings.push(format!(
                    "{} sessions are few: the memory that the gateway has for all of them together \
                     distorts the memory of each",
                    self.sessions
                ));
            }
        }
        if let Some(burst) = self.burst.as_ref().filter(|burst| burst.failures > 0) {
            warnings.push(format!(
                "{} of {} answers to the burst were not Success",
                grouped(burst.failures),
                grouped(burst.answers)
            ));
        }
        self.warnings = warnings;
    }

    pub(super) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self).map_err(Failure::failed)
    }

    /// A failure if sessions were lost, or requests of the burst not answered.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let unanswered = self.burst.as_ref().map_or(0, |burst| burst.unanswered);
        match (self.sessions_lost, unanswered) {
            (0, 0) => Ok(()),
            (0, unanswered) => {
                let unanswered = grouped(unanswered);
                Err(Failure::failed(format!("requests of the burst not answered: {unanswered}")))
            }
            (lost, _) => {
                let first = self.first_session_lost.as_deref().unwrap_or_default();
                let lost = grouped(lost);
                Err(Failure::failed(format!("sessions lost: {lost} (the first: {first})")))
            }
        }
    }
}

impl Gateway {
    fn of(sessions: usize, course: &Course) -> Option<Self> {
        let of = |seen: &Seen| seen.gateway.clone();
        let (process, before, open) = (course.process?, of(&course.before)?, of(&course.open)?);
        let (held, burst) =
            (of(&course.held)?, course.burst.as_ref().and_then(|burst| of(&burst.1)));
        let latest = burst.as_ref().unwrap_or(&held);
        let cpu = open.cpu_since(&before).as_secs_f64();
        let growth = |sample: &Sample| per_session(&before, sample, sessions);
        let kernel = course.open.kernel.zip(course.before.kernel);
        Some(Self {
            pid: Process::pid(process),
            cpu_us_per_handshake: ratio(cpu * 1e6, sessions as u64),
            handshakes_per_cpu_second: number(sessions as u64) / cpu.max(1e-9),
            hold_cpu_seconds: held.cpu_since(&open).as_secs_f64(),
            resident_before_bytes: before.memory.resident,
            resident_bytes: open.memory.resident,
            resident_bytes_per_session: growth(&open),
            kernel_bytes_per_session: kernel
                .map(|(open, before)| open.growth_per_end(before, sessions)),
            resident_after_hold_bytes: held.memory.resident,
            resident_after_hold_bytes_per_session: growth(&held),
            resident_after_burst_bytes: burst.as_ref().map(|sample| sample.memory.resident),
            resident_after_burst_bytes_per_session: burst.as_ref().map(growth),
            peak_resident_bytes: latest.memory.peak,
        })
    }
}

/// Negative where there is less than before.
fn per_session(before: &Sample, after: &Sample, sessions: usize) -> f64 {
    let growth = number(after.memory.resident) - number(before.memory.resident);
    ratio(growth, sessions as u64)
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let encrypted = if self.encrypted { "encrypted " } else { "" };
        writeln!(
            f,
            "{} opened in {:.2} s: {} a second",
            counted(self.sessions as u64, &format!("{encrypted}session")),
            self.open_seconds,
            rounded(self.handshakes_per_second)
        )?;
        if let Some(burst) = &self.burst {
            writeln!(
                f,
                "burst of {} bytes on each, {}: {:.2} s",
                grouped(burst.bytes_per_session),
                counted(burst.requests_per_session, "request"),
                burst.seconds
            )?;
        }
        if let Some(gateway) = &self.gateway {
            gateway.fmt(f)?;
        }
        let each = self.generator.cpu_us_per_handshake.unwrap_or_default();
        write!(f, "load generator: {each:.0} µs of CPU time a handshake")?;
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

impl Display for Gateway {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "gateway: {:.0} µs of CPU time a handshake ({} a second of it); {:.2} s while they were \
             held",
            self.cpu_us_per_handshake,
            rounded(self.handshakes_per_cpu_second),
            self.hold_cpu_seconds
        )?;
        writeln!(f, "{:26}{:>14}{:>18}", "gateway's memory", "resident MiB", "bytes a session")?;
        let lines = [
            ("before the sessions", Some(self.resident_before_bytes), None),
            (
                "when all were open",
                Some(self.resident_bytes),
                Some(self.resident_bytes_per_session),
            ),
            (
                "after the hold",
                Some(self.resident_after_hold_bytes),
                Some(self.resident_after_hold_bytes_per_session),
            ),
            (
                "after the burst",
                self.resident_after_burst_bytes,
                self.resident_after_burst_bytes_per_session,
            ),
            ("at most", Some(self.peak_resident_bytes), None),
        ];
        for (when, resident, each) in lines {
            let Some(resident) = resident else { continue };
            let each = each.map_or_else(String::new, |each| format!("{each:.0}"));
            writeln!(f, "  {when:24}{:>14.1}{each:>18}", mib(resident))?;
        }
        match self.kernel_bytes_per_session {
            Some(each) => writeln!(
                f,
                "kernel: {each:.0} bytes a session (half of what Slab and TCP buffers of the whole \
                 machine grew by)"
            ),
            None => Ok(()),
        }
    }
}
