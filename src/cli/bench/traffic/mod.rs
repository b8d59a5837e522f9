//! Traffic that costs little to make: very many connections, and requests on
//! them one behind the other or at a fixed rate.
//!
//! - [`schedule`]: when requests are due, at a fixed rate.
//! - [`slots`]: requests in flight on a connection.
//! - [`tally`]: the answers, counted.
//! - [`desk`]: state shared by the connections of a thread: their orders, their
//!   buffers, their tally.
//! - [`mod@line`]: a connection at work, which is one future.
//! - [`pacer`]: wakes connections when a request is due.
//! - [`generator`]: a thread with its connections, and the [`generator::Fleet`]
//!   of all threads.
//!
//! Requests and reports are the part of `call` and `idle`.

pub(super) mod desk;
pub(super) mod generator;
mod line;
mod pacer;
pub(super) mod schedule;
mod slots;
pub(super) mod tally;
