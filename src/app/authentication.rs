//! From the `auth` section to the verification of logins and requests.

use std::sync::Arc;
use std::time::Duration;

use super::callouts::{self, AUTH, Callee, EACH_REQUEST};
use super::problem::Problem;
use super::reflection::Reflection;
use crate::auth::jwt::{self, KeySet, Keys, Place, Remote, RemoteConfig, RemoteError};
use crate::auth::{Authenticator, EachRequest, Jwt, Login, Rpc};
use crate::config::{Auth, Judge, JwtKeys};
use crate::upstream::Pem;

/// The timeout for fetching keys, after which the gateway starts without them.
const PATIENCE: Duration = Duration::from_secs(5);

/// The keys of a configuration.
#[derive(Default)]
pub(super) struct Known {
    /// `None`: the configuration needs none, or is wrong.
    pub(super) keys: Option<Keys>,
    /// Keys that could not be fetched yet, and why.
    pub(super) unfetched: Option<Problem>,
}

/// The previous configuration of logins.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    /// A configuration is in use, and stays in use if the new one is refused.
    pub(super) is_reload: bool,
    /// Its fetched keys, if it has any.
    pub(super) remote: Option<&'a Arc<Remote>>,
}

/// Reads the keys for JWTs, or has them fetched. An unchanged source of keys
/// stays in use.
pub(super) async fn keys(
    auth: &Auth,
    before: Before<'_>,
    mode: Reflection,
) -> Result<Known, Problem> {
    let known = |keys| Ok(Known { keys, unfetched: None });
    let Judge::Jwt(jwt) = &auth.judge else { return known(None) };
    let (key, place) = match (&jwt.keys, &jwt.secret, &jwt.issuer) {
        // The stand-in for a wrong section, which has been reported.
        (Some(JwtKeys::File(path)), ..) if path.as_os_str().is_empty() => return known(None),
        (Some(JwtKeys::File(path)), ..) => {
            let set = KeySet::from_file(path).map_err(|error| at("keys", error))?;
            return known(Some(Keys::File(path.clone(), set.into())));
        }
        (None, Some(path), _) => {
            let set = KeySet::from_secret_file(path).map_err(|error| at("secret", error))?;
            return known(Some(Keys::Secret(path.clone(), set.into())));
        }
        (Some(JwtKeys::Url(url)), ..) => ("keys", Place::Jwks(url.clone())),
        (None, None, Some(issuer)) => ("issuer", Place::Issuer(issuer.clone())),
        (None, None, None) => return known(None), // reported when the file was read
    };
    let ca = jwt.ca.as_deref().map(Pem::read).transpose().map_err(|error| at("ca", error))?;
    let config = RemoteConfig { place, ca };
    let same = before.remote.filter(|remote| *remote.config() == config);
    let remote = match same {
        Some(remote) => Arc::clone(remote),
        None => Arc::new(Remote::new(config).map_err(|error| {
            at(if matches!(error, RemoteError::Tls(_)) { "ca" } else { key }, error)
        })?),
    };
    let keys = Some(Keys::Remote(Arc::clone(&remote)));
    if mode == Reflection::Offline {
        return known(keys);
    }
    remote.start();
    if mode == Reflection::AskUnknown {
        return known(keys);
    }
    let Err(reason) = remote.first(PATIENCE).await else { return known(keys) };
    let problem = at(key, format!("keys cannot be fetched: {reason}"));
    let judges = |before: &Arc<Remote>| before.status().keys > 0;
    if before.is_reload && same.is_none() && before.remote.is_none_or(judges) {
        // Better the previous configuration, under which logins can be verified.
        return Err(problem);
    }
    Ok(Known { keys, unfetched: Some(problem) })
}

/// Makes the authenticator. `callee` finds an upstream by its name. After a
/// problem, every login is refused.
pub(super) fn build(
    auth: &Auth,
    keys: Option<Keys>,
    problems: &mut Vec<Problem>,
    callee: impl Fn(&str) -> Option<Callee>,
) -> Authenticator {
    match &auth.judge {
        Judge::None(_) => Authenticator::None,
        Judge::Jwt(jwt) => keys.map_or(Authenticator::Pending, |keys| {
            let config = jwt::Config {
                issuer: jwt.issuer.clone(),
                audience: jwt.audience.clone(),
                user_claim: jwt.user_claim.clone(),
            };
            Authenticator::Jwt(Arc::new(Jwt::new(config, keys)))
        }),
        // An unknown or broken upstream has been reported elsewhere.
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

/// Makes the verification of each request, if it is configured.
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

#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
fn at(key: &str, error: impl ToString) -> Problem {
    Problem::at(["auth", "jwt", key], error.to_string())
}
