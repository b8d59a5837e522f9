//! One client's session.

pub mod sweeper;
