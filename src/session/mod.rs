//! One client's session.
