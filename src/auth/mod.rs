//! Authentication of logins.
//!
//! An [`Authenticator`] judges one [`Login`] at a time, in one of three ways:
//! the token is a JWT that the gateway checks itself ([`jwt`]), an existing RPC
//! is asked ([`rpc`]), or every login is accepted. Where services judge every
//! request, [`EachRequest`] does so for them. The consequences of a verdict for
//! the session, its reply and its socket are decided by the session.

mod each_request;
pub mod jwt;
mod login;
mod placeholders;
pub mod rpc;
mod verdict;

use std::future::{Future, ready};
use std::sync::Arc;

use futures_util::future::Either;

pub use each_request::{EachRequest, Judgement, Judgements};
pub use jwt::Jwt;
pub use login::Login;
pub use rpc::Rpc;
pub use verdict::Verdict;

/// Judges logins. A clone is cheap and shares everything.
#[derive(Clone)]
pub enum Authenticator {
    /// The token is a JWT.
    Jwt(Arc<Jwt>),
    /// An RPC is asked.
    Rpc(Rpc),
    /// Every token is accepted.
    None,
    /// Not known yet: the RPC's descriptors are missing, or the configuration has
    /// an error.
    Pending,
}

impl Authenticator {
    /// The status of the keys that tokens are checked with, where they are fetched.
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
                // It is not known yet which data an RPC would be asked about.
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
    /// A login without a user is refused by all authenticators. The future
    /// borrows neither the authenticator nor the login, and starts no call before
    /// it is polled. With an RPC it may take as long as the call, which has its own
    /// timeout. A JWT whose key is still to be fetched takes three seconds at most.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time; the verdict is lost, and nothing
    /// else. Judging again is harmless, if the RPC permits repeated calls.
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
