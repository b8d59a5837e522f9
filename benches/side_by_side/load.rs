//! The load generator, `bridgehead bench`: its command lines and its reports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::failure::Failure;
use crate::gateway::{BRIDGEHEAD, METHOD};
use crate::processes::Process;

/// The request: an answer to it has 74 bytes.
pub(crate) const REQUEST: &str = r#"{"page":{"page":1,"size":4}}"#;
/// How long a generator may take beyond its ordered duration.
const PATIENCE: Duration = Duration::from_secs(180);

/// Calls to make.
#[derive(Debug, Clone)]
pub(crate) struct Calls<'a> {
    pub(crate) url: &'a str,
    /// The process to count the CPU time of.
    pub(crate) pid: u32,
    pub(crate) connections: u64,
    pub(crate) in_flight: u64,
    /// Requests a second of all connections; absent, each as soon as there is
    /// the answer to one before.
    pub(crate) rate: Option<f64>,
    pub(crate) encrypt: bool,
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
}

/// The report of `bench call`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Called {
    pub(crate) requests_per_second: f64,
    pub(crate) latency_us: Latency,
    pub(crate) codes: BTreeMap<String, u64>,
    pub(crate) connections_lost: u64,
    #[serde(default)]
    pub(crate) unanswered: u64,
    pub(crate) gateway: Taken,
    pub(crate) generator: Taken,
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

impl Called {
    /// Calls that did not succeed, and connections that were lost.
    pub(crate) fn failures(&self) -> u64 {
        let failed = self.codes.iter().filter(|(code, _)| *code != "0");
        let failed: u64 = failed.map(|(_, count)| count).sum();
        failed + self.connections_lost + self.unanswered
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// A process's costs of a request.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Taken {
    pub(crate) cpu_us_per_request: f64,
}

/// Sessions to open.
#[derive(Debug, Clone)]
pub(crate) struct Crowd<'a> {
    pub(crate) url: &'a str,
    pub(crate) pid: u32,
    pub(crate) sessions: u64,
    pub(crate) encrypt: bool,
    pub(crate) hold: Duration,
    /// The words about the burst that all sessions carry in the end, if any.
    pub(crate) burst: &'a [&'a str],
}

/// The report of `bench idle`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Opened {
    pub(crate) handshakes_per_second: f64,
    pub(crate) gateway: Held,
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// The gateway's costs of sessions.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Held {
    pub(crate) cpu_us_per_handshake: f64,
    pub(crate) resident_before_bytes: f64,
    pub(crate) resident_bytes: f64,
    pub(crate) resident_bytes_per_session: f64,
    pub(crate) kernel_bytes_per_session: Option<f64>,
    pub(crate) resident_after_hold_bytes: Option<f64>,
    pub(crate) resident_after_burst_bytes_per_session: Option<f64>,
}

/// Starts generators, and keeps their command lines for readers who want to do the
/// same by hand.
#[derive(Debug)]
pub(crate) struct Generator {
    folder: PathBuf,
    commands: Vec<String>,
}

impl Generator {
    /// `folder` is where the gateway's configuration is.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), commands: Vec::new() }
    }

    /// The different command lines until now.
    pub(crate) fn commands(&self) -> &[String] {
        &self.commands
    }

    /// Makes calls; every one must succeed.
    pub(crate) fn call(&mut self, calls: &Calls<'_>) -> Result<Called, Failure> {
        let patience = calls.warm_up + calls.measure + PATIENCE;
        let called: Called = self.start_call(calls)?.result(patience)?;
        if called.failures() > 0 {
            return Err(Failure::new(format!("not all calls succeeded: {:?}", called.codes)));
        }
        Ok(called)
    }

    /// Starts it, and leaves the report to be waited for.
    pub(crate) fn start_call(&mut self, calls: &Calls<'_>) -> Result<Process, Failure> {
        let mut words = vec!["call".to_owned(), METHOD.to_owned(), REQUEST.to_owned()];
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        option("--connections", calls.connections.to_string());
        option("--in-flight", calls.in_flight.to_string());
        if let Some(rate) = calls.rate {
            option("--rate", format!("{rate:.0}"));
        }
        option("--warmup", duration(calls.warm_up));
        option("--duration", duration(calls.measure));
        if calls.encrypt {
            option("--encrypt", "session.pub.pem".to_owned());
        }
        self.start(words, calls.url, calls.pid)
    }

    /// Opens sessions, and reports when they are closed again.
    pub(crate) fn idle(&mut self, crowd: &Crowd<'_>) -> Result<Opened, Failure> {
        self.start_idle(crowd)?.result(crowd.hold + 4 * PATIENCE)
    }

    /// The same, left to be waited for.
    pub(crate) fn start_idle(&mut self, crowd: &Crowd<'_>) -> Result<Process, Failure> {
        let mut words = vec!["idle".to_owned()];
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        option("--sessions", crowd.sessions.to_string());
        option("--hold", duration(crowd.hold));
        option("--user-prefix", "crowd-".to_owned());
        if crowd.encrypt {
            option("--encrypt", "session.pub.pem".to_owned());
        }
        words.extend(crowd.burst.iter().map(ToString::to_string));
        self.start(words, crowd.url, crowd.pid)
    }

    fn start(&mut self, mut words: Vec<String>, url: &str, pid: u32) -> Result<Process, Failure> {
        if url.starts_with("wss:") {
            words.push("--insecure".to_owned());
        }
        let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
        let told = format!("bridgehead bench {} --url $URL --pid $PID --json", quoted.join(" "));
        if !self.commands.contains(&told) {
            self.commands.push(told);
        }
        let mut command = Command::new(BRIDGEHEAD);
        command.arg("bench").args(&words);
        command.args(["--url", url, "--pid", &pid.to_string(), "--json"]);
        Process::start(format!("bench {}", words[0]), command.current_dir(&self.folder))
    }
}

fn duration(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// A word as a shell wants it; a long one is left out.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=".contains(c);
    if word.len() > 200 {
        return "'…'".to_owned();
    }
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{word}'") }
}
