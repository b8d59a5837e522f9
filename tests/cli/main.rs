//! The commands as people use them: the real binary, in folders where nothing
//! else is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

mod arguments;
mod call;
mod chat;
mod check;
mod kick;
mod manners;
mod push;
mod push_access;
mod sessions;
mod token;
