//! The client listener.
