//! The effects of a session's decisions: the seam between the machine
//! ([`super::state`]), which decides, and the task, which does.

use std::time::SystemTime;

use super::keys;
use super::sweeper::Stage;
use crate::call::{Caller, Refused};
use crate::metrics::LoginOutcome;
use crate::protocol::seed::{Cipher, KeyExchange};
use crate::protocol::{Close, Credentials, Description, Failure, Reply, Request, RequestHead};

/// The surroundings of a session, as its machine sees them.
///
/// None of the methods waits. Verifications and unwrapped keys come back to the
/// machine as events; a new one replaces one that is under way.
pub(super) trait Effects {
    /// Queues a reply.
    fn reply(&mut self, reply: Reply);

    /// Queues a reply ahead of all other entries.
    fn reply_first(&mut self, reply: Reply);

    /// Counts and logs a refused request, and gives the failure for its reply.
    fn refuse(&mut self, caller: &Caller, head: &RequestHead, refused: Refused) -> Failure;

    /// Begins a call. Its reply comes back as an event.
    fn call(&mut self, caller: &mut Caller, request: &Request) -> Result<(), Refused>;

    /// Calls under way.
    fn in_flight(&self) -> usize;

    /// Verifies a login: see `State::on_login_verified`.
    fn verify_login(&mut self, caller: &Caller, credentials: &Credentials);

    /// Verifies the login of a session that describes its device anew: see
    /// `State::on_change_verified`. `false`: the login holds for it as well, and
    /// nothing is verified.
    fn verify_change(&mut self, caller: &Caller, device: &Description) -> bool;

    /// Verifies the login once more: see `State::on_reviewed`.
    fn review(&mut self, caller: &Caller);

    /// Stops the verification that [`review`](Self::review) began.
    fn cancel_review(&mut self);

    /// Unwraps a key: see `State::on_unwrapped`.
    fn unwrap(&mut self, exchange: KeyExchange) -> Result<(), Unwrapping>;

    /// Encrypts all later messages, and expects encrypted ones.
    fn switch(&mut self, cipher: Cipher);

    /// Whether the session's protocol encrypts it.
    fn is_encrypted(&self) -> bool;

    /// The session has come to a stage.
    fn set_stage(&mut self, stage: Stage);

    /// The end of the login; `None`: never.
    fn set_expiry(&mut self, at: Option<SystemTime>);

    /// Enters the session into the registry, with its caller's present identity.
    fn join(&mut self, caller: &Caller);

    /// Removes the session from the registry.
    fn leave(&mut self, caller: &Caller, why: &Close);

    /// Drops the queued pushes, and refuses later ones.
    fn refuse_pushes(&mut self);

    /// Accepts pushes again.
    fn take_pushes(&mut self);

    /// Whether the session has to close already.
    fn is_sealed(&self) -> bool;

    /// Closes the session as soon as possible, and gives the reason: this one,
    /// unless there is an earlier one.
    fn close(&mut self, why: Close) -> Close;

    /// Counts a login that was verified.
    fn count_login(&mut self, outcome: LoginOutcome);

    /// Counts a key exchange that has succeeded.
    fn count_handshake(&mut self);
}

/// The reason why a key is not unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unwrapping {
    /// The gateway has no private key.
    Unavailable,
    /// The key service has not taken it.
    Refused(keys::Refused),
}
