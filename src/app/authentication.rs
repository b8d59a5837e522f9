//! From the `auth` section to what judges logins.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderMap;
use http::uri::PathAndQuery;

use super::resolve::Problem;
use crate::auth::{Authenticator, Jwt, Login, Rpc, jwt, rpc};
use crate::callout::{self, Callout};
use crate::config::{Auth, RpcCall};
use crate::routing::Descriptors;
use crate::upstream::{Call, Upstream};

/// An upstream that an RPC may be called at.
pub(super) struct Callee {
    pub(super) upstream: Arc<Upstream>,
    /// As far as they are known.
    pub(super) descriptors: Option<Arc<Descriptors>>,
    /// How long a call may take.
    pub(super) timeout: Duration,
}

/// Makes the authenticator. `callee` finds an upstream by its name. After a
/// problem, nobody can log in.
pub(super) fn build(
    auth: &Auth,
    problems: &mut Vec<Problem>,
    callee: impl Fn(&str) -> Option<Callee>,
) -> Authenticator {
    match auth {
        Auth::None(_) => Authenticator::None,
        Auth::Jwt(jwt) => {
            let made = Jwt::new(jwt::Config {
                keys: jwt.keys.clone(),
                issuer: jwt.issuer.clone(),
                audience: jwt.audience.clone(),
                user_claim: jwt.user_claim.clone(),
            });
            match made {
                Ok(jwt) => Authenticator::Jwt(Arc::new(jwt)),
                Err(error) => {
                    problems.push(Problem::at(["auth", "jwt", "keys"], error.to_string()));
                    Authenticator::Pending
                }
            }
        }
        // No such upstream, or a broken one: reported where that was found out.
        Auth::Rpc(call) => callee(&call.upstream)
            .and_then(|callee| by_rpc(call, callee, problems))
            .unwrap_or(Authenticator::Pending),
    }
}

fn by_rpc(config: &RpcCall, callee: Callee, problems: &mut Vec<Problem>) -> Option<Authenticator> {
    let Callee { upstream, descriptors, timeout } = callee;
    let descriptors = descriptors?;
    let mut problem = |key: &str, message: String| {
        problems.push(Problem::at(["auth", "rpc", key], message));
    };
    let method = match descriptors.method(&config.rpc) {
        Ok(method) if method.is_client_streaming() || method.is_server_streaming() => {
            problem(
                "rpc",
                format!("`{}` is a streaming method; a login is judged by a unary one", config.rpc),
            );
            return None;
        }
        Ok(method) => method,
        Err(error) => {
            problem("rpc", error.to_string());
            return None;
        }
    };
    let path = match PathAndQuery::try_from(format!("/{}", config.rpc)) {
        Ok(path) => path,
        Err(error) => {
            problem("rpc", error.to_string());
            return None;
        }
    };
    let callout = callout::Config {
        method,
        request: config.request.clone(),
        accept_when: config.accept_when.clone(),
        reason: config.reason.clone(),
    };
    let call: rpc::Call = Arc::new(move |worker, message| {
        let call =
            Call { path: path.clone(), metadata: HeaderMap::new(), message, timeout, retry: false };
        upstream.call(worker, call).map(|result| result.map_err(|error| error.status)).boxed()
    });
    let placeholders: Vec<_> = Login::placeholders().collect();
    match Callout::new(callout, &placeholders) {
        Ok(callout) => Some(Authenticator::Rpc(Rpc::new(callout, call))),
        Err(errors) => {
            for error in errors {
                // `request.connParam.userId` leads to that very key in the file.
                let keys = ["auth", "rpc"].into_iter().chain(error.path.split('.'));
                let path = keys.map(str::to_owned).collect();
                problems.push(Problem { path, message: error.problem.to_string(), help: None });
            }
            None
        }
    }
}
