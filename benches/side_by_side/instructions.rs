//! `make instructions`: counts the instructions that the gateway's process takes in
//! user space, and compares them with the recorded ones in
//! `benches/instructions.json`.
//!
//! Times differ from run to run on a machine with neighbours; instructions hardly
//! do. So this shows whether a change made the straight lines longer. callgrind
//! counts them, in the release build, with one worker. Of two runs with different
//! amounts of work only the difference counts: start, logins and end are in neither
//! figure.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::failure::{Context as _, Failure};
use crate::gateway::{BRIDGEHEAD, Folder, METHOD, Setup};
use crate::parts;

/// How many more instructions than the recorded ones pass, in percent, where one
/// thread does everything in order.
const TOLERANCE: f64 = 5.0;
/// The same of pushes: how many pongs are read and how many receipts are
/// written in one go is another in each run, and with it up to a fifth of them.
/// So they are counted three times, and the least is compared.
const LOOSE: f64 = 30.0;
const LOOSE_RUNS: usize = 3;
/// callgrind makes everything slow.
const PATIENCE: Duration = Duration::from_secs(300);

/// A case: its name, the words of `bridgehead bench`, and the counted operations in
/// one unit of work.
struct Case {
    name: &'static str,
    words: &'static [&'static str],
    /// The option for the amount of work, and the smaller amount.
    amount: (&'static str, u64),
    /// Counted operations in one unit of the amount.
    each: f64,
    tolerance: f64,
}

const CASES: [Case; 5] = [
    Case {
        name: "a request, 1 connection with 1 in flight",
        words: &["call", METHOD, "{}", "--connections", "1", "--in-flight", "1"],
        amount: ("--requests", 2000),
        each: 1.0,
        tolerance: TOLERANCE,
    },
    Case {
        name: "a request, 1 connection with 64 in flight",
        words: &["call", METHOD, "{}", "--connections", "1", "--in-flight", "64"],
        amount: ("--requests", 4000),
        each: 1.0,
        tolerance: TOLERANCE,
    },
    Case {
        name: "a request, 64 connections with 1 in flight",
        words: &["call", METHOD, "{}", "--connections", "64", "--in-flight", "1"],
        amount: ("--requests", 4000),
        each: 1.0,
        tolerance: TOLERANCE,
    },
    Case {
        name: "an encrypted request, 1 connection with 64 in flight",
        words: &[
            "call",
            METHOD,
            "{}",
            "--connections",
            "1",
            "--in-flight",
            "64",
            "--encrypt",
            "session.pub.pem",
        ],
        amount: ("--requests", 4000),
        each: 1.0,
        tolerance: TOLERANCE,
    },
    Case {
        name: "a delivery of a push to 500 sessions",
        words: &["push", "--sessions", "500"],
        amount: ("--rounds", 5),
        each: 500.0,
        tolerance: LOOSE,
    },
];

/// The figures that are written down.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Figures {
    /// The compiler that they were counted with: others make other code.
    rustc: String,
    instructions: BTreeMap<String, u64>,
}

/// Counts everything, and fails if something takes longer than it did.
pub(crate) fn check() -> Result<(), Failure> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json"));
    let rustc = version("rustc")?;
    let counted = Figures { rustc, instructions: count()? };
    if std::env::var("WRITE").is_ok_and(|value| value == "1") {
        let text = serde_json::to_string_pretty(&counted).context("cannot write JSON")?;
        fs::write(&path, text + "\n").context(path.display())?;
        println!("written to {}", path.display());
        return Ok(());
    }
    let text = fs::read_to_string(&path).context(path.display())?;
    let known: Figures = serde_json::from_str(&text).context(path.display())?;
    if known.rustc != counted.rustc {
        println!("counted with {}, written down with {}", counted.rustc, known.rustc);
    }
    let mut grown = Vec::new();
    for (name, now) in &counted.instructions {
        let Some(before) = known.instructions.get(name) else {
            grown.push(format!("{name} is not written down"));
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let change = (*now as f64 / *before as f64 - 1.0) * 100.0;
        println!("{now:>8} instructions ({change:+.1} %): {name}");
        let tolerance =
            CASES.iter().find(|case| case.name == name).map_or(TOLERANCE, |case| case.tolerance);
        if change > tolerance {
            grown.push(format!(
                "{name}: {now} instructions instead of {before} ({change:+.1} %, {tolerance} % pass)"
            ));
        } else if change < -tolerance {
            println!("         fewer: write them down with `make instructions WRITE=1`");
        }
    }
    if grown.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "over what is written down in {}:\n  {}\nMake it shorter; or, if \
         it is worth it, run `make instructions WRITE=1` and say why in the commit.",
        path.display(),
        grown.join("\n  ")
    )))
}

fn count() -> Result<BTreeMap<String, u64>, Failure> {
    version("valgrind")?;
    let directory = TempDir::new().context("cannot make a folder")?;
    let folder = Folder::make(directory.path())?;
    let (_service, address) = parts::serve(&["service"])?;
    let mut all = BTreeMap::new();
    for case in CASES {
        let runs = if case.tolerance > TOLERANCE { LOOSE_RUNS } else { 1 };
        let mut least = f64::INFINITY;
        for _ in 0..runs {
            least = least.min(count_case(&case, &folder, directory.path(), address)?);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        all.insert(case.name.to_owned(), least.round() as u64);
        eprintln!("{least:8.0} {}", case.name);
    }
    Ok(all)
}

/// Counts one case: the difference between two runs.
fn count_case(
    case: &Case,
    folder: &Folder,
    directory: &Path,
    address: SocketAddr,
) -> Result<f64, Failure> {
    let (option, less) = case.amount;
    let mut totals = [0; 2];
    for (total, amount) in totals.iter_mut().zip([less, 2 * less]) {
        let file = directory.join("callgrind.out");
        let out = format!("--callgrind-out-file={}", file.display());
        let under = ["valgrind", "--tool=callgrind", &out];
        let setup = Setup { cpus: &[0], under: &under, ..Setup::default() };
        let gateway = folder.start(address, &setup)?;
        let mut command = Command::new(BRIDGEHEAD);
        command.current_dir(directory).arg("bench").args(case.words);
        command.args([option, &amount.to_string(), "--url", &gateway.url]);
        match case.words {
            ["push", ..] => command.args(["--push-url", &gateway.push_url]),
            _ => command.args(["--warmup", "0s"]),
        };
        let output = command.output().context(BRIDGEHEAD)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failure::new(format!("{}: {said}", case.name)));
        }
        gateway.process.terminate(PATIENCE)?;
        *total = instructions_in(&file)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = totals[1].saturating_sub(totals[0]) as f64 / (less as f64 * case.each);
    Ok(each)
}

/// The sum that a file of callgrind's ends with.
fn instructions_in(file: &Path) -> Result<u64, Failure> {
    let text = fs::read_to_string(file).context(file.display())?;
    let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
    let total = total.or_else(|| text.lines().find_map(|line| line.strip_prefix("totals: ")));
    total.and_then(|total| total.trim().parse().ok()).context("callgrind has counted nothing")
}

fn version(program: &str) -> Result<String, Failure> {
    let output = Command::new(program).arg("--version").output();
    let output = output.context(format!("cannot run {program} (apt: valgrind)"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
