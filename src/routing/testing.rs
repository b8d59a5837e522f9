//! Descriptors for tests, from proto files written in place.

use prost::Message as _;

use super::Descriptors;

/// The descriptors of one proto file.
pub(super) fn compile(proto: &str) -> Descriptors {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.proto"), proto).unwrap();
    let set = protox::compile(["t.proto"], [folder.path()]).unwrap();
    Descriptors::from_sets([&*set.encode_to_vec()]).unwrap()
}
