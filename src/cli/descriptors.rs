//! File descriptors: each connection takes one, and the limit that a process
//! starts with is often 1024, for the sake of programs that use `select`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::failure::Failure;
use crate::config::EdgeConfig;

/// Descriptors of a process besides its connections.
const OTHERS: u64 = 64;
/// A limit below this is one for programs with few connections.
const LOW: u64 = 10_000;

/// Raises the limit as far as this process may.
pub(super) fn allow_all() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, the present limit will do.
    let _tried = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Warns where the limit is below the configured number: clients beyond it would
/// get no refusal from a full gateway. The default of `edge.max_connections` is not
/// a choice of the user, so below that only a limit that is low is worth a warning.
pub(super) fn warn_below(connections: u32) {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return };
    if matters(limit, connections) {
        tracing::warn!(
            limit,
            max_connections = connections,
            "this process may have fewer files open than edge.max_connections, and each connection \
             takes one: clients beyond the limit are not accepted, and not told that the gateway is \
             full; raise the limit of open files (`ulimit -Hn`, LimitNOFILE= of systemd, --ulimit \
             nofile= of docker), or set edge.max_connections below it"
        );
    }
}

fn matters(limit: u64, connections: u32) -> bool {
    let is_chosen = connections != EdgeConfig::default().max_connections;
    limit < u64::from(connections) + OTHERS && (is_chosen || limit < LOW)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_warned_of_where_it_is_low_or_below_what_was_chosen() {
        let default = EdgeConfig::default().max_connections;
        for (limit, connections, is_warned_of) in [
            (1024, default, true),
            (20_000, default, false),
            (20_000, 50_000, true),
            (20_000, 19_936, false),
            (20_000, 19_937, true),
            (1024, 500, false),
        ] {
            assert_eq!(matters(limit, connections), is_warned_of, "{limit} for {connections}");
        }
    }
}
