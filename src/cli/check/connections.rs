//! Whether the upstreams' addresses are those of gRPC servers.

use futures_util::future::join_all;

use crate::app::{Problem, Resolved};
use crate::config::{Config, Descriptors};
use crate::upstream::{self, Unfit, UnfitKind, Upstream};

/// Problems with addresses. Upstreams are tried if their descriptors come from
/// files, or if they did not answer reflection; the others have answered.
pub(super) async fn problems(config: &Config, resolved: &Resolved) -> Vec<Problem> {
    let tried = resolved.services.upstreams.iter().filter_map(|upstream| {
        let pending = resolved.pending.iter().find(|(name, _)| name == upstream.name());
        let reflected = pending.map(|(_, reason)| reason.as_str());
        let described = config.upstreams.get(upstream.name())?;
        let is_silent = reflected.is_some() || described.descriptors != Descriptors::Reflection;
        is_silent.then(|| problem(upstream, reflected))
    });
    join_all(tried).await.into_iter().flatten().collect()
}

/// The problem with one upstream. `reflected`: why it was not described.
async fn problem(upstream: &Upstream, reflected: Option<&str>) -> Option<Problem> {
    let name = upstream.name();
    let unfit = upstream::probe(upstream).await.err();
    let message = match (reflected, &unfit) {
        (Some(reason), _) => reason.to_owned(),
        (None, Some(Unfit { reason, .. })) => format!("`{name}` cannot be reached: {reason}"),
        (None, None) => return None,
    };
    let help = match unfit.map(|unfit| unfit.kind) {
        Some(UnfitKind::Unreachable) => {
            "start the service, or leave it out of this check: --offline"
        }
        Some(UnfitKind::Tls) => {
            "a server answers there, and TLS with it fails: is it the port of the service, and are \
             `tls.ca` and `tls.domain` those of its certificate? --offline leaves it out of this \
             check"
        }
        Some(UnfitKind::NotGrpc) => {
            "something answers there that is not a gRPC server, or not with the TLS of this scheme: \
             write the gRPC port of the service; --offline leaves it out of this check"
        }
        None => {
            "a gRPC server answers there, but not to reflection: name descriptor set files under \
             `descriptors`, or leave it out of this check: --offline"
        }
    };
    let path = ["upstreams", name, "address"].map(str::to_owned).into();
    Some(Problem { path, message, help: Some(help.to_owned()) })
}
