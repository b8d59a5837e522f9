//! Shared code of integration tests. Each test file uses some of it.
#![allow(dead_code, reason = "no test file uses everything")]
#![allow(unreachable_pub, reason = "a module of each test file, and reachable from nowhere else")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

pub mod grpc;
pub mod proxy;
pub mod raw;
pub mod streams;
