//! One step of a request on its way here.

use std::net::IpAddr;

/// The content of a list's element.
pub(super) enum Hop {
    /// Nothing: RFC 9110, section 5.6.1, has empty elements ignored.
    Empty,
    At(IpAddr),
    Unknown,
}
