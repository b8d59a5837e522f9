//! Messages generated from `proto/`: the session protocol that clients speak,
//! the Push API that backends call, the cluster protocol between gateways and,
//! apart from them, the demo services. Nothing is written by hand here.

/// `bridgehead.session.v1`: the messages inside WebSocket frames.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod session {
    include!(concat!(env!("OUT_DIR"), "/bridgehead.session.v1.rs"));
}

/// `bridgehead.push.v1`: the messages and the client of the Push API. Its
/// server is in `push`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod push {
    include!(concat!(env!("OUT_DIR"), "/bridgehead.push.v1.rs"));

    /// The serialized `FileDescriptorSet` of the Push API, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/push_descriptors.bin"));
}

/// `bridgehead.cluster.v1`: the messages between gateways.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod cluster {
    include!(concat!(env!("OUT_DIR"), "/bridgehead.cluster.v1.rs"));
}

/// `pb`: the demo's user, relation and message services.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod demo {
    include!(concat!(env!("OUT_DIR"), "/pb.rs"));

    /// The serialized `FileDescriptorSet` of these services, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/demo_descriptors.bin"));
}
