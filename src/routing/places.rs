//! Where a request message has the caller's identity.

use super::identity::Slot;
use super::nest::Nest;

/// Where a request message has the caller's identity.
#[derive(Debug)]
pub(super) enum Places {
    /// Nowhere.
    None,
    /// In one top-level field.
    Top(Slot),
    /// Below the top level too, or in a group.
    Nested(Box<Nest>),
}
