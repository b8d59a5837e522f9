//! What travels inside a frame.
