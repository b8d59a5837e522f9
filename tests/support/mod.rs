//! What integration tests share. Each test file uses some of it.
#![allow(dead_code, reason = "no test file uses everything")]

pub mod grpc;
