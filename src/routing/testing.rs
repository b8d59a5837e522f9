//! Descriptors for tests, from proto files written in place.

use prost::Message as _;
use prost_types::FileDescriptorProto;

use super::Descriptors;

/// The descriptors of one proto file.
pub(super) fn compile(proto: &str) -> Descriptors {
    compile_with(proto, |_| ())
}

/// The same, changed into what no compiler of this version writes.
pub(super) fn compile_with(proto: &str, change: impl Fn(&mut FileDescriptorProto)) -> Descriptors {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.proto"), proto).unwrap();
    let mut set = protox::compile(["t.proto"], [folder.path()]).unwrap();
    set.file.iter_mut().filter(|file| file.name() == "t.proto").for_each(change);
    Descriptors::from_sets([&*set.encode_to_vec()]).unwrap()
}
