//! Hook events of a session: one when it logs in, one when it ends or goes on as
//! another user or device.

use super::Worker;
use crate::auth::Login;
use crate::call::Caller;
use crate::registry::Presence;

/// No close code: the session goes on.
const GOES_ON: u16 = 0;

/// The session has logged in for the first time.
pub(super) fn connected(worker: &Worker, caller: &Caller) {
    let login = caller.as_login(worker.calls.worker);
    worker.hooks.connected(&worker.services.load().hooks, &login);
}

/// The session is over; `was` is its last public presence.
pub(super) fn disconnected(
    worker: &Worker,
    caller: &Caller,
    was: &Presence,
    close_code: u16,
    reason: &str,
) {
    let now = caller.as_login(worker.calls.worker);
    let login = Login {
        user_id: &was.user_id,
        platform: &was.platform,
        device_id: &was.device_id,
        app_version: &was.app_version,
        language: &was.language,
        // One user's token must not be sent with another user's event.
        token: if now.user_id == &*was.user_id { now.token } else { "" },
        ..now
    };
    worker.hooks.disconnected(&worker.services.load().hooks, &login, close_code, reason);
}

/// The session has logged in or described itself anew. No event, unless the user
/// or device has changed.
pub(super) fn renewed(worker: &Worker, caller: &Caller, was: &Presence, is: &Presence) {
    let is_same =
        was.user_id == is.user_id && was.platform == is.platform && was.device_id == is.device_id;
    if !is_same {
        disconnected(worker, caller, was, GOES_ON, "the session has logged in anew");
        connected(worker, caller);
    }
}
