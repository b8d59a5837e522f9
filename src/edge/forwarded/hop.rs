//! One step of a request on its way here.

use std::net::IpAddr;

/// What an element of a list says.
pub(super) enum Hop {
    /// Nothing: RFC 9110, section 5.6.1, has empty elements ignored.
    Empty,
    At(IpAddr),
    Unknown,
}
