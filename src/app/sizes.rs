//! Checks that the headers of calls are small enough for services.

use std::collections::BTreeSet;

use super::problem::Problem;
use crate::call;
use crate::config::Config;
use crate::routing::RouteTable;
use crate::upstream::{Address, Destination, call_size};

/// The limit of a call's headers in services, by default: gRPC's C core,
/// grpc-node and others. RFC 9113, section 6.5.2, says how they are counted.
const MOST: usize = 8 * 1024;

/// Reports upstreams whose calls could exceed the limit, which only their
/// configuration can cause.
pub(super) fn check(
    config: &Config,
    routes: &RouteTable<Destination>,
    problems: &mut Vec<Problem>,
) {
    let mut named = BTreeSet::new();
    for route in routes.routes() {
        let Destination { upstream, rules } = &route.upstream;
        let authority = upstream.config().address.iter().map(authority_len).max();
        let call = call_size(authority.unwrap_or_default(), route.path.as_str().len());
        let platforms = &config.session.platforms;
        let most = call::most_metadata(rules.as_deref(), platforms, &route.name) + call;
        if most >= MOST && named.insert(upstream.name().to_owned()) {
            let message = format!(
                "the headers of a call of `{}` may come to {most} bytes, and services refuse \
                 {MOST}: what `set` adds must be {} bytes shorter, or more must be dropped, such \
                 as `authorization`",
                route.name,
                most + 1 - MOST
            );
            problems.push(Problem::at(["upstreams", upstream.name(), "metadata", "set"], message));
        }
    }
}

/// The length of `:authority` in calls to an address.
fn authority_len(address: &Address) -> usize {
    match address {
        Address::Http(at) | Address::Https(at) | Address::Dns(at) => at.authority().as_str().len(),
        Address::Unix(_) => "localhost".len(),
    }
}
