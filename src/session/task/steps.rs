//! The steps of a session that have been decided: what each changes about the
//! session, who may find it, and what the client is answered.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Code as Status;

use super::{Switch, Task};
use crate::auth::Verdict;
use crate::call::{KnownUser, LoginState};
use crate::protocol::{self, Close, Code, Description, Failure};
use crate::registry::Presence;
use crate::session::ended::Ended;
use crate::session::handshake::{Described, Judged, Outcome, Step};
use crate::session::news;
use crate::session::sweeper::Stage;

/// Times that a session may choose a key: once, and some to mend it.
const MAX_KEYS: u8 = 8;
/// Times that a session may ask to go on as a device that it may not be: each
/// is a question to the judge.
const MAX_REFUSED_CHANGES: u8 = 8;

impl<S> Task<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    pub(super) fn on_step(&mut self, step: Step) -> Result<(), Ended> {
        let Step { head, outcome } = step;
        match outcome {
            Outcome::Described(Described { device, cipher: None, judged }) => {
                self.described(*device, judged);
                self.reply(head, protocol::Outcome::EMPTY);
            }
            Outcome::Described(Described { device, cipher: Some(cipher), judged }) => {
                self.keys += 1;
                self.worker.calls.metrics.sessions.handshakes.with_label_values(&["done"]).inc();
                if self.keys > MAX_KEYS {
                    return Err(Ended::Closed(Close::ProtocolError));
                }
                self.switching = Some(Box::new(Switch { head, device, cipher, judged }));
            }
            // It would end the user's other sessions for one that is over.
            Outcome::LoggedIn { .. } if self.outbox.is_sealed() => {}
            Outcome::LoggedIn { user_id, token, expires_at, expected } => {
                self.counted_login("accepted");
                tracing::debug!(session = self.caller.session_id(), user = user_id, "logged in");
                self.caller.log_in(&user_id, &token, expires_at);
                self.review = None;
                self.handle.set_expiry(expires_at);
                self.handle.set_stage(Stage::Authenticated);
                self.outbox.take_pushes();
                self.reply(head, protocol::Outcome::EMPTY);
                self.join();
                drop(expected);
            }
            Outcome::LoginRefused { reason } => {
                self.counted_login("refused");
                let session = self.caller.session_id();
                tracing::info!(session, reason, "login refused");
                // What waits was meant for the user of the login before.
                self.outbox.refuse_pushes();
                let failure = Failure::new(Code::AUTH_ERROR, Status::Unauthenticated, reason);
                self.reply(head, failure.into());
                return Err(Ended::Closed(Close::AuthenticationFailed));
            }
            Outcome::Failed(failure) => self.reply(head, failure.into()),
            Outcome::ChangeRefused(failure) => {
                self.reply(head, failure.into());
                self.refused_changes += 1;
                if self.refused_changes >= MAX_REFUSED_CHANGES {
                    return Err(Ended::Closed(Close::AuthenticationFailed));
                }
            }
            Outcome::Closed(close) => return Err(Ended::Closed(close)),
        }
        Ok(())
    }

    fn counted_login(&self, outcome: &str) {
        self.worker.calls.metrics.sessions.logins.with_label_values(&[outcome]).inc();
    }

    /// The session as the registry shows it, once it is logged in.
    fn presence(&self) -> Option<Presence> {
        let user = self.caller.user()?;
        let KnownUser { user_id, platform, device_id, app_version, language, remote_ip, .. } = user;
        Some(Presence {
            session_id: self.id,
            user_id: Arc::clone(user_id),
            platform: Arc::clone(platform),
            device_id: Arc::clone(device_id),
            app_version: Arc::clone(app_version),
            language: Arc::clone(language),
            remote_ip: Arc::clone(remote_ip),
            encrypted: self.codec.is_encrypted(),
            connected_at: user.connected_at,
            generation: 0,
            outbox: Arc::clone(self.outbox.outbox()),
        })
    }

    /// Lets pushes find the session, from behind the answer to its login on,
    /// and as what it has described itself since.
    fn join(&mut self) {
        let Some(presence) = self.presence() else { return };
        match &mut self.membership {
            None => {
                self.membership = Some(self.worker.registry.join(presence));
                news::connected(&self.worker, &self.caller);
            }
            Some(membership) => {
                let was = Arc::clone(membership.presence());
                match membership.renew(presence) {
                    Ok(()) => {
                        news::renewed(&self.worker, &self.caller, &was, membership.presence());
                    }
                    // The order to close is in the outbox already.
                    Err(evicted) => {
                        tracing::debug!(session = self.caller.session_id(), %evicted, "no login");
                    }
                }
            }
        }
    }

    /// The session has described itself. `judged`: its login was judged anew for
    /// that.
    pub(super) fn described(&mut self, device: Description, judged: Option<Judged>) {
        self.caller.describe(device);
        if let Some(Judged { expires_at }) = judged {
            // What is being judged besides is the device of before.
            self.review = None;
            self.holds_until(expires_at);
        }
        if self.handle.stage() == Stage::Connected {
            self.handle.set_stage(Stage::Described);
        }
        if self.membership.is_some() && self.caller.has_device() {
            self.join();
        }
    }

    fn holds_until(&mut self, expires_at: Option<SystemTime>) {
        self.caller.extend_login(expires_at);
        self.handle.set_expiry(expires_at);
    }

    /// The login has expired: pushes find the session no more, and those that
    /// wait are given up. A new login brings it back.
    pub(super) fn on_expired(&mut self) {
        if self.caller.login() != LoginState::Expired {
            return; // the client has logged in meanwhile
        }
        self.outbox.refuse_pushes();
        self.review = None;
        self.handle.set_stage(Stage::Expired);
        let Some(membership) = self.membership.take() else { return };
        let why = Close::LoginExpired;
        let presence = membership.presence();
        news::disconnected(&self.worker, &self.caller, presence, why.code(), why.reason());
        membership.leave(why.code(), why.reason());
    }

    /// The login was judged again.
    pub(super) fn on_reviewed(&mut self, verdict: Verdict) -> Result<(), Ended> {
        let session = self.caller.session_id();
        match verdict {
            Verdict::Accepted { expires_at } => self.holds_until(expires_at),
            // It has expired while it was judged, and has its grace.
            Verdict::Refused { .. } if self.caller.login() == LoginState::Expired => {
                self.on_expired();
            }
            Verdict::Refused { reason } => {
                tracing::info!(session, reason, "login revoked");
                self.outbox.refuse_pushes();
                return Err(Ended::Closed(Close::LoginRevoked));
            }
            // It is tried again when the login is due the next time.
            Verdict::Unavailable { cause } => {
                tracing::debug!(session, cause, "a login could not be judged again");
            }
        }
        Ok(())
    }
}
