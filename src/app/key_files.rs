//! The files of keys, certificates and tokens that a configuration names, checked
//! without a gateway.

use super::problem::Problem;
use super::{cluster, push, secrets, trace};
use crate::config::Config;

/// Problems of the files of keys, certificates and tokens that a configuration
/// names outside of `upstreams` and `auth`, which [`super::Resolver`] checks.
/// Must be called inside a runtime.
#[must_use]
pub fn problems(config: &Config) -> Vec<Problem> {
    let checks = [
        secrets::client_tls(config).map(drop),
        secrets::session_key(config).map(drop),
        push::Door::new(config).map(drop),
        cluster::check(config),
        trace::check(config),
    ];
    checks.into_iter().filter_map(Result::err).collect()
}
