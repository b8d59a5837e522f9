//! From the callouts of a configuration to RPCs that can be called: of `auth`
//! and of `hooks`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderMap;
use http::uri::PathAndQuery;

use super::resolve::Problem;
use crate::callout::{self, Call, Callout};
use crate::config::{Auth, Config, HooksConfig, RpcCall};
use crate::hooks::{Event, Hook, Hooks};
use crate::routing::Descriptors;
use crate::upstream::{self, Metadata, Own, Upstream};

/// The keys that lead to a callout.
pub(super) type Place = [&'static str; 2];

/// An upstream that an RPC may be called at.
pub(super) struct Callee {
    pub(super) upstream: Arc<Upstream>,
    /// As far as they are known.
    pub(super) descriptors: Option<Arc<Descriptors>>,
    /// How long a call may take.
    pub(super) timeout: Duration,
}

/// Every callout that a configuration has.
pub(super) fn all(config: &Config) -> impl Iterator<Item = (Place, &RpcCall)> {
    let auth = match &config.auth {
        Auth::Rpc(call) => Some(call),
        Auth::Jwt(_) | Auth::None(_) => None,
    };
    let HooksConfig { connected, disconnected } = &config.hooks;
    let all = [
        (["auth", "rpc"], auth),
        (place_of(Event::Connected), connected.as_ref()),
        (place_of(Event::Disconnected), disconnected.as_ref()),
    ];
    all.into_iter().filter_map(|(place, call)| Some((place, call?)))
}

/// Makes the hooks. `callee` finds an upstream by its name. A hook that has a
/// problem, or that nothing is known of yet, is pending.
pub(super) fn hooks(
    config: &HooksConfig,
    problems: &mut Vec<Problem>,
    callee: impl Fn(&str) -> Option<Callee>,
) -> Hooks {
    let mut hook = |event: Event, call: Option<&RpcCall>| {
        let call = call?;
        let made = callee(&call.upstream)
            .and_then(|callee| make(call, place_of(event), &event.placeholders(), callee, problems))
            .map(|(callout, call)| Hook::new(callout, call));
        Some(made.unwrap_or_else(Hook::pending))
    };
    let connected = hook(Event::Connected, config.connected.as_ref());
    Hooks::new(connected, hook(Event::Disconnected, config.disconnected.as_ref()))
}

fn place_of(event: Event) -> Place {
    ["hooks", event.name()]
}

/// Makes a callout of `callee`, and the way to call it. `None` if its
/// descriptors are not known yet, or after a problem.
pub(super) fn make(
    config: &RpcCall,
    place: Place,
    placeholders: &[&str],
    callee: Callee,
    problems: &mut Vec<Problem>,
) -> Option<(Callout, Call)> {
    let Callee { upstream, descriptors, timeout } = callee;
    let descriptors = descriptors?;
    if config.rpc.is_empty() {
        return None; // reported when the file was read
    }
    let [section, name] = place;
    let problem = |message: String| Problem::at([section, name, "rpc"], message);
    let method = match descriptors.method(&config.rpc) {
        Ok(method) if method.is_client_streaming() || method.is_server_streaming() => {
            let message =
                format!("`{}` is a streaming method; only unary ones can be called", config.rpc);
            problems.push(problem(message));
            return None;
        }
        Ok(method) => method,
        Err(error) => {
            problems.push(problem(error.to_string()));
            return None;
        }
    };
    let path = match PathAndQuery::try_from(format!("/{}", config.rpc)) {
        Ok(path) => path,
        Err(error) => {
            problems.push(problem(error.to_string()));
            return None;
        }
    };
    let callout = callout::Config {
        method,
        request: config.request.clone(),
        accept_when: config.accept_when.clone(),
        reason: config.reason.clone(),
    };
    match Callout::new(callout, placeholders) {
        Ok(callout) => Some((callout, call(upstream, path, timeout))),
        Err(errors) => {
            problems.extend(errors.into_iter().map(|error| {
                // `request.connParam.userId` leads to that very key in the file.
                let keys = place.into_iter().chain(error.path.split('.'));
                let path = keys.map(str::to_owned).collect();
                Problem { path, message: error.problem.to_string(), help: None }
            }));
            None
        }
    }
}

fn call(upstream: Arc<Upstream>, path: PathAndQuery, timeout: Duration) -> Call {
    let metadata = Arc::new(Metadata::new(HeaderMap::new()));
    Arc::new(move |worker, message| {
        let (path, metadata, own) = (path.clone(), Arc::clone(&metadata), Own::default());
        let (retry, trail) = (false, None);
        let hurried = false;
        let call = upstream::Call { path, metadata, own, message, timeout, hurried, retry, trail };
        upstream.call(worker, call).map(|result| result.map_err(|error| error.status)).boxed()
    })
}
