//! Whether servers are asked when a configuration is resolved.

/// Where descriptors come from when an upstream uses reflection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reflection {
    /// Ask every server.
    Ask,
    /// Ask only servers whose answer is not known yet.
    AskUnknown,
    /// Ask no server.
    Offline,
}
