//! BENCHMARKS.md, made of the results of a run. Pure: no clock, no I/O.

use crate::table::HEAD;
use crate::table::Row;

/// The results of a group of rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    /// The method of measurement.
    pub(crate) intro: String,
    pub(crate) rows: Vec<Row>,
    /// The loads behind the ratios: name, and the cells of [`LOADS_HEAD`].
    pub(crate) loads: Vec<(String, [String; 5])>,
    pub(crate) warnings: Vec<String>,
}

/// A group, or why there is none.
#[derive(Debug)]
pub(crate) struct Part {
    /// As `BENCH_ROWS` has it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) outcome: Result<Group, String>,
}

/// The whole document.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) parts: Vec<Part>,
    /// Command lines of the load generator.
    pub(crate) commands: Vec<String>,
    /// Notes before everything else, such as that this was a quick run.
    pub(crate) notes: Vec<String>,
}

const LOADS_HEAD: &str = "\n| medians | CPU a request | requests a second | p50 | p99 | generator's CPU |\n\
                          | --- | ---: | ---: | ---: | ---: | ---: |\n";

impl Document {
    /// Rows that meet their targets, and rows that have one.
    pub(crate) fn score(&self) -> (usize, usize) {
        let rows = self.parts.iter().filter_map(|part| part.outcome.as_ref().ok());
        let verdicts: Vec<_> = rows.flat_map(|group| &group.rows).filter_map(Row::is_met).collect();
        (verdicts.iter().filter(|met| **met).count(), verdicts.len())
    }

    /// Whether every group could be measured.
    pub(crate) fn is_complete(&self) -> bool {
        self.parts.iter().all(|part| part.outcome.is_ok())
    }

    pub(crate) fn markdown(&self) -> String {
        let (met, of) = self.score();
        let mut text = "# Benchmarks\n\n".to_owned();
        text +=
            "Written by `make bench`: all figures are of one run, on one machine, side by side.\n";
        for note in &self.notes {
            text += &format!("\n**{note}**\n");
        }
        text += &format!("\n{met} of {of} targets are met.\n\n| | |\n| --- | --- |\n");
        for (name, fact) in &self.facts {
            text += &format!("| {name} | {fact} |\n");
        }
        for part in &self.parts {
            text += &format!("\n## {}\n\n", part.title);
            match &part.outcome {
                Ok(group) => text += &group.markdown(),
                Err(why) => text += &format!("Not measured:\n\n```text\n{why}\n```\n"),
            }
        }
        text += method();
        let names: Vec<_> = self.parts.iter().map(|part| part.name).collect();
        text += &by_hand(&names);
        for command in &self.commands {
            text += &format!("{command}\n");
        }
        text + "```\n"
    }
}

impl Group {
    fn markdown(&self) -> String {
        let mut text = format!("{}\n\n{HEAD}", self.intro);
        for row in &self.rows {
            text += &row.markdown();
        }
        if !self.loads.is_empty() {
            text += LOADS_HEAD;
        }
        for (what, cells) in &self.loads {
            text += &format!("| {what} | {} |\n", cells.join(" | "));
        }
        // The same one comes in every round, with other figures in it.
        let words = |warning: &str| warning.replace(|c: char| c.is_ascii_digit(), "");
        let mut told: Vec<(&str, usize)> = Vec::new();
        for warning in &self.warnings {
            match told.iter_mut().find(|(other, _)| words(other) == words(warning)) {
                Some((_, count)) => *count += 1,
                None => told.push((warning, 1)),
            }
        }
        for (warning, count) in told {
            let times = if count == 1 { String::new() } else { format!(", {count} times") };
            text += &format!("\nThe generator warned{times}: {warning}\n");
        }
        text
    }
}

fn by_hand(groups: &[&str]) -> String {
    format!(
        "
## By hand

A group of rows, one of {}; or seconds of everything, only to see it run:

```sh
BENCH_ROWS={} make bench
BENCH_QUICK=1 make bench
```

What the run has started beside the service, against a gateway at $URL whose process is $PID:

```sh
",
        groups.join(", "),
        groups.first().unwrap_or(&"")
    )
}

fn method() -> &'static str {
    "
## Method

A microsecond of one machine is not one of another, and not even of the same one an hour later. So what counts are ratios
of figures measured within seconds of each other, round after round: the tables have their medians and the least and
most of all rounds.

**The yardstick** is a tonic client that calls the same service itself: a `Channel` with its defaults, messages
encoded and decoded by prost, on one `current_thread` runtime, sending the very bytes that the gateway sends for the
client's request. It runs before, between and after what is compared with it.

**The gateway** is `bridgehead serve` of the same build with logs, metadata and identity as they come. It replaces
`commonReq` in every request, and looks for a code in every answer.

**The service** is tonic, one runtime a core, and the same process for all. It answers with 74 bytes, at once.

**CPU time** is what the kernel's scheduler has counted for all threads of a process, in user space and in the kernel,
so that what a client, a gateway or a service spends is told apart though they share the cores.

**The load** comes from `bridgehead bench`, in a process of its own on the same cores; what it takes is in the tables.
It takes from the throughput through the gateway what the direct client, which is the load itself, does not need.

**Floors** are programs that do the least of what must be done: a WebSocket server on the same stack (tokio,
tokio-tungstenite, small buffers, a runtime a core) that answers by itself, under the same load; and a loop of write(2) of one
frame to non-blocking sockets, which another process drains.

Where a target is missed, [ARCHITECTURE.md](ARCHITECTURE.md#what-things-cost) says, from profiles, where the time goes.
"
}
