//! From the `auth` section to what judges logins and requests.

use std::sync::Arc;

use super::callouts::{self, AUTH, Callee, EACH_REQUEST};
use super::resolve::Problem;
use crate::auth::{Authenticator, EachRequest, Jwt, Login, Rpc, jwt};
use crate::config::{Auth, Judge};

/// Makes the authenticator. `callee` finds an upstream by its name. After a
/// problem, nobody can log in.
pub(super) fn build(
    auth: &Auth,
    problems: &mut Vec<Problem>,
    callee: impl Fn(&str) -> Option<Callee>,
) -> Authenticator {
    match &auth.judge {
        Judge::None(_) => Authenticator::None,
        Judge::Jwt(jwt) => {
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
        Judge::Rpc(call) => {
            let placeholders: Vec<_> = Login::placeholders().collect();
            callee(&call.upstream)
                .and_then(|callee| callouts::make(call, AUTH, &placeholders, callee, problems))
                .map_or(Authenticator::Pending, |(callout, call)| {
                    Authenticator::Rpc(Rpc::new(callout, call))
                })
        }
    }
}

/// Makes what judges requests, if anything does.
pub(super) fn each_request(
    auth: &Auth,
    problems: &mut Vec<Problem>,
    callee: impl Fn(&str) -> Option<Callee>,
) -> Option<EachRequest> {
    let config = auth.each_request.as_ref()?;
    let placeholders: Vec<_> = EachRequest::placeholders().collect();
    let made = callee(&config.call.upstream).and_then(|callee| {
        callouts::make(&config.call, EACH_REQUEST, &placeholders, callee, problems)
    });
    let rpc = made.map(|(callout, call)| Rpc::new(callout, call));
    Some(EachRequest::new(rpc, config.cache))
}
