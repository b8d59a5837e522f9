//! How much of everything, and which rows: set by the environment.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// The sizes of a run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) is_quick: bool,
    /// Rounds of the rows about requests.
    pub(crate) rounds: usize,
    /// Rounds of the rows that take long.
    pub(crate) few_rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
    /// Connections of the row that has many, with a request in flight each.
    pub(crate) many: u64,
    /// Connections between which a fixed rate is shared.
    pub(crate) connections: [u64; 3],
    /// Sessions of the rows about memory, fan-out and reconnects.
    pub(crate) sessions: u64,
    /// How long idle sessions are pinged.
    pub(crate) hold: Duration,
    /// The data that every session carries after that.
    pub(crate) burst: &'static str,
    /// Pushes that are measured together, and the pause behind each.
    pub(crate) pushes: u32,
    pub(crate) pause: Duration,
    /// How long reconnects should go on while calls are measured.
    pub(crate) storm: Duration,
    filter: Vec<String>,
    /// Where the table is written, if anywhere.
    pub(crate) output: Option<PathBuf>,
}

impl Plan {
    /// The real thing, or seconds of it, for a quick try.
    fn new(is_quick: bool) -> Self {
        let (millis, seconds) = (Duration::from_millis, Duration::from_secs);
        let full = Self {
            is_quick,
            rounds: 7,
            few_rounds: 5,
            warm_up: seconds(1),
            measure: seconds(2),
            many: 1000,
            connections: [10, 1000, 10_000],
            sessions: 15_000,
            hold: seconds(15),
            burst: "1MiB",
            pushes: 10,
            pause: millis(200),
            storm: seconds(8),
            filter: Vec::new(),
            output: None,
        };
        if !is_quick {
            return full;
        }
        Self {
            rounds: 1,
            few_rounds: 1,
            warm_up: millis(200),
            measure: millis(300),
            many: 100,
            connections: [10, 50, 100],
            sessions: 200,
            hold: seconds(1),
            burst: "64KiB",
            pushes: 2,
            pause: millis(50),
            storm: seconds(1),
            ..full
        }
    }

    /// The plan of the environment: `BENCH_QUICK`, `BENCH_ROWS`, `BENCH_OUT`.
    pub(crate) fn from_environment() -> Self {
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let mut plan = Self::new(text("BENCH_QUICK").is_some_and(|value| value != "0"));
        let rows = text("BENCH_ROWS").unwrap_or_default();
        plan.filter = rows.split(',').map(|word| word.trim().to_owned()).collect();
        plan.filter.retain(|word| !word.is_empty());
        // Only a whole run, and a long one, is published.
        let is_whole = !plan.is_quick && plan.filter.is_empty();
        let usual = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/BENCHMARKS.md"));
        plan.output = text("BENCH_OUT").map(PathBuf::from).or_else(|| is_whole.then(usual));
        plan
    }

    /// The same with so many sessions at most, and a note about the limit.
    pub(crate) fn limited(self, most: u64) -> (Self, Option<String>) {
        let limited = Self {
            sessions: self.sessions.min(most),
            many: self.many.min(most),
            connections: self.connections.map(|count| count.min(most)),
            ..self.clone()
        };
        let note = (limited.sessions < self.sessions).then(|| {
            format!(
                "The limit of open files (ulimit -Hn) leaves room for {most} sessions only, and \
                 {} were wanted.",
                self.sessions
            )
        });
        (limited, note)
    }

    /// Whether a group of rows is wanted.
    pub(crate) fn wants(&self, group: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|word| group.contains(word.as_str()))
    }
}
