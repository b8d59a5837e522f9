//! What travels inside a frame.

mod close;

pub use close::Close;
