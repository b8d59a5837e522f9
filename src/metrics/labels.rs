//! The values of labels: a few each, whatever comes.

/// Close codes that are told apart: the gateway's own, and the usual ones of
/// clients (RFC 6455, section 7.4.1).
pub(super) const CLOSE_CODES: &[&str] = &[
    "1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1011", "1012", "1013",
    "3000", "3001", "3002", "3003", "3004", "3005", "3006", "3007", "3008", "other",
];

/// The protocol's response codes, by number.
pub(super) const CODES: &[&str] = &[
    "Success",
    "UnknownError",
    "InternalError",
    "RequestError",
    "AuthError",
    "ToastError",
    "other",
    "AlertError",
    "RetryError",
];

/// Why connections become no session.
pub(super) const CONNECTION_REFUSALS: &[&str] =
    &["full", "per_ip", "dropped", "proxy_protocol", "tls", "timeout", "http", "origin"];

/// Why requests lead to no call, and the code of the answer.
pub(super) const REFUSALS: &[[&str; 2]] = &[
    ["no_request", "RequestError"],
    ["unknown_method", "RequestError"],
    ["unresolved", "RetryError"],
    ["not_logged_in", "AuthError"],
    ["login_expired", "AuthError"],
    ["login_refused", "AuthError"],
    ["login_unjudged", "RetryError"],
    ["not_encrypted", "RequestError"],
    ["malformed", "RequestError"],
];

/// What can become of a push.
pub(super) const OUTCOMES: &[&str] =
    &["queued", "written", "acknowledged", "offline", "overflowed", "closed", "expired"];

/// gRPC's statuses, by number.
pub(super) const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What a response code is called.
pub(super) fn code_label(code: i32) -> &'static str {
    usize::try_from(code).ok().and_then(|code| CODES.get(code)).copied().unwrap_or("other")
}

/// What a gRPC status is called.
pub fn status_label(status: i32) -> &'static str {
    usize::try_from(status)
        .ok()
        .and_then(|status| STATUSES.get(status))
        .copied()
        .unwrap_or("UNKNOWN")
}

/// A gRPC status for a log line: its name, as metrics have it, and its message.
pub fn status_text(status: &tonic::Status) -> String {
    let (name, message) = (status_label(status.code() as i32), status.message());
    if message.is_empty() { name.to_owned() } else { format!("{name}: {message}") }
}

/// What a close code is called.
pub(super) fn close_label(code: u16) -> &'static str {
    let is_it = |label: &&&str| label.parse() == Ok(code);
    CLOSE_CODES.iter().find(is_it).copied().unwrap_or("other")
}
