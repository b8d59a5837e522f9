//! Messages over the limit, and the status of their refusal.

use http::{HeaderValue, Response};

/// tonic refuses a message over the limit with `OUT_OF_RANGE`; gRPC's own code
/// for that, which other implementations use, is `RESOURCE_EXHAUSTED`.
pub(super) fn mend_status<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    let is_out_of_range = headers.get("grpc-status").is_some_and(|status| status == "11");
    let is_too_large = |message: &HeaderValue| is_too_large(message.as_bytes());
    if is_out_of_range && headers.get("grpc-message").is_some_and(is_too_large) {
        headers.insert("grpc-status", HeaderValue::from_static("8"));
    }
    response
}

/// Whether a status message is tonic's of a message over the limit. In headers
/// it is percent-encoded.
pub(super) fn is_too_large(message: &[u8]) -> bool {
    message.starts_with(b"Error, decoded message length too large")
        || message.starts_with(b"Error,%20decoded%20message%20length%20too%20large")
}
