//! Memory that the kernel holds for sockets, which is no process's own.

use std::fs;

/// Of the whole machine, in bytes, at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kernel {
    /// `Slab` of `/proc/meminfo`: sockets, files, inodes, the state of epoll, and
    /// everything else that the kernel allocates in small pieces.
    slab: u64,
    /// `mem` of `/proc/net/sockstat`: pages that are set aside for data in the
    /// buffers of TCP sockets.
    buffers: u64,
}

impl Kernel {
    /// `None` where the kernel does not report it.
    pub(super) fn sample() -> Option<Self> {
        let read = |path| fs::read_to_string(path).ok();
        let pages = pages(&read("/proc/net/sockstat")?)?;
        let buffers = pages * rustix::param::page_size() as u64;
        Some(Self { slab: slab(&read("/proc/meminfo")?)?, buffers })
    }

    /// How much it has grown since an earlier sample, for each of so many
    /// connections with *one* of their ends: both are on this machine, and half
    /// is the gateway's. Negative where it has shrunk.
    #[expect(clippy::cast_precision_loss, reason = "no measurement is that exact")]
    pub(super) fn growth_per_end(self, earlier: Self, connections: usize) -> f64 {
        let all = |sample: Self| (sample.slab + sample.buffers) as f64;
        (all(self) - all(earlier)) / 2.0 / connections.max(1) as f64
    }
}

fn slab(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("Slab:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_words_are_understood() {
        assert_eq!(
            slab("MemFree: 7 kB\nSlab:      618744 kB\nSReclaimable: 1 kB\n"),
            Some(633_593_856)
        );
        let sockstat =
            "sockets: used 10\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 57\nUDP: inuse 0 mem 3\n";
        assert_eq!(pages(sockstat), Some(57));
        assert_eq!((slab(""), pages("UDP: mem 1")), (None, None));
    }

    #[test]
    fn a_connection_has_two_ends() {
        let before = Kernel { slab: 1000, buffers: 500 };
        let after = Kernel { slab: 9000, buffers: 2500 };
        assert!((after.growth_per_end(before, 10) - 500.0).abs() < 1e-9);
        assert!(before.growth_per_end(after, 10) < 0.0);
    }
}
