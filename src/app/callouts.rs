//! From the callouts of a configuration to RPCs that can be called: of `auth`
//! and of `hooks`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderMap;
use http::uri::PathAndQuery;

use super::problem::Problem;
use crate::auth::{EachRequest, Login};
use crate::callout::{self, Call, Callout};
use crate::config::{Config, HooksConfig, Judge, RpcCall};
use crate::hooks::{Event, Hook, Hooks};
use crate::routing::Descriptors;
use crate::upstream::{self, Destination, Metadata, Own};

/// The keys that lead to a callout.
pub(super) type Place = [&'static str; 2];

/// The place of the RPC that verifies logins.
pub(super) const AUTH: Place = ["auth", "rpc"];
/// The place of the RPC that verifies requests.
pub(super) const EACH_REQUEST: Place = ["auth", "each_request"];

/// An upstream that an RPC may be called at.
pub(super) struct Callee {
    pub(super) destination: Destination,
    /// `None`: not known yet.
    pub(super) descriptors: Option<Arc<Descriptors>>,
    /// How long a call may take.
    pub(super) timeout: Duration,
}

/// Every callout that a configuration has.
pub(super) fn all(config: &Config) -> impl Iterator<Item = (Place, &RpcCall)> {
    let auth = match &config.auth.judge {
        Judge::Rpc(call) => Some(call),
        Judge::Jwt(_) | Judge::None(_) => None,
    };
    let each_request = config.auth.each_request.as_ref().map(|each| &each.call);
    let HooksConfig { connected, disconnected } = &config.hooks;
    let all = [
        (AUTH, auth),
        (EACH_REQUEST, each_request),
        (place_of(Event::Connected), connected.as_ref()),
        (place_of(Event::Disconnected), disconnected.as_ref()),
    ];
    all.into_iter().filter_map(|(place, call)| Some((place, call?)))
}

/// Makes the hooks. `callee` finds an upstream by its name. A hook is pending if
/// it has a problem, or if its upstream's descriptors are not known yet.
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

/// Doubtful settings of callouts. Skips callouts that have a problem, or whose
/// descriptors are not known yet.
pub(super) fn doubts(config: &Config, callee: impl Fn(&str) -> Option<Callee>) -> Vec<Problem> {
    let doubt = |(place, call): (Place, &RpcCall)| {
        let descriptors = callee(&call.upstream)?.descriptors?;
        let made = fit(call, place, &placeholders(place), &descriptors);
        let doubt = made.ok()?.doubt()?;
        let path = place.into_iter().chain([doubt.path]).map(str::to_owned).collect();
        Some(Problem { path, message: doubt.message, help: Some(doubt.help) })
    };
    all(config).filter_map(doubt).collect()
}

fn placeholders(place: Place) -> Vec<&'static str> {
    let event = Event::ALL.into_iter().find(|event| place_of(*event) == place);
    match event {
        Some(event) => event.placeholders(),
        None if place == EACH_REQUEST => EachRequest::placeholders().collect(),
        None => Login::placeholders().collect(),
    }
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
    let Callee { destination, descriptors, timeout } = callee;
    let descriptors = descriptors?;
    if config.rpc.is_empty() {
        return None; // reported when the file was read
    }
    let [section, name] = place;
    let made = fit(config, place, placeholders, &descriptors).and_then(|callout| {
        let path = PathAndQuery::try_from(format!("/{}", config.rpc));
        let path =
            path.map_err(|error| vec![Problem::at([section, name, "rpc"], error.to_string())]);
        Ok((callout, call(destination, path?, timeout)))
    });
    made.map_err(|found| problems.extend(found)).ok()
}

/// Checks a callout's configuration against the descriptors of its method.
fn fit(
    config: &RpcCall,
    place: Place,
    placeholders: &[&str],
    descriptors: &Descriptors,
) -> Result<Callout, Vec<Problem>> {
    let [section, name] = place;
    let problem = |message: String| vec![Problem::at([section, name, "rpc"], message)];
    let method = descriptors.method(&config.rpc).map_err(|error| problem(error.to_string()))?;
    if method.is_client_streaming() || method.is_server_streaming() {
        let message =
            format!("`{}` is a streaming method; only unary ones can be called", config.rpc);
        return Err(problem(message));
    }
    if section == "auth" && config.accept_when.is_none() && config.reject_when.is_none() {
        let message = "does not define which responses are accepted".to_owned();
        let help = "add `accept_when` with the fields of a response that accepts, such as \
                    `{ code: 0, msg: \"\" }`, or `reject_when`; `accept_when: {}` where the service \
                    refuses by its gRPC status";
        let path = place.map(str::to_owned).into();
        return Err(vec![Problem { path, message, help: Some(help.to_owned()) }]);
    }
    let callout = callout::Config {
        method,
        request: config.request.clone(),
        accept_when: config.accept_when.clone().unwrap_or_default(),
        reject_when: config.reject_when.clone(),
        reason: config.reason.clone(),
    };
    Callout::new(callout, placeholders).map_err(|errors| {
        let problem = |error: callout::ConfigError| {
            // `request.connParam.userId` leads to that very key in the file.
            let keys = place.into_iter().chain(error.path.split('.'));
            let path = keys.map(str::to_owned).collect();
            Problem { path, message: error.problem.to_string(), help: None }
        };
        errors.into_iter().map(problem).collect()
    })
}

fn call(destination: Destination, path: PathAndQuery, timeout: Duration) -> Call {
    let Destination { upstream, rules } = destination;
    let metadata = Metadata::new(HeaderMap::new());
    let metadata = Arc::new(match &rules {
        Some(rules) => metadata.under(rules),
        None => metadata,
    });
    Arc::new(move |worker, message| {
        let (path, metadata, own) = (path.clone(), Arc::clone(&metadata), Own::default());
        let (retry, trail) = (false, None);
        let hurried = false;
        let call = upstream::Call { path, metadata, own, message, timeout, hurried, retry, trail };
        upstream.call(worker, call).map(|result| result.map_err(|error| error.status)).boxed()
    })
}
