//! Everybody connects anew, encrypted, while others go on with their calls.

use std::time::Duration;

use super::{Bench, tell};
use crate::document::Group;
use crate::failure::Failure;
use crate::figures::{Unit, number};
use crate::gateway::{Gateway, Setup};
use crate::load::{Called, Calls, Crowd, Opened};
use crate::table::{Row, Target};

/// Connections with calls on them.
const CALLING: u64 = 64;

#[derive(Default)]
struct Measured {
    alone: Vec<f64>,
    with_calls: Vec<f64>,
    rate: Vec<f64>,
    kept: Vec<f64>,
    failed: Vec<f64>,
    before_us: Vec<f64>,
    during_us: Vec<f64>,
    warnings: Vec<String>,
}

pub(super) fn measure(bench: &mut Bench) -> Result<Group, Failure> {
    let gateway = bench.gateway(&Setup::default())?;
    let rate = bench.easy_rate(&gateway)?;
    // As many as make a storm of the length that is wanted.
    let first = storm(bench, &gateway, bench.plan.sessions.min(2000))?;
    let enough = first.handshakes_per_second * bench.plan.storm.as_secs_f64() * 1.5;
    let sessions = bench.plan.sessions.min(whole(enough)).max(100);
    let mut measured = Measured::default();
    for _ in 0..bench.plan.few_rounds {
        measured.round(bench, &gateway, rate, sessions)?;
    }
    Ok(measured.group(sessions, rate))
}

impl Measured {
    fn round(
        &mut self,
        bench: &mut Bench,
        gateway: &Gateway,
        rate: f64,
        sessions: u64,
    ) -> Result<(), Failure> {
        let alone = storm(bench, gateway, sessions)?;
        self.alone.push(1e6 / alone.gateway.cpu_us_per_handshake);

        let calls = Calls { rate: Some(rate), ..bench.calls(gateway, CALLING, 64) };
        let before = bench.call(&calls)?;
        let during = Calls { measure: bench.plan.storm * 3 / 4, ..calls };
        let calling = bench.generator.start_call(&during)?;
        std::thread::sleep(bench.plan.warm_up / 2);
        let opened = storm(bench, gateway, sessions)?;
        let called: Called = calling.report(during.measure + Duration::from_secs(60))?;
        eprintln!("  meanwhile {}", tell(&during, &called));

        // The price of the calls is known from before.
        let calls_a_handshake = called.requests_per_second / opened.handshakes_per_second;
        let of_calls = calls_a_handshake * before.gateway.cpu_us_per_request;
        self.with_calls.push(1e6 / (opened.gateway.cpu_us_per_handshake - of_calls));
        self.rate.push(opened.handshakes_per_second);
        self.kept.push(called.requests_per_second / before.requests_per_second);
        self.failed.push(number(called.failures()));
        self.before_us.push(before.latency_us.p99);
        self.during_us.push(called.latency_us.p99);
        self.warnings.extend(alone.warnings.into_iter().chain(opened.warnings));
        Ok(())
    }

    fn group(self, sessions: u64, rate: f64) -> Group {
        let target = Target::AtLeast(1200.0);
        let rows = vec![
            Row::new(
                "encrypted handshakes a second and core, with calls",
                Unit::PerSecond,
                self.with_calls,
            )
            .with(target),
            Row::new("encrypted handshakes a second and core, alone", Unit::PerSecond, self.alone)
                .with(target),
            Row::new(
                "handshakes a second, with calls, all on the same cores",
                Unit::PerSecond,
                self.rate,
            ),
            Row::new("calls a second meanwhile, of those before", Unit::Times, self.kept)
                .with(Target::AtLeast(0.8)),
            Row::new("calls that failed", Unit::Count, self.failed).with(Target::AtMost(0.0)),
            Row::new("the calls' 99th percentile before", Unit::Micros, self.before_us),
            Row::new("the calls' 99th percentile meanwhile", Unit::Micros, self.during_us),
        ];
        Group {
            intro: format!(
                "{} clients open encrypted sessions and log in, 64 at a time, as fast as the \
                 gateway lets them, while {CALLING} others make {} calls a second. A core's \
                 handshakes are those in a second of the gateway's CPU time, less what the calls \
                 took of it, at their price from before.",
                Unit::Count.show(number(sessions)),
                Unit::Count.show(rate)
            ),
            rows,
            loads: Vec::new(),
            warnings: self.warnings,
        }
    }
}

fn storm(bench: &mut Bench, gateway: &Gateway, sessions: u64) -> Result<Opened, Failure> {
    let opened = bench.generator.idle(&Crowd {
        url: &gateway.url,
        pid: gateway.pid(),
        sessions,
        encrypt: true,
        hold: Duration::ZERO,
        burst: &[],
    })?;
    eprintln!(
        "  {sessions} handshakes: {:.0} a second, {:.0} µs of CPU each",
        opened.handshakes_per_second, opened.gateway.cpu_us_per_handshake
    );
    Ok(opened)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn whole(number: f64) -> u64 {
    number as u64
}
