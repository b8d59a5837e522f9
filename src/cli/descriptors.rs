//! File descriptors: each connection takes one, and the limit that a process
//! starts with is often 1024, for the sake of programs that use `select`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::failure::Failure;

/// What a process needs besides its connections.
const OTHERS: u64 = 64;

/// Raises the limit as far as this process may.
pub(super) fn allow_all() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, that will do that is there.
    let _tried = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// The same, where so many connections are needed.
pub(super) fn allow(connections: u64) -> Result<(), Failure> {
    allow_all();
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < connections.saturating_add(OTHERS) => {
            let most = limit.saturating_sub(OTHERS);
            Err(Failure::usage(format!(
                "{connections} sessions need as many file descriptors, and this process may have \
                 {limit}"
            ))
            .help(format!("raise the hard limit (ulimit -Hn), or open {most} sessions at most")))
        }
        _ => Ok(()),
    }
}
