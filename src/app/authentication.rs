//! From the `auth` section to what judges logins.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderMap;
use http::uri::PathAndQuery;

use super::resolve::Problem;
use crate::auth::{Authenticator, Jwt, Rpc, jwt, rpc};
use crate::config::{Auth, RpcCall};
use crate::routing::Descriptors;
use crate::upstream::{Call, Upstream};

/// How long an RPC may take to judge a login; the client waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Makes the authenticator. `upstream` finds an upstream by its name, with its
/// descriptors as far as they are known. After a problem, nobody can log in.
pub(super) fn build(
    auth: &Auth,
    problems: &mut Vec<Problem>,
    upstream: impl Fn(&str) -> Option<(Arc<Upstream>, Option<Arc<Descriptors>>)>,
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
        Auth::Rpc(call) => match upstream(&call.upstream) {
            Some((upstream, Some(descriptors))) => {
                by_rpc(call, &upstream, &descriptors, problems).unwrap_or(Authenticator::Pending)
            }
            _ => Authenticator::Pending,
        },
    }
}

fn by_rpc(
    config: &RpcCall,
    upstream: &Arc<Upstream>,
    descriptors: &Descriptors,
    problems: &mut Vec<Problem>,
) -> Option<Authenticator> {
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
    let judge = rpc::Config {
        method,
        request: config.request.clone(),
        accept_when: config.accept_when.clone(),
        reason: config.reason.clone(),
    };
    let upstream = Arc::clone(upstream);
    let call: rpc::Call = Arc::new(move |worker, message| {
        let call = Call {
            path: path.clone(),
            metadata: HeaderMap::new(),
            message,
            timeout: TIMEOUT,
            retry: false,
        };
        upstream.call(worker, call).map(|result| result.map_err(|error| error.status)).boxed()
    });
    match Rpc::new(judge, call) {
        Ok(rpc) => Some(Authenticator::Rpc(rpc)),
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
