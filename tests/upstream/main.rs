//! Calls of upstreams, against real servers. One behaviour a module.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "some tests say how long something took")]

mod support;

mod answers;
mod balance;
mod deadlines;
mod dns;
mod first_words;
mod goodbye;
mod hung;
mod memory;
mod reflection;
mod restart;
mod retry;
mod stream_faults;
mod stream_flow;
mod streams;
mod transports;
mod vanishing_client;
