//! How HTTP/2 counts headers.

/// The size of a header in a list whose size a peer limits: RFC 9113,
/// section 6.5.2.
#[must_use]
pub const fn header_size(name: &str, value: usize) -> usize {
    name.len() + value + 32
}
