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

/// Says so in the log where the limit is below what the configuration allows:
/// clients beyond it would not be told that the gateway is full.
pub(super) fn warn_below(connections: u32) {
    let limit = getrlimit(Resource::Nofile).current;
    if let Some(limit) = limit.filter(|limit| *limit < u64::from(connections) + OTHERS) {
        tracing::warn!(
            limit,
            max_connections = connections,
            "file descriptors will run out before edge.max_connections is reached; raise the hard \
             limit of open files (ulimit -Hn), or lower max_connections"
        );
    }
}

/// The same as [`allow_all`], where so many connections are needed.
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
