//! The steps of a session that have been decided: what each changes about the
//! session, who may find it, and what the client is answered.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Switch, Task};
use crate::envelope::{Close, Code};
use crate::proto::session::SetCxnParamsReq;
use crate::session::ended::Ended;
use crate::session::handshake::{Outcome, Step};
use crate::session::news;
use crate::session::request::{Answer, Failure};
use crate::session::sweeper::Stage;

/// Times that a session may choose a key: once, and some to mend it.
const MAX_KEYS: u8 = 8;

impl<S> Task<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    pub(super) fn on_step(&mut self, step: Step) -> Result<(), Ended> {
        let Step { asked, outcome } = step;
        match outcome {
            Outcome::Described { params, cipher: None } => {
                self.described(*params);
                self.answer(&asked, &Answer::empty());
            }
            Outcome::Described { params, cipher: Some(cipher) } => {
                self.keys += 1;
                self.worker.metrics.sessions.handshakes.with_label_values(&["done"]).inc();
                if self.keys > MAX_KEYS {
                    return Err(Ended::Closed(Close::ProtocolError));
                }
                self.switching = Some(Switch { asked, params, cipher });
            }
            // It would end the user's other sessions for one that is over.
            Outcome::LoggedIn { .. } if self.outbox.is_sealed() => {}
            Outcome::LoggedIn { user_id, token, expires_at, expected } => {
                self.counted_login("accepted");
                tracing::debug!(session = self.identity.session_id(), user = user_id, "logged in");
                self.identity.log_in(&user_id, &token, expires_at);
                self.handle.set_stage(Stage::Authenticated);
                self.answer(&asked, &Answer::empty());
                self.join();
                drop(expected);
            }
            Outcome::LoginRefused { reason } => {
                self.counted_login("refused");
                let session = self.identity.session_id();
                tracing::info!(session, reason, "login refused");
                let failure = Failure::new(Code::AUTH_ERROR, reason);
                self.answer(&asked, &failure.into_answer());
                return Err(Ended::Closed(Close::AuthenticationFailed));
            }
            Outcome::Failed(failure) => self.answer(&asked, &failure.into_answer()),
            Outcome::Closed(close) => return Err(Ended::Closed(close)),
        }
        Ok(())
    }

    fn counted_login(&self, outcome: &str) {
        self.worker.metrics.sessions.logins.with_label_values(&[outcome]).inc();
    }

    /// Lets pushes find the session, from behind the answer to its login on,
    /// and as what it has described itself since.
    fn join(&mut self) {
        let outbox = self.outbox.outbox();
        let Some(presence) = self.identity.presence(outbox, self.cipher.is_some()) else { return };
        match &mut self.membership {
            None => {
                self.membership = Some(self.worker.registry.join(presence));
                news::connected(&self.worker, &self.identity);
            }
            Some(membership) => {
                let was = Arc::clone(membership.presence());
                match membership.renew(presence) {
                    Ok(()) => {
                        news::renewed(&self.worker, &self.identity, &was, membership.presence());
                    }
                    // The order to close is in the outbox already.
                    Err(evicted) => {
                        tracing::debug!(session = self.identity.session_id(), %evicted, "no login");
                    }
                }
            }
        }
    }

    pub(super) fn described(&mut self, params: SetCxnParamsReq) {
        self.identity.describe(params);
        if self.handle.stage() == Stage::Connected {
            self.handle.set_stage(Stage::Described);
        }
        if self.membership.is_some() && self.identity.has_device() {
            self.join();
        }
    }
}
