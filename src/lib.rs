//! Bridgehead: a WebSocket edge for gRPC services.

pub mod proto;
