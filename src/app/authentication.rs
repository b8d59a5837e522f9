//! From the `auth` section to what judges logins.

use std::sync::Arc;

use super::callouts::{self, Callee};
use super::resolve::Problem;
use crate::auth::{Authenticator, Jwt, Login, Rpc, jwt};
use crate::config::Auth;

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
        Auth::Rpc(call) => {
            let placeholders: Vec<_> = Login::placeholders().collect();
            callee(&call.upstream)
                .and_then(|callee| {
                    callouts::make(call, ["auth", "rpc"], &placeholders, callee, problems)
                })
                .map_or(Authenticator::Pending, |(callout, call)| {
                    Authenticator::Rpc(Rpc::new(callout, call))
                })
        }
    }
}
