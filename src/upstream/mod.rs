//! Connections to gRPC services and the calls over them.
