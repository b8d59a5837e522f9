//! Who may log in.
//!
//! An [`Authenticator`] judges one [`Login`] at a time, in one of three ways:
//! the token is a JWT that the gateway checks itself ([`jwt`]), an existing RPC
//! is asked ([`rpc`]), or everybody is believed. Where services judge every
//! request, [`EachRequest`] does so for them. What a verdict does to the
//! session, its answer and its socket is the session's to decide.

mod each_request;
pub mod jwt;
mod placeholders;
pub mod rpc;

use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::Either;

use crate::metrics::LoginOutcome;

pub use each_request::{EachRequest, Judgement, Judgements};
pub use jwt::Jwt;
pub use rpc::Rpc;

/// How far the clocks of whoever issues proofs and of the gateway may be apart.
const LEEWAY: Duration = Duration::from_secs(30);

/// What a client says about itself when it logs in, and what the gateway knows
/// of it. What is not known is empty.
#[derive(Clone, Copy, Default)]
pub struct Login<'a> {
    /// The user that the client says it is.
    pub user_id: &'a str,
    /// What is to prove it. A secret: never logged, never part of a reason.
    pub token: &'a str,
    /// `ios`, `web`, …
    pub platform: &'a str,
    /// The device, as the client names it.
    pub device_id: &'a str,
    /// The device's model.
    pub device_model: &'a str,
    /// The version of the device's operating system.
    pub os_version: &'a str,
    /// The version of the client application.
    pub app_version: &'a str,
    /// Changes with every install.
    pub package_id: &'a str,
    /// The client's language.
    pub language: &'a str,
    /// The network that the client is on, in its own words.
    pub network_used: &'a str,
    /// The client's IP address.
    pub remote_ip: &'a str,
    /// The `User-Agent` of the WebSocket upgrade.
    pub user_agent: &'a str,
    /// The gateway's name for the session.
    pub session_id: &'a str,
    /// When its WebSocket was opened, in milliseconds of Unix time.
    pub connected_at: u64,
    /// The worker that the session lives on: an RPC goes over its connections.
    pub worker: usize,
}

impl Login<'_> {
    /// What a client says of itself beside its platform and device.
    fn described(&self) -> [&str; 6] {
        [
            self.device_model,
            self.os_version,
            self.app_version,
            self.package_id,
            self.language,
            self.network_used,
        ]
    }
}

impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user_id", &self.user_id)
            .field("platform", &self.platform)
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

/// What has become of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The client is who it says it is.
    Accepted {
        /// When that ceases to be true, where the proof says so; the leeway for
        /// clocks that differ is in it.
        expires_at: Option<SystemTime>,
    },
    /// The client is not, or has not proven it.
    Refused {
        /// Why, in a few words that the client may be told.
        reason: String,
    },
    /// Nobody could tell. This passes: the client may try again.
    Unavailable {
        /// What went wrong, for the log. Not for the client.
        cause: String,
    },
}

impl Verdict {
    /// The outcome in metrics.
    pub fn outcome(&self) -> LoginOutcome {
        match self {
            Self::Accepted { .. } => LoginOutcome::Accepted,
            Self::Refused { .. } => LoginOutcome::Refused,
            Self::Unavailable { .. } => LoginOutcome::Unavailable,
        }
    }

    fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }
}

/// Decides who may log in. A clone is cheap and shares everything.
#[derive(Clone)]
pub enum Authenticator {
    /// The token is a JWT.
    Jwt(Arc<Jwt>),
    /// An RPC is asked.
    Rpc(Rpc),
    /// Every token is believed.
    None,
    /// It cannot be told yet: the RPC's descriptors are not known, or something
    /// is wrong with the configuration.
    Pending,
}

impl Authenticator {
    /// How the keys are that tokens are checked with, where they are fetched.
    pub fn fetched_keys(&self) -> Option<jwt::RemoteStatus> {
        let Self::Jwt(jwt) = self else { return None };
        jwt.keys().remote().map(|remote| remote.status())
    }

    /// Whether a session that was accepted as `was` need not be judged anew as
    /// `is`: same platform, same device, and nothing else has changed that the
    /// RPC is asked about.
    pub fn holds_for(&self, was: &Login<'_>, is: &Login<'_>) -> bool {
        let same_device = was.platform == is.platform && was.device_id == is.device_id;
        same_device
            && match self {
                Self::Rpc(rpc) => rpc.asks_the_same(was, is),
                Self::Jwt(_) | Self::None => true,
                // It cannot be told yet what an RPC would be asked about.
                Self::Pending => was.described() == is.described(),
            }
    }

    /// Judges the login of an open session once more. A token whose key is not
    /// among those that were fetched last is refused at once: when it was
    /// accepted, its key was among them, so it has been withdrawn. Everything
    /// else is as with [`judge`](Self::judge).
    pub fn judge_again(&self, login: &Login<'_>) -> impl Future<Output = Verdict> + Send + use<> {
        match self {
            Self::Jwt(jwt) if !login.user_id.is_empty() => {
                Either::Left(ready(jwt.judge_by_known_keys(login)))
            }
            _ => Either::Right(self.judge(login)),
        }
    }

    /// Judges a login.
    ///
    /// A login without a user is refused, whoever judges. What is returned
    /// borrows neither the authenticator nor the login, and asks nobody before it
    /// is polled. It may take as long as the RPC that it asks, where it asks one;
    /// a timeout is that call's. A JWT whose key is still to be fetched takes
    /// three seconds at most.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time; the verdict is lost, and nothing
    /// else. Judging again is harmless, unless the RPC that is asked minds.
    pub fn judge(&self, login: &Login<'_>) -> impl Future<Output = Verdict> + Send + use<> {
        if login.user_id.is_empty() {
            return Either::Left(ready(Verdict::refused("userId is missing")));
        }
        match self {
            Self::Jwt(jwt) => Either::Right(Either::Left(jwt.judge(login))),
            Self::Rpc(rpc) => Either::Right(Either::Right(rpc.judge(login))),
            Self::None => Either::Left(ready(Verdict::Accepted { expires_at: None })),
            Self::Pending => Either::Left(ready(Verdict::Unavailable {
                cause: "the RPC or the keys that verify logins are not known yet".into(),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_authentication_every_token_is_believed() {
        let login = Login { user_id: "u1", ..Login::default() };
        let verdict = Authenticator::None.judge(&login).await;
        assert_eq!(verdict, Verdict::Accepted { expires_at: None });
    }

    #[tokio::test]
    async fn a_login_without_a_user_is_refused_even_without_authentication() {
        let login = Login { token: "t", ..Login::default() };
        let verdict = Authenticator::None.judge(&login).await;
        assert_eq!(verdict, Verdict::refused("userId is missing"));
    }

    #[test]
    fn what_changes_while_nobody_can_judge_it_does_not_hold() {
        let was = Login { user_id: "u1", platform: "ios", app_version: "2", ..Login::default() };
        let is = Login { app_version: "1", ..was };
        assert!(Authenticator::Pending.holds_for(&was, &was));
        assert!(!Authenticator::Pending.holds_for(&was, &is));
        assert!(Authenticator::None.holds_for(&was, &is), "nobody asks for it");
        let elsewhere = Login { device_id: "d2", ..was };
        assert!(!Authenticator::None.holds_for(&was, &elsewhere));
    }

    #[test]
    fn a_login_does_not_print_its_token() {
        let login = Login { user_id: "u1", token: "s3cret", ..Login::default() };
        assert!(!format!("{login:?}").contains("s3cret"));
    }
}
