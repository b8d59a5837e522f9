//! The server's side of the Push API as generated, with [`super::codec`] for its codec.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]

include!(concat!(env!("OUT_DIR"), "/push_server/bridgehead.push.v1.rs"));
