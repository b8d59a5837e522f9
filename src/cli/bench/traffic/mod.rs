//! Traffic that costs little to make: very many connections, and requests on
//! them one behind the other or at a fixed rate.
//!
//! - [`schedule`]: when requests are due, at a fixed rate.
//! - [`slots`]: what is in flight on a connection.
//! - [`tally`]: what has come of it.
//! - [`desk`]: what the connections of a thread share: their orders, their
//!   buffers, their tally.
//! - [`mod@line`]: a connection at work, which is one future.
//! - [`pacer`]: wakes connections when a request is due.
//! - [`generator`]: a thread with its connections, and the [`generator::Fleet`]
//!   of all threads.
//!
//! What is sent and what is made of the figures is for `call` and `idle`.

pub(super) mod desk;
pub(super) mod generator;
mod line;
mod pacer;
pub(super) mod schedule;
mod slots;
pub(super) mod tally;
