//! The machine of the run, and the versions of the software.

use std::fs;
use std::process::Command;

/// Facts, as a table for people.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field("/proc/meminfo", "MemTotal:")
        .and_then(|text| text.strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or_else(unknown, |kib| {
            format!("{:.1} GiB", crate::figures::number(kib) / f64::from(1 << 20))
        });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let kernel = kernel.map_or_else(unknown, |text| text.trim().to_owned());
    vec![
        ("CPU", field("/proc/cpuinfo", "model name").unwrap_or_else(unknown)),
        ("cores", cores.to_string()),
        ("memory", memory),
        ("kernel", kernel),
        ("rustc", said_by("rustc", &["--version"]).unwrap_or_else(unknown)),
        ("bridgehead", version()),
        ("tonic", locked("tonic").unwrap_or_else(unknown)),
        ("tokio-tungstenite", locked("tokio-tungstenite").unwrap_or_else(unknown)),
    ]
}

/// The load of the machine, over a minute, as uptime(1) shows it.
pub(crate) fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// How many sessions a process of this machine may hold, and a few files.
pub(crate) fn most_sessions() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.unwrap_or(u64::MAX).saturating_sub(300)
}

/// The CPUs that this process may use.
pub(crate) fn cpus() -> Vec<usize> {
    let list = field("/proc/self/status", "Cpus_allowed_list:").unwrap_or_default();
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The text behind a name and, where there is one, its colon.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start().trim_start_matches(':').trim().to_owned())
}

fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn version() -> String {
    let build = if cfg!(debug_assertions) { ", a debug build" } else { "" };
    let commit = said_by("git", &["rev-parse", "--short=12", "HEAD"]);
    let others = ["status", "--porcelain", "--untracked-files=no", "--", ".", ":!BENCHMARKS.md"];
    let changed = said_by("git", &others);
    let changed = if changed.is_some_and(|files| !files.is_empty()) { " with changes" } else { "" };
    let commit = commit.map(|commit| format!(", commit {commit}{changed}")).unwrap_or_default();
    format!("{}{commit}{build}", env!("CARGO_PKG_VERSION"))
}

/// The version of a crate that was built in.
fn locked(name: &str) -> Option<String> {
    let lock = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split('"').next().map(str::to_owned)
}
