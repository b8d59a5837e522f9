//! Calls of upstreams, against real servers. One behaviour a module.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

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
mod transports;
mod vanishing_client;
