//! The groups of rows, each with the processes that it needs while it is measured.

mod calls;
mod connections;
mod cores;
mod fan_out;
mod memory;
mod routes;
mod storm;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::document::{Group, Part};
use crate::failure::{Context as _, Failure};
use crate::figures::Unit;
use crate::gateway::{Folder, Gateway, Setup};
use crate::load::{Called, Calls, Generator};
use crate::parts::{self, DirectMeasured, Seen};
use crate::plan::Plan;
use crate::processes::Process;

/// A group's name, as `BENCH_ROWS` has it, its title, and its measuring function.
type Measure = fn(&mut Bench) -> Result<Group, Failure>;

const GROUPS: [(&str, &str, Measure); 7] = [
    ("calls", "A request through the gateway against a direct call", calls::measure),
    ("connections", "Many connections", connections::measure),
    ("routes", "Many routes", routes::measure),
    ("cores", "Two cores against one", cores::measure),
    ("memory", "Idle sessions", memory::measure),
    ("fan-out", "One push to every session", fan_out::measure),
    ("storm", "Reconnect storm", storm::measure),
];

/// Everything that the groups share.
pub(crate) struct Bench {
    plan: Plan,
    folder: Folder,
    generator: Generator,
    service: SocketAddr,
    _service: Process,
    /// A request as the gateway makes it of a client's, in hexadecimal.
    request: String,
    _directory: TempDir,
}

/// Measures all groups that are wanted. A group that fails does not keep the
/// others from being measured.
pub(crate) fn measure(plan: Plan) -> Result<(Vec<Part>, Vec<String>), Failure> {
    let mut bench = Bench::start(plan)?;
    let mut parts = Vec::new();
    for (name, title, measure) in GROUPS {
        if !bench.plan.wants(name) {
            continue;
        }
        eprintln!("{title} ({name})");
        let began = Instant::now();
        let outcome = measure(&mut bench);
        if let Err(failure) = &outcome {
            eprintln!("  failed: {failure}");
        }
        eprintln!("  {:.0} s", began.elapsed().as_secs_f64());
        parts.push(Part { name, title, outcome: outcome.map_err(|failure| failure.to_string()) });
    }
    Ok((parts, bench.generator.commands().to_vec()))
}

impl Bench {
    /// Starts the service, and has one request come through a gateway.
    fn start(plan: Plan) -> Result<Self, Failure> {
        let directory = tempfile::tempdir().context("cannot make a folder")?;
        let folder = Folder::make(directory.path())?;
        let generator = Generator::new(directory.path());
        let (mut service, address) = parts::serve(&["service"])?;
        let gateway = folder.start(address, &Setup::default())?;
        gateway.call_once(directory.path())?;
        let Seen { request } = service.json(Duration::from_secs(10))?;
        drop(gateway);
        Ok(Self {
            plan,
            folder,
            generator,
            service: address,
            _service: service,
            request,
            _directory: directory,
        })
    }

    fn gateway(&self, setup: &Setup<'_>) -> Result<Gateway, Failure> {
        self.folder.start(self.service, setup)
    }

    /// The yardstick: so many direct calls at a time.
    fn direct(&self, in_flight: u32) -> Result<DirectMeasured, Failure> {
        let (warm_up, measure) = (self.plan.warm_up.as_millis(), self.plan.measure.as_millis());
        let words = [
            "direct".to_owned(),
            self.service.to_string(),
            in_flight.to_string(),
            warm_up.to_string(),
            measure.to_string(),
            self.request.clone(),
        ];
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let name = format!("the direct client with {in_flight} in flight");
        let process = Process::start(&*name, &mut parts::command(&words)?)?;
        let measured: DirectMeasured = process.result(Duration::from_secs(60))?;
        eprintln!(
            "  {name}: {:.2} µs of CPU a call, {:.0} calls a second, median {:.0} µs",
            measured.cpu_us_per_call, measured.calls_per_second, measured.p50_us
        );
        Ok(measured)
    }

    /// Calls of so many connections, with so many in flight on each.
    fn calls<'a>(&self, gateway: &'a Gateway, connections: u64, in_flight: u64) -> Calls<'a> {
        Calls {
            url: &gateway.url,
            pid: gateway.pid(),
            connections,
            in_flight,
            rate: None,
            encrypt: false,
            warm_up: self.plan.warm_up,
            measure: self.plan.measure,
        }
    }

    /// Has the generator make calls, every one of which must succeed.
    fn call(&mut self, calls: &Calls<'_>) -> Result<Called, Failure> {
        let called = self.generator.call(calls)?;
        eprintln!("  {}", tell(calls, &called));
        Ok(called)
    }

    /// A rate that is easy for the gateway: a third of its maximum on this machine
    /// with 64 connections.
    fn easy_rate(&mut self, gateway: &Gateway) -> Result<f64, Failure> {
        let all = self.call(&self.calls(gateway, 64, 1))?;
        Ok((all.requests_per_second / 3.0).max(100.0).round())
    }
}

impl Gateway {
    /// One call, made by a client.
    fn call_once(&self, folder: &Path) -> Result<(), Failure> {
        let mut command = std::process::Command::new(crate::gateway::BRIDGEHEAD);
        command.args(["call", crate::gateway::METHOD, crate::load::REQUEST, "--user", "bench-0"]);
        command.args(["--url", &self.url]).current_dir(folder);
        let process = Process::start("a first call", &mut command)?;
        process.result::<serde_json::Value>(Duration::from_secs(30)).map(drop)
    }
}

/// Calls and their results, in a line.
fn tell(calls: &Calls<'_>, called: &Called) -> String {
    let Calls { connections, in_flight, .. } = calls;
    let encrypted = if calls.encrypt { ", AES" } else { "" };
    let rate = calls.rate.map(|rate| format!(" at {rate:.0}/s")).unwrap_or_default();
    format!(
        "{connections} × {in_flight}{rate}{encrypted}: {:.2} µs of CPU a request, {:.0} requests \
         a second, median {:.0} µs; the generator {:.2} µs",
        called.gateway.cpu_us_per_request,
        called.requests_per_second,
        called.latency_us.p50,
        called.generator.cpu_us_per_request
    )
}

/// Samples of a load: the figures behind the ratios.
#[derive(Default)]
struct Series {
    cpu: Vec<f64>,
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    generator: Vec<f64>,
    warnings: Vec<String>,
}

impl Series {
    fn add(&mut self, called: &Called) {
        self.cpu.push(called.gateway.cpu_us_per_request);
        self.rate.push(called.requests_per_second);
        self.p50.push(called.latency_us.p50);
        self.p99.push(called.latency_us.p99);
        self.generator.push(called.generator.cpu_us_per_request);
        self.warnings.extend(called.warnings.iter().cloned());
    }

    fn add_direct(&mut self, measured: &DirectMeasured) {
        self.cpu.push(measured.cpu_us_per_call);
        self.rate.push(measured.calls_per_second);
        self.p50.push(measured.p50_us);
        self.p99.push(measured.p99_us);
    }

    /// The medians, as a line of the table of loads.
    fn line(&self, what: impl Into<String>) -> (String, [String; 5]) {
        let show = |unit: Unit, samples: &[f64]| unit.show(crate::figures::median(samples));
        let cells = [
            show(Unit::Micros, &self.cpu),
            show(Unit::PerSecond, &self.rate),
            show(Unit::Micros, &self.p50),
            show(Unit::Micros, &self.p99),
            show(Unit::Micros, &self.generator),
        ];
        (what.into(), cells)
    }
}

/// Each of the one by that of the other, round by round.
fn ratios(of: &[f64], to: &[f64]) -> Vec<f64> {
    of.iter().zip(to).map(|(of, to)| of / to).collect()
}
