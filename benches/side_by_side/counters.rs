//! CPU time and memory of a process, as Linux counts them in /proc.

use std::fs;
use std::time::Duration;

use crate::failure::{Context as _, Failure};

/// CPU time of all threads of a process that are there, in user space and in
/// the kernel. The scheduler counts it in nanoseconds; of a thread that is
/// running just now the last tick (1 to 10 ms) may be missing.
pub(crate) fn cpu(pid: u32) -> Result<Duration, Failure> {
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).context(&folder)?;
    let mut nanos = 0;
    for thread in threads {
        let path = thread.context(&folder)?.path().join("schedstat");
        // A thread may end between the two.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let spent: Option<u64> = text.split_whitespace().next().and_then(|n| n.parse().ok());
        nanos += spent.context(format!("{} is not as expected: {text}", path.display()))?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Resident memory now, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64, Failure> {
    status(pid, "VmRSS:")
}

/// The most resident memory since the process began, or since [`forget_peak`].
pub(crate) fn peak(pid: u32) -> Result<u64, Failure> {
    status(pid, "VmHWM:")
}

/// Has [`peak`] begin anew.
pub(crate) fn forget_peak(pid: u32) -> Result<(), Failure> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").context(path)
}

/// Open file descriptors now.
pub(crate) fn descriptors(pid: u32) -> Result<usize, Failure> {
    let folder = format!("/proc/{pid}/fd");
    Ok(fs::read_dir(&folder).context(folder)?.count())
}

fn status(pid: u32, name: &str) -> Result<u64, Failure> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).context(&path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).context(format!("{path} has no {name}"))
}
