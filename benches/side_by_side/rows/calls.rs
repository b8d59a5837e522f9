//! The cost of a request through the gateway, as a multiple of a direct call.

use super::{Bench, Series, ratios};
use crate::document::Group;
use crate::failure::Failure;
use crate::figures::{Unit, mean};
use crate::gateway::{Gateway, Setup};
use crate::parts;
use crate::table::{Row, Target};

/// Everything that is measured in a round.
#[derive(Default)]
struct Measured {
    direct: Series,
    /// The mean of the two direct runs around the runs that are compared with it.
    yardstick: Vec<f64>,
    yardstick_rate: Vec<f64>,
    yardstick_of_many: Vec<f64>,
    one_by_64: Series,
    of_64: Series,
    many: Series,
    one_by_64_aes: Series,
    of_64_aes: Series,
    direct_alone: Series,
    alone: Series,
    added: Vec<f64>,
    floor_one_by_64: Series,
    floor_of_64: Series,
}

pub(super) fn measure(bench: &mut Bench) -> Result<Group, Failure> {
    let gateway = bench.gateway(&Setup::default())?;
    let (echo, address) = parts::serve(&["answerer"])?;
    let url = format!("ws://{address}/ws");
    let floor = Gateway { process: echo, url, push_url: String::new() };
    let mut measured = Measured::default();
    for round in 0..bench.plan.rounds {
        eprintln!("  round {} of {}", round + 1, bench.plan.rounds);
        measured.round(bench, &gateway, &floor)?;
    }
    Ok(measured.group(bench.plan.many))
}

impl Measured {
    /// The yardstick before, between and after the runs that are compared with it.
    fn round(
        &mut self,
        bench: &mut Bench,
        gateway: &Gateway,
        floor: &Gateway,
    ) -> Result<(), Failure> {
        let many = bench.plan.many;
        let call =
            |bench: &mut Bench, series: &mut Series, gateway, connections, in_flight, encrypt| {
                let calls = bench.calls(gateway, connections, in_flight);
                bench
                    .call(&crate::load::Calls { encrypt, ..calls })
                    .map(|called| series.add(&called))
            };
        let before = bench.direct(64)?;
        call(bench, &mut self.one_by_64, gateway, 1, 64, false)?;
        call(bench, &mut self.one_by_64_aes, gateway, 1, 64, true)?;
        call(bench, &mut self.of_64, gateway, 64, 1, false)?;
        call(bench, &mut self.of_64_aes, gateway, 64, 1, true)?;
        let between = bench.direct(64)?;
        call(bench, &mut self.many, gateway, many, 1, false)?;
        call(bench, &mut self.floor_one_by_64, floor, 1, 64, false)?;
        call(bench, &mut self.floor_of_64, floor, 64, 1, false)?;
        let after = bench.direct(64)?;
        let alone_before = bench.direct(1)?;
        call(bench, &mut self.alone, gateway, 1, 1, false)?;
        let alone_after = bench.direct(1)?;

        let cpu = [&before, &between, &after].map(|direct| direct.cpu_us_per_call);
        self.yardstick.push(mean(&cpu[..2]));
        self.yardstick_of_many.push(mean(&cpu[1..]));
        self.yardstick_rate.push(mean(&[before.calls_per_second, between.calls_per_second]));
        for direct in [&before, &between, &after] {
            self.direct.add_direct(direct);
        }
        let alone = mean(&[alone_before.p50_us, alone_after.p50_us]);
        for direct in [&alone_before, &alone_after] {
            self.direct_alone.add_direct(direct);
        }
        let through = self.alone.p50.last().copied().unwrap_or(f64::NAN);
        self.added.push((through - alone) / alone);
        Ok(())
    }

    fn group(self, many: u64) -> Group {
        let times = |what: String, samples| Row::new(what, Unit::Times, samples);
        let cpu = |of: &Series| ratios(&of.cpu, &self.yardstick);
        let rate = |of: &Series| ratios(&of.rate, &self.yardstick_rate);
        let of_many = ratios(&self.many.cpu, &self.yardstick_of_many);
        let floor = |of: &Series| ratios(&of.cpu, &self.yardstick_of_many);
        let rows = vec![
            times("CPU a request, 1 connection × 64 in flight".into(), cpu(&self.one_by_64))
                .with(Target::AtMost(0.9)),
            times("CPU a request, 64 × 1".into(), cpu(&self.of_64)).with(Target::AtMost(1.9)),
            times(format!("CPU a request, {many} × 1"), of_many).with(Target::AtMost(2.0)),
            times(
                "CPU a request with AES, of that without, 1 × 64".into(),
                ratios(&self.one_by_64_aes.cpu, &self.one_by_64.cpu),
            )
            .with(Target::AtMost(1.15)),
            times(
                "CPU a request with AES, of that without, 64 × 1".into(),
                ratios(&self.of_64_aes.cpu, &self.of_64.cpu),
            )
            .with(Target::AtMost(1.15)),
            times("requests a second, 1 × 64".into(), rate(&self.one_by_64))
                .with(Target::AtLeast(0.9)),
            times("requests a second, 64 × 1".into(), rate(&self.of_64)).with(Target::AtLeast(0.7)),
            times("latency added to an unloaded call, 1 × 1".into(), self.added.clone())
                .with(Target::AtMost(0.7)),
            times(
                "floor: CPU a request of a WebSocket server that answers by itself, 1 × 64".into(),
                floor(&self.floor_one_by_64),
            ),
            times("floor: the same, 64 × 1".into(), floor(&self.floor_of_64)),
        ];
        let loads = vec![
            self.direct.line("direct client, 64 in flight"),
            self.one_by_64.line("gateway, 1 × 64"),
            self.one_by_64_aes.line("gateway, 1 × 64, AES"),
            self.of_64.line("gateway, 64 × 1"),
            self.of_64_aes.line("gateway, 64 × 1, AES"),
            self.many.line(format!("gateway, {many} × 1")),
            self.floor_one_by_64.line("floor, 1 × 64"),
            self.floor_of_64.line("floor, 64 × 1"),
            self.direct_alone.line("direct client, 1 in flight"),
            self.alone.line("gateway, 1 × 1"),
        ];
        let all = [
            &self.one_by_64,
            &self.one_by_64_aes,
            &self.of_64,
            &self.of_64_aes,
            &self.many,
            &self.alone,
        ];
        let warnings = all.iter().flat_map(|series| series.warnings.iter().cloned()).collect();
        let intro = "Multiples of what the direct client spends a call, or carries a second, with 64 \
                     calls in flight; AES of what the gateway spends without; latency of the median \
                     of a direct call that is alone.";
        Group { intro: intro.into(), rows, loads, warnings }
    }
}
