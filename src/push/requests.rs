//! Translates messages of the Push API into requests to the broker. Invalid ones
//! are `INVALID_ARGUMENT`, with the field and a valid form.

use std::time::Duration;

use tonic::Status;

use crate::broker;
use crate::close::MAX_REASON;
use crate::outbox::Confirm;
use crate::proto::push::{self, KickRequest, PushRequest};
use crate::proto::session::PushEvent;
use crate::registry::Target;

/// Bytes of a `push_id`: every receipt repeats it.
pub const MAX_PUSH_ID: usize = 256;
/// How long receipts are waited for where a request sets no deadline.
const DEADLINE: Duration = Duration::from_secs(5);
const MAX_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// A push, and the id that its receipts carry.
pub(super) fn push(
    request: PushRequest,
    broker: &broker::Broker,
) -> Result<(String, broker::Push), Status> {
    // Regardless of the sessions' gateways: a backend should not have to know them.
    if let Some(cluster) = broker.cluster()
        && request.data.len() > cluster.max_data()
    {
        return Err(Status::resource_exhausted(format!(
            "data has {} bytes; the cluster's NATS takes {}",
            request.data.len(),
            cluster.max_data()
        )));
    }
    checked(request)
}

fn checked(request: PushRequest) -> Result<(String, broker::Push), Status> {
    if request.push_id.len() > MAX_PUSH_ID {
        return Err(wrong(format!(
            "push_id has {} bytes; at most {MAX_PUSH_ID} are allowed",
            request.push_id.len()
        )));
    }
    if let Some(use_of) = gateways_use(request.event) {
        return Err(wrong(format!("event {} is {use_of}; choose another", request.event)));
    }
    let confirm = match push::Confirm::try_from(request.confirm) {
        Ok(push::Confirm::Written) => Confirm::Written,
        Ok(push::Confirm::Queued) => Confirm::Queued,
        Ok(push::Confirm::Acknowledged) => Confirm::Acknowledged,
        Err(_) => {
            return Err(wrong(format!("confirm is {}; there are 0, 1 and 2", request.confirm)));
        }
    };
    let push = broker::Push {
        target: some_target(request.target)?,
        event: request.event,
        data: request.data,
        confirm,
        deadline: deadline(request.deadline.as_ref())?,
    };
    Ok((request.push_id, push))
}

/// The gateway's own use of an event number, if any. Clients would confuse a push
/// with that number with it.
fn gateways_use(event: i32) -> Option<&'static str> {
    match PushEvent::try_from(event) {
        Ok(PushEvent::PushResponseBody) => Some("how the gateway answers requests"),
        Ok(PushEvent::AfterConnect) => Some("how the gateway sends the IV of a session"),
        _ => None,
    }
}

/// The sessions to kick, and the reason for their clients.
pub(super) fn kick(request: KickRequest) -> Result<(Target, String), Status> {
    if request.reason.len() > MAX_REASON {
        return Err(wrong(format!(
            "reason has {} bytes; a close frame has room for {MAX_REASON}",
            request.reason.len()
        )));
    }
    Ok((some_target(request.target)?, request.reason))
}

/// The target of a request that must name its recipients.
fn some_target(target: Option<push::Target>) -> Result<Target, Status> {
    let given = target.unwrap_or_default();
    let says_nothing = !given.everyone
        && given.user_ids.is_empty()
        && given.platforms.is_empty()
        && given.device_ids.is_empty()
        && given.session_ids.is_empty();
    if says_nothing {
        return Err(wrong(
            "target is empty: name user_ids, platforms, device_ids or session_ids, or say everyone",
        ));
    }
    any_target(Some(given))
}

/// The target of a request that may select all sessions.
pub(super) fn any_target(target: Option<push::Target>) -> Result<Target, Status> {
    let given = target.unwrap_or_default();
    for (field, values) in [
        ("user_ids", &given.user_ids),
        ("platforms", &given.platforms),
        ("device_ids", &given.device_ids),
        ("session_ids", &given.session_ids),
        ("except_session_ids", &given.except_session_ids),
    ] {
        if values.iter().any(String::is_empty) {
            return Err(wrong(format!("target.{field} has an empty value")));
        }
    }
    Ok(given.into())
}

fn deadline(given: Option<&prost_types::Duration>) -> Result<Duration, Status> {
    let Some(given) = given else { return Ok(DEADLINE) };
    // By hand: the conversion of prost-types overflows at i64::MIN.
    let (seconds, nanos) = (u64::try_from(given.seconds), u32::try_from(given.nanos));
    match (seconds, nanos) {
        (Ok(seconds), Ok(nanos @ ..1_000_000_000))
            if Duration::new(seconds, nanos) <= MAX_DEADLINE =>
        {
            Ok(Duration::new(seconds, nanos))
        }
        _ => Err(wrong(format!(
            "deadline is {} s and {} ns; it must be 0 to {} s",
            given.seconds,
            given.nanos,
            MAX_DEADLINE.as_secs()
        ))),
    }
}

fn wrong(what: impl Into<String>) -> Status {
    Status::invalid_argument(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_everyone() -> PushRequest {
        let target = push::Target { everyone: true, ..push::Target::default() };
        PushRequest { target: Some(target), ..PushRequest::default() }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let (id, push) = checked(to_everyone()).unwrap();
        assert_eq!((&*id, push.event, push.confirm), ("", 0, Confirm::Written));
        assert_eq!((push.deadline, push.target), (DEADLINE, Target::everyone()));
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_its_field() {
        let duration = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
        let target = |target| PushRequest { target: Some(target), ..PushRequest::default() };
        let except = vec!["x".to_owned()];
        for (request, field) in [
            (PushRequest::default(), "target is empty"),
            (target(push::Target { except_session_ids: except, ..Default::default() }), "empty"),
            (
                target(push::Target { user_ids: vec![String::new()], ..Default::default() }),
                "user_ids",
            ),
            (PushRequest { event: 2, ..to_everyone() }, "event 2 is how the gateway answers"),
            (PushRequest { event: 3, ..to_everyone() }, "event 3 is how the gateway sends the IV"),
            (PushRequest { confirm: 3, ..to_everyone() }, "confirm is 3"),
            (PushRequest { push_id: "x".repeat(257), ..to_everyone() }, "push_id"),
            (PushRequest { deadline: duration(-1, 0), ..to_everyone() }, "deadline"),
            (PushRequest { deadline: duration(601, 0), ..to_everyone() }, "deadline"),
            (PushRequest { deadline: duration(i64::MIN, i32::MIN), ..to_everyone() }, "deadline"),
        ] {
            let status = checked(request).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().contains(field), "{}", status.message());
        }
    }

    #[test]
    fn a_reason_must_fit_into_a_close_frame() {
        let target = Some(push::Target { everyone: true, ..Default::default() });
        let reason = "x".repeat(124);
        let status = kick(KickRequest { target: target.clone(), reason }).unwrap_err();
        assert!(status.message().contains("124"), "{}", status.message());
        assert!(kick(KickRequest { target, reason: "x".repeat(123) }).is_ok());
    }
}
