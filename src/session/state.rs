//! The state of a session, as a machine without I/O and clock.
//!
//! Every event of a session has a method `on_…`, which gets the time where it
//! matters. The machine decides and acts through [`Effects`]; an error ends the
//! session. So every race of handshake, login, key and goodbye can be tested as a
//! sequence of events.

use std::time::SystemTime;

use tonic::Code as Status;

use super::Config;
use super::effects::{Effects, Unwrapping};
use super::ended::Ended;
use super::keys;
use super::sweeper::Stage;
use crate::auth::Verdict;
use crate::call::{Caller, LoginState, MAX_DEVICE_ID, MAX_TOKEN, MAX_USER_ID};
use crate::call::{Refusal, Refused, fits};
use crate::metrics::LoginOutcome;
use crate::protocol::seed::{Cipher, KeyExchange, KeyOffer, WrappedIv};
use crate::protocol::{
    Close, Code, Control, Credentials, Description, Failure, Incoming, Malformed, Outcome, Reply,
    RequestHead, Unreadable,
};
use crate::routing::identity::Member;

/// Invalid messages in a row after which a session is closed.
const MAX_STRIKES: u8 = 8;
/// Keys that a session may choose: the first, and some replacements.
const MAX_KEYS: u8 = 8;
/// Refused changes of the device, after which a session is closed: each costs a
/// verification.
const MAX_REFUSED_CHANGES: u8 = 8;
/// Each string of a description, in bytes. Some become gRPC metadata of every
/// call, and have a bound of their own for that.
const MAX_DEVICE_FIELD: usize = 1024;

/// The state of one session.
pub(super) struct State {
    caller: Caller,
    pending: Option<Box<Pending>>,
    stage: Stage,
    strikes: u8,
    keys: u8,
    refused_changes: u8,
    /// Pushes may find the session.
    joined: bool,
    /// The login is being verified once more.
    reviewing: bool,
    /// The reason why the latest description was refused; `None`: it was not.
    refused_description: Option<Refusal>,
    /// The session ends as soon as its calls are answered.
    leaving: bool,
}

/// A control request that is being decided. Meanwhile no further message is
/// taken, so a message behind it is already read under the new key, or as the
/// new user.
enum Pending {
    /// The login is verified for another device.
    Change { head: RequestHead, device: Box<Description>, key: Option<KeyExchange> },
    /// The key is unwrapped.
    Key { head: RequestHead, device: Box<Description>, login: Option<Renewed> },
    /// Everything that was queued before is written under the old key first.
    Switch { head: RequestHead, device: Box<Description>, login: Option<Renewed>, cipher: Cipher },
    /// The login is verified.
    Login { head: RequestHead, credentials: Credentials },
}

/// A login that was verified for another device.
#[derive(Debug, Clone, Copy)]
struct Renewed {
    /// The end of the login; `None`: never.
    expires_at: Option<SystemTime>,
}

/// The messages that a session takes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appetite {
    /// All.
    Messages,
    /// Pings and pongs only: the session waits for something that ends by itself.
    /// A little is read ahead for them; messages stay in the socket, as
    /// back-pressure on the client.
    Pings,
    /// None: every message, even a ping, needs an answer.
    Nothing,
}

type Next = Result<(), Ended>;

impl State {
    /// The state of a session that has just been opened.
    pub(super) fn new(caller: Caller) -> Self {
        Self {
            caller,
            pending: None,
            stage: Stage::Connected,
            strikes: 0,
            keys: 0,
            refused_changes: 0,
            joined: false,
            reviewing: false,
            refused_description: None,
            leaving: false,
        }
    }

    /// The session's caller.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Frees the parts of the caller that the next call makes again.
    pub(super) fn rest(&mut self) {
        self.caller.rest();
    }

    /// Whether a control request is being decided.
    pub(super) fn is_deciding(&self) -> bool {
        self.pending.is_some() && !self.is_switching()
    }

    /// Whether the key changes as soon as everything is written.
    pub(super) fn is_switching(&self) -> bool {
        matches!(self.pending.as_deref(), Some(Pending::Switch { .. }))
    }

    /// The messages to take. `blocked`: the socket takes no output.
    ///
    /// (Waiting for the client to read does not count as occupied: a client that
    /// has stopped reading must be detected by its silence.)
    pub(super) fn appetite(&self, config: &Config, in_flight: usize, blocked: bool) -> Appetite {
        if blocked || self.is_switching() {
            Appetite::Nothing
        } else if self.is_occupied(config, in_flight) {
            Appetite::Pings
        } else {
            Appetite::Messages
        }
    }

    /// Whether the session waits for something that ends by itself.
    pub(super) fn is_occupied(&self, config: &Config, in_flight: usize) -> bool {
        self.leaving || self.is_deciding() || in_flight >= config.max_in_flight
    }

    /// A message has come.
    pub(super) fn on_message(
        &mut self,
        message: Result<Incoming, Unreadable>,
        config: &Config,
        fx: &mut impl Effects,
    ) -> Next {
        match message {
            Ok(incoming) => {
                self.strikes = 0;
                match incoming {
                    Incoming::Call(request) => {
                        if let Err(refused) = fx.call(&mut self.caller, &request) {
                            self.refuse(RequestHead::of(&request), refused, fx);
                        }
                        Ok(())
                    }
                    Incoming::Control(head, control) => self.on_control(head, control, config, fx),
                }
            }
            Err(Unreadable::Strike) => self.strike(fx),
            Err(Unreadable::Fatal(close)) => Err(close.into()),
        }
    }

    /// A call has its reply.
    pub(super) fn on_replied(&mut self, reply: Reply, fx: &mut impl Effects) -> Next {
        fx.reply(reply);
        self.leave_if_done(fx)
    }

    fn strike(&mut self, fx: &mut impl Effects) -> Next {
        self.strikes += 1;
        let refused = Refused::new(Refusal::NoRequest, "a frame that is no RequestBody");
        self.refuse(RequestHead::default(), refused, fx);
        if self.strikes >= MAX_STRIKES { Err(Close::ProtocolError.into()) } else { Ok(()) }
    }

    fn on_control(
        &mut self,
        head: RequestHead,
        control: Control,
        config: &Config,
        fx: &mut impl Effects,
    ) -> Next {
        match control {
            Control::Describe(Ok(device)) => self.on_describe(head, device, config, fx),
            Control::Describe(Err(Malformed(text))) => {
                self.refuse_description(head, Refused::malformed(text), fx);
                Ok(())
            }
            Control::LogIn(Ok(credentials)) => self.on_log_in(head, *credentials, config, fx),
            Control::LogIn(Err(Malformed(text))) => {
                self.refuse(head, Refused::malformed(text), fx);
                Ok(())
            }
            Control::KeepAlive => {
                accept(head, fx);
                Ok(())
            }
        }
    }

    fn on_describe(
        &mut self,
        head: RequestHead,
        mut device: Box<Description>,
        config: &Config,
        fx: &mut impl Effects,
    ) -> Next {
        if config.device_is_package {
            // From here on there is no other device id.
            device.device_id.clone_from(&device.package_id);
        }
        if let Err(refused) = check_lengths(&device) {
            self.refuse_description(head, refused, fx);
            return Ok(());
        }
        if !device.platform.is_empty() && !config.platforms.contains(&device.platform) {
            return Err(Close::Platform.into());
        }
        let key = match self.key_of(&mut device, config, fx) {
            Ok(key) => key,
            Err(refused) => {
                self.refuse_description(head, refused, fx);
                return Ok(());
            }
        };
        if fx.verify_change(&self.caller, &device) {
            self.pending = Some(Box::new(Pending::Change { head, device, key }));
            return Ok(());
        }
        self.unwrap(head, device, key, None, fx)
    }

    /// The key that a description brings, where it may be given.
    fn key_of(
        &self,
        device: &mut Description,
        config: &Config,
        fx: &impl Effects,
    ) -> Result<Option<KeyExchange>, Refused> {
        if self.caller.has_user() && (device.platform.is_empty() || device.device_id.is_empty()) {
            let text = "a session that has logged in has a platform and a device";
            return Err(Refused::malformed(text));
        }
        match std::mem::take(&mut device.key) {
            KeyOffer::Complete(key) => Ok(Some(key)),
            KeyOffer::Absent if config.require_encryption && !fx.is_encrypted() => {
                let text = "encryption is required: send aesKey and aesIv";
                Err(Refused::new(Refusal::NotEncrypted, text))
            }
            KeyOffer::Absent => Ok(None),
            KeyOffer::Incomplete => Err(Refused::malformed("aesKey and aesIv go together")),
        }
    }

    /// The login was verified for another device.
    pub(super) fn on_change_verified(&mut self, verdict: Verdict, fx: &mut impl Effects) -> Next {
        let Some(Pending::Change { head, device, key }) = self.take_pending() else {
            return Ok(());
        };
        let session = self.caller.session_id();
        match verdict {
            Verdict::Accepted { expires_at } => {
                self.unwrap(head, device, key, Some(Renewed { expires_at }), fx)?;
            }
            Verdict::Refused { reason } => {
                tracing::info!(session, reason, "a session may not go on as another device");
                fail(head, Failure::new(Code::AUTH_ERROR, Status::Unauthenticated, reason), fx);
                self.refused_changes += 1;
                if self.refused_changes >= MAX_REFUSED_CHANGES {
                    return Err(Close::AuthenticationFailed.into());
                }
            }
            Verdict::Unavailable { cause } => {
                tracing::warn!(session, cause, "a login could not be judged for another device");
                fail(head, unavailable(), fx);
            }
        }
        self.leave_if_done(fx)
    }

    /// Unwraps the key of a description, where it brings one.
    fn unwrap(
        &mut self,
        head: RequestHead,
        device: Box<Description>,
        key: Option<KeyExchange>,
        login: Option<Renewed>,
        fx: &mut impl Effects,
    ) -> Next {
        let Some(key) = key else {
            self.described(*device, login, fx);
            accept(head, fx);
            return Ok(());
        };
        let wrong_length = match &key.iv {
            WrappedIv::Client(_) => "aesKey or aesIv is not as long as the RSA modulus",
            WrappedIv::Gateway(_) => "aesKey is not as long as the RSA modulus",
        };
        let close = match fx.unwrap(key) {
            Ok(()) => {
                self.pending = Some(Box::new(Pending::Key { head, device, login }));
                return Ok(());
            }
            Err(Unwrapping::Unavailable) => {
                Close::EncryptionUnavailable("encryption is not available here")
            }
            Err(Unwrapping::Refused(keys::Refused::WrongLength)) => {
                Close::EncryptionUnavailable(wrong_length)
            }
            Err(Unwrapping::Refused(keys::Refused::Busy)) => {
                Close::Full("too many handshakes at once")
            }
        };
        Err(close.into())
    }

    /// The key was unwrapped. `None`: the gateway stops.
    pub(super) fn on_unwrapped(&mut self, cipher: Option<Cipher>, fx: &mut impl Effects) -> Next {
        let Some(Pending::Key { head, device, login }) = self.take_pending() else {
            return Ok(());
        };
        let Some(cipher) = cipher else { return Err(Close::GoingAway.into()) };
        self.keys += 1;
        fx.count_handshake();
        if self.keys > MAX_KEYS {
            return Err(Close::ProtocolError.into());
        }
        self.pending = Some(Box::new(Pending::Switch { head, device, login, cipher }));
        Ok(())
    }

    /// Everything that was queued is written.
    pub(super) fn on_flushed(&mut self, fx: &mut impl Effects) -> Next {
        if !self.is_switching() {
            return Ok(());
        }
        let Some(Pending::Switch { head, device, login, cipher }) = self.take_pending() else {
            return Ok(());
        };
        fx.switch(cipher);
        self.described(*device, login, fx);
        // The first message under the new key: a push may have come meanwhile.
        fx.reply_first(Reply { head, outcome: Outcome::EMPTY });
        self.leave_if_done(fx)
    }

    fn described(&mut self, device: Description, login: Option<Renewed>, fx: &mut impl Effects) {
        self.caller.describe(device);
        self.refused_description = None;
        if let Some(Renewed { expires_at }) = login {
            // A review under way is about the previous device.
            self.cancel_review(fx);
            self.holds_until(expires_at, fx);
        }
        if self.stage == Stage::Connected {
            self.set_stage(Stage::Described, fx);
        }
        if self.joined && self.caller.has_device() {
            fx.join(&self.caller);
        }
    }

    fn on_log_in(
        &mut self,
        head: RequestHead,
        credentials: Credentials,
        config: &Config,
        fx: &mut impl Effects,
    ) -> Next {
        if !fits(&credentials.user_id, MAX_USER_ID) {
            let text = "userId is longer than 512 bytes, percent-encoded";
            self.refuse(head, Refused::malformed(text), fx);
            return Ok(());
        }
        if credentials.token.len() > MAX_TOKEN {
            let reason = format!("token is too long: {MAX_TOKEN} bytes at most");
            return self.login_refused(head, &credentials.user_id, reason, fx);
        }
        if let Some(close) = self.undescribed(config) {
            return Err(close.into());
        }
        fx.verify_login(&self.caller, &credentials);
        self.pending = Some(Box::new(Pending::Login { head, credentials }));
        Ok(())
    }

    /// The reason why a session without a description of its device cannot log in.
    /// If the description was refused rather than missing, the reason says so,
    /// since the `RequestError` had no text.
    fn undescribed(&self, config: &Config) -> Option<Close> {
        let refused = self.refused_description.map(|why| match why {
            Refusal::NotEncrypted => {
                "setCxnParams was refused: encryption is required, send aesKey"
            }
            _ => "setCxnParams was refused: it is malformed",
        });
        if self.caller.value(Member::Platform).is_empty() {
            return Some(refused.map_or(Close::Platform, Close::PlatformRefused));
        }
        if self.caller.value(Member::DeviceId).is_empty() {
            let is_package = config.device_is_package;
            let missing = if is_package { Close::PackageId } else { Close::DeviceId };
            return Some(refused.map_or(missing, Close::DeviceIdRefused));
        }
        None
    }

    /// A login was verified.
    pub(super) fn on_login_verified(&mut self, verdict: Verdict, fx: &mut impl Effects) -> Next {
        let Some(Pending::Login { head, credentials }) = self.take_pending() else {
            return Ok(());
        };
        match verdict {
            // It would end the user's other sessions in favour of one that is
            // over.
            Verdict::Accepted { .. } if fx.is_sealed() => {}
            Verdict::Accepted { expires_at } => self.logged_in(head, &credentials, expires_at, fx),
            Verdict::Refused { reason } => {
                return self.login_refused(head, &credentials.user_id, reason, fx);
            }
            Verdict::Unavailable { cause } => {
                let (session, user) = (self.caller.session_id(), &credentials.user_id);
                tracing::warn!(session, user, cause, "a login could not be judged");
                fx.count_login(LoginOutcome::Unavailable);
                fail(head, unavailable(), fx);
            }
        }
        self.leave_if_done(fx)
    }

    fn logged_in(
        &mut self,
        head: RequestHead,
        credentials: &Credentials,
        expires_at: Option<SystemTime>,
        fx: &mut impl Effects,
    ) {
        let Credentials { user_id, token } = credentials;
        fx.count_login(LoginOutcome::Accepted);
        tracing::debug!(session = self.caller.session_id(), user = user_id, "logged in");
        self.caller.log_in(user_id, token, expires_at);
        self.cancel_review(fx);
        fx.set_expiry(expires_at);
        self.set_stage(Stage::Authenticated, fx);
        fx.take_pushes();
        // Pushes are queued behind the reply to the login.
        accept(head, fx);
        self.joined = true;
        fx.join(&self.caller);
    }

    /// `user`: as the client claims.
    fn login_refused(
        &self,
        head: RequestHead,
        user: &str,
        reason: String,
        fx: &mut impl Effects,
    ) -> Next {
        fx.count_login(LoginOutcome::Refused);
        let (session, ip) = (self.caller.session_id(), self.caller.value(Member::Ip));
        tracing::info!(session, user, ip, reason, "login refused");
        // The queued pushes were meant for the previous user.
        fx.refuse_pushes();
        fail(head, Failure::new(Code::AUTH_ERROR, Status::Unauthenticated, reason), fx);
        Err(Close::AuthenticationFailed.into())
    }

    /// The login is due to be verified once more.
    pub(super) fn on_review_due(&mut self, now: SystemTime, fx: &mut impl Effects) {
        // A review under way serves for this one as well.
        if !self.reviewing && self.caller.login_at(now) == LoginState::Valid {
            self.reviewing = true;
            fx.review(&self.caller);
        }
    }

    /// The login was verified once more.
    pub(super) fn on_reviewed(
        &mut self,
        verdict: Verdict,
        now: SystemTime,
        fx: &mut impl Effects,
    ) -> Next {
        self.reviewing = false;
        let session = self.caller.session_id();
        match verdict {
            Verdict::Accepted { expires_at } => self.holds_until(expires_at, fx),
            // The login has expired meanwhile, and its grace runs.
            Verdict::Refused { .. } if self.caller.login_at(now) == LoginState::Expired => {
                self.on_expired(now, fx);
            }
            Verdict::Refused { reason } => {
                tracing::info!(session, reason, "login revoked");
                fx.refuse_pushes();
                return Err(Close::LoginRevoked.into());
            }
            // Verified again when the login is due the next time.
            Verdict::Unavailable { cause } => {
                tracing::debug!(session, cause, "a login could not be judged again");
            }
        }
        Ok(())
    }

    /// The login has expired: pushes do not find the session any more, and
    /// waiting ones are dropped. A new login brings it back.
    pub(super) fn on_expired(&mut self, now: SystemTime, fx: &mut impl Effects) {
        if self.caller.login_at(now) != LoginState::Expired {
            return; // the client has logged in meanwhile
        }
        fx.refuse_pushes();
        self.cancel_review(fx);
        self.set_stage(Stage::Expired, fx);
        if std::mem::take(&mut self.joined) {
            fx.leave(&self.caller, &Close::LoginExpired);
        }
    }

    /// The session has to close.
    pub(super) fn on_close(&mut self, why: Close, fx: &mut impl Effects) -> Next {
        if !why.waits_for_calls() {
            return Err(why.into());
        }
        self.leaving = true;
        self.leave_if_done(fx)
    }

    fn leave_if_done(&self, fx: &mut impl Effects) -> Next {
        if self.leaving && self.pending.is_none() && fx.in_flight() == 0 {
            return Err(fx.close(Close::GoingAway).into());
        }
        Ok(())
    }

    fn refuse(&self, head: RequestHead, refused: Refused, fx: &mut impl Effects) {
        let failure = fx.refuse(&self.caller, &head, refused);
        fail(head, failure, fx);
    }

    fn refuse_description(&mut self, head: RequestHead, refused: Refused, fx: &mut impl Effects) {
        self.refused_description = Some(refused.refusal());
        self.refuse(head, refused, fx);
    }

    fn take_pending(&mut self) -> Option<Pending> {
        self.pending.take().map(|pending| *pending)
    }

    fn cancel_review(&mut self, fx: &mut impl Effects) {
        if std::mem::take(&mut self.reviewing) {
            fx.cancel_review();
        }
    }

    fn holds_until(&mut self, expires_at: Option<SystemTime>, fx: &mut impl Effects) {
        self.caller.extend_login(expires_at);
        fx.set_expiry(expires_at);
    }

    fn set_stage(&mut self, stage: Stage, fx: &mut impl Effects) {
        self.stage = stage;
        fx.set_stage(stage);
    }
}

fn accept(head: RequestHead, fx: &mut impl Effects) {
    fx.reply(Reply { head, outcome: Outcome::EMPTY });
}

fn fail(head: RequestHead, failure: Failure, fx: &mut impl Effects) {
    fx.reply(Reply { head, outcome: failure.into() });
}

/// The failure of a login that cannot be verified.
fn unavailable() -> Failure {
    Failure::new(Code::RETRY_ERROR, Status::Unavailable, "login is not possible right now")
}

fn check_lengths(device: &Description) -> Result<(), Refused> {
    let fields = [
        &device.package_id,
        &device.platform,
        &device.device_id,
        &device.device_model,
        &device.os_version,
        &device.app_version,
        &device.language,
        &device.network_used,
    ];
    if fields.iter().any(|field| field.len() > MAX_DEVICE_FIELD) {
        return Err(Refused::malformed("a field is longer than 1,024 bytes"));
    }
    if !fits(&device.device_id, MAX_DEVICE_ID) {
        return Err(Refused::malformed(
            "the device's id is longer than 256 bytes, percent-encoded",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
