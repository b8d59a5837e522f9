//! Which method goes where.
