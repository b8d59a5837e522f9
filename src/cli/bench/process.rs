//! What the gateway's process has taken, as Linux counts it in /proc.

use std::fs;
use std::time::Duration;

use crate::cli::failure::Failure;

/// A process of this machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process(u32);

/// What it has taken until a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// CPU time of all threads, in user space and in the kernel. It is counted
    /// in ticks, mostly of 10 ms.
    pub(super) cpu: Duration,
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
    /// A process that is there.
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
        let cpu = Duration::from_secs(ticks) / u32::try_from(a_second).unwrap_or(100);
        Ok(Sample { cpu, memory: self.read("status", memory)? })
    }

    fn read<T>(self, name: &str, parse: fn(&str) -> Option<T>) -> Result<T, Failure> {
        let path = format!("/proc/{}/{name}", self.0);
        let text = fs::read_to_string(&path);
        text.ok()
            .and_then(|text| parse(&text))
            .ok_or_else(|| Failure::failed(format!("the gateway's process is gone ({path})")))
    }
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
    }
}
