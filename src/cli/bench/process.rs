//! CPU time and memory of the gateway's process, as Linux counts them in /proc, and
//! the CPU time of this one.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::figures::ratio;
use crate::cli::failure::Failure;

/// By how much the two ways of counting CPU time may differ, since the coarser one
/// counts ticks of 10 ms, mostly, and user space and kernel apart.
const ROUNDING: Duration = Duration::from_millis(40);

/// A process of this machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process(u32);

/// CPU time and memory until a moment.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// CPU time of all threads that there ever were, in user space and in the
    /// kernel, in ticks.
    ticks: Duration,
    /// CPU time of each thread that is there, in nanoseconds.
    threads: BTreeMap<u32, u64>,
    pub(super) memory: Memory,
}

/// Resident memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    /// Now.
    pub(super) resident: u64,
    /// At most, since the process began.
    pub(super) peak: u64,
}

impl Process {
    /// Finds a running process.
    pub(super) fn find(pid: u32) -> Result<Self, Failure> {
        let process = Self(pid);
        process.sample().map(|_| process).map_err(|_| {
            Failure::usage(format!("there is no process {pid} in /proc"))
                .help("--pid is that of the gateway, and it must run on this machine, with Linux")
        })
    }

    pub(super) fn pid(self) -> u32 {
        self.0
    }

    pub(super) fn sample(self) -> Result<Sample, Failure> {
        let ticks = self.read("stat", cpu_ticks)?;
        let a_second = rustix::param::clock_ticks_per_second();
        let ticks = Duration::from_secs(ticks) / u32::try_from(a_second).unwrap_or(100);
        Ok(Sample { ticks, threads: self.threads(), memory: self.read("status", memory)? })
    }

    fn read<T>(self, name: &str, parse: fn(&str) -> Option<T>) -> Result<T, Failure> {
        let path = format!("/proc/{}/{name}", self.0);
        let text = fs::read_to_string(&path);
        text.ok()
            .and_then(|text| parse(&text))
            .ok_or_else(|| Failure::failed(format!("the gateway's process is gone ({path})")))
    }

    /// The CPU time of each thread. Unreadable ones are left out.
    fn threads(self) -> BTreeMap<u32, u64> {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.0)) else {
            return BTreeMap::new();
        };
        let thread = |entry: fs::DirEntry| {
            let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
            let nanos = text.split_whitespace().next()?.parse().ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, nanos))
        };
        threads.flatten().filter_map(thread).collect()
    }
}

impl Sample {
    /// CPU time that was taken since an earlier sample: to the nanosecond, but
    /// without threads that have ended meanwhile. If those took much, it is counted
    /// in ticks.
    pub(super) fn cpu_since(&self, earlier: &Self) -> Duration {
        let ticks = self.ticks.saturating_sub(earlier.ticks);
        let thread = |(id, nanos): (&u32, &u64)| {
            nanos.saturating_sub(earlier.threads.get(id).copied().unwrap_or_default())
        };
        let exact = Duration::from_nanos(self.threads.iter().map(thread).sum());
        if exact.abs_diff(ticks) > ROUNDING.max(ticks / 50) { ticks } else { exact }
    }

    #[cfg(test)]
    pub(super) fn of(ticks: Duration, memory: Memory) -> Self {
        let nanos = u64::try_from(ticks.as_nanos()).unwrap();
        Self { ticks, threads: BTreeMap::from([(1, nanos)]), memory }
    }
}

/// CPU time that this process has taken.
#[derive(Debug, Default, Serialize)]
pub(super) struct Generator {
    pub(super) cpu_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_us_per_request: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_us_per_handshake: Option<f64>,
}

impl Generator {
    pub(super) fn of_requests(cpu: Duration, requests: u64) -> Self {
        let cpu_us_per_request = Some(ratio(cpu.as_secs_f64() * 1e6, requests));
        Self { cpu_seconds: cpu.as_secs_f64(), cpu_us_per_request, ..Self::default() }
    }

    pub(super) fn of_handshakes(cpu: Duration, handshakes: u64) -> Self {
        let cpu_us_per_handshake = Some(ratio(cpu.as_secs_f64() * 1e6, handshakes));
        Self { cpu_seconds: cpu.as_secs_f64(), cpu_us_per_handshake, ..Self::default() }
    }
}

/// CPU time of this process until now.
pub(super) fn own_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// utime and stime, of `proc_pid_stat(5)`. The name before them may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, behind_the_name) = stat.rsplit_once(')')?;
    let mut fields = behind_the_name.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

fn memory(status: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    Some(Memory { resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "17 (a) b (c)) S 1 17 17 0 -1 4194560 900 0 1 0 120 34 5 6 20 0 4 0 8800 1 2";
        assert_eq!(cpu_ticks(stat), Some(154));
        assert_eq!(cpu_ticks("17 (a) S 1"), None);
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let status = "Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t    20 kB\nVmRSS:\t    12 kB\n";
        assert_eq!(memory(status), Some(Memory { resident: 12 * 1024, peak: 20 * 1024 }));
        assert_eq!(memory("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn this_process_is_there_and_has_taken_something() {
        let process = Process::find(std::process::id()).unwrap();
        let memory = process.sample().unwrap().memory;
        assert!(memory.peak >= memory.resident && memory.resident > 0);
        assert!(Process::find(u32::MAX).is_err());
        assert!(own_cpu() > Duration::ZERO);
    }

    fn sample(ticks_ms: u64, threads: &[(u32, u64)]) -> Sample {
        let memory = Memory { resident: 0, peak: 0 };
        let threads = threads.iter().map(|(id, micros)| (*id, micros * 1000)).collect();
        Sample { ticks: Duration::from_millis(ticks_ms), threads, memory }
    }

    #[test]
    fn cpu_time_is_that_of_the_threads_where_none_has_ended() {
        let before = sample(1000, &[(1, 600_000), (2, 400_000)]);
        let after = sample(1030, &[(1, 612_345), (2, 410_000), (3, 5)]);
        assert_eq!(after.cpu_since(&before), Duration::from_micros(22_350));
        let without_two = sample(3000, &[(1, 612_345)]);
        assert_eq!(without_two.cpu_since(&before), Duration::from_secs(2));
        let without_any = sample(3000, &[]);
        assert_eq!(without_any.cpu_since(&before), Duration::from_secs(2));
    }
}
