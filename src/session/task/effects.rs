//! The effects of a session's decisions, on the real surroundings.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::auth::Verdict;
use crate::broker::cluster::Expected;
use crate::call::{self, Arrival, Caller, InFlight, KnownUser, Refused};
use crate::metrics::{HandshakeOutcome, LoginOutcome};
use crate::outbox::{Reader, Rejected};
use crate::protocol::seed::{Cipher, KeyExchange};
use crate::protocol::{
    Close, Codec, Credentials, Description, Failure, Reply, Request, RequestHead,
};
use crate::registry::{Membership, Presence, SessionId};
use crate::session::effects::{Effects, Unwrapping};
use crate::session::login::{self, Review};
use crate::session::sweeper::{Handle, Stage};
use crate::session::{Worker, news};
use crate::trace::Place;

/// The surroundings of one session.
pub(super) struct Surroundings {
    pub(super) worker: Arc<Worker>,
    pub(super) handle: Arc<Handle>,
    pub(super) outbox: Reader,
    pub(super) codec: Codec,
    pub(super) id: SessionId,
    /// The session's place in the registry, once it is logged in.
    pub(super) membership: Option<Membership>,
    /// Made by the first call, and freed when there was none for a while.
    pub(super) calls: Option<FuturesUnordered<InFlight>>,
    pub(super) deciding: Option<Deciding>,
    pub(super) review: Option<Review>,
    /// The socket did not take all of its last output.
    pub(super) blocked: bool,
}

/// A control request that is being decided.
pub(super) type Deciding = BoxFuture<'static, Decided>;

/// A decision.
pub(super) enum Decided {
    /// A login was verified. Other gateways find the user here while the second
    /// value is kept.
    Login(Verdict, Option<Expected>),
    /// A login was verified for another device.
    Change(Verdict),
    /// A key was unwrapped; `None`: the gateway stops.
    Key(Option<Cipher>),
}

impl Surroundings {
    /// The session as the registry shows it, once it is logged in.
    fn presence(&self, caller: &Caller) -> Option<Presence> {
        let user = caller.user()?;
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

    /// Removes the session from the registry: the session or its login ends.
    pub(super) fn end_membership(&mut self, caller: &Caller, code: u16, reason: &str) {
        let Some(membership) = self.membership.take() else { return };
        news::disconnected(&self.worker, caller, membership.presence(), code, reason);
        membership.leave(code, reason);
    }

    /// An overflow comes back as the signal to close: nothing else is left to do.
    fn log_dropped(&self, put: Result<(), Rejected>) {
        if let Err(rejected) = put {
            tracing::debug!(session = %self.id, %rejected, "answer dropped");
        }
    }
}

impl Effects for Surroundings {
    fn reply(&mut self, mut reply: Reply) {
        if self.blocked {
            // It may wait for long, so it gives up its share of larger buffers.
            reply.detach();
        }
        self.log_dropped(self.outbox.reply(reply));
    }

    fn reply_first(&mut self, reply: Reply) {
        self.log_dropped(self.outbox.reply_first(reply));
    }

    fn refuse(&mut self, caller: &Caller, head: &RequestHead, refused: Refused) -> Failure {
        refused.settle(&self.worker.calls, caller.session_id(), head)
    }

    fn call(&mut self, caller: &mut Caller, request: &Request) -> Result<(), Refused> {
        let context = &self.worker.calls;
        let place = Place::new(context.tracing.as_deref(), caller.trace_parent());
        let arrival = Arrival { place, encrypted: self.codec.is_encrypted() };
        let targets = &self.worker.services.load().calls;
        let call = call::begin(context, targets, caller, request, arrival)?;
        self.calls.get_or_insert_default().push(call);
        self.handle.called();
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.calls.as_ref().map_or(0, FuturesUnordered::len)
    }

    fn verify_login(&mut self, caller: &Caller, credentials: &Credentials) {
        let verified = login::verify(&self.worker, caller, credentials);
        let decided = verified.map(|(verdict, expected)| Decided::Login(verdict, expected));
        self.deciding = Some(decided.boxed());
    }

    fn verify_change(&mut self, caller: &Caller, device: &Description) -> bool {
        let verified = login::verify_change(&self.worker, caller, device);
        self.deciding = verified.map(|verdict| verdict.map(Decided::Change).boxed());
        self.deciding.is_some()
    }

    fn review(&mut self, caller: &Caller) {
        self.review = Some(login::review(&self.worker, caller));
    }

    fn cancel_review(&mut self) {
        self.review = None;
    }

    fn unwrap(&mut self, exchange: KeyExchange) -> Result<(), Unwrapping> {
        let keys = self.worker.keys.as_ref().ok_or(Unwrapping::Unavailable)?;
        let cipher = keys.submit(exchange).map_err(|refused| {
            self.worker.calls.metrics.sessions.handshakes.inc(refused.outcome());
            Unwrapping::Refused(refused)
        })?;
        self.deciding = Some(cipher.map(|cipher| Decided::Key(cipher.ok())).boxed());
        Ok(())
    }

    fn switch(&mut self, cipher: Cipher) {
        self.codec.switch(cipher);
    }

    fn is_encrypted(&self) -> bool {
        self.codec.is_encrypted()
    }

    fn set_stage(&mut self, stage: Stage) {
        self.handle.set_stage(stage);
    }

    fn set_expiry(&mut self, at: Option<SystemTime>) {
        self.handle.set_expiry(at);
    }

    fn join(&mut self, caller: &Caller) {
        let Some(presence) = self.presence(caller) else { return };
        match &mut self.membership {
            None => {
                self.membership = Some(self.worker.registry.join(presence));
                news::connected(&self.worker, caller);
            }
            Some(membership) => {
                let was = Arc::clone(membership.presence());
                match membership.renew(presence) {
                    Ok(()) => news::renewed(&self.worker, caller, &was, membership.presence()),
                    // The order to close is in the outbox already.
                    Err(evicted) => {
                        tracing::debug!(session = caller.session_id(), %evicted, "no login");
                    }
                }
            }
        }
    }

    fn leave(&mut self, caller: &Caller, why: &Close) {
        self.end_membership(caller, why.code(), why.reason());
    }

    fn refuse_pushes(&mut self) {
        self.outbox.refuse_pushes();
    }

    fn take_pushes(&mut self) {
        self.outbox.take_pushes();
    }

    fn is_sealed(&self) -> bool {
        self.outbox.is_sealed()
    }

    fn close(&mut self, why: Close) -> Close {
        self.outbox.outbox().close(why)
    }

    fn count_login(&mut self, outcome: LoginOutcome) {
        self.worker.calls.metrics.sessions.logins.inc(outcome);
    }

    fn count_handshake(&mut self) {
        self.worker.calls.metrics.sessions.handshakes.inc(HandshakeOutcome::Done);
    }
}
