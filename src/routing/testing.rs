//! Descriptors for tests, from proto files written in place.

use prost::Message as _;
use prost_types::FileDescriptorProto;
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::Descriptors;

/// The name of the file.
const NAME: &str = "t.proto";

/// The one file that there is.
struct Only(String);

impl FileResolver for Only {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == NAME {
            File::from_source(name, &self.0)
        } else {
            Err(protox::Error::file_not_found(name))
        }
    }
}

/// The descriptors of one proto file.
pub(super) fn compile(proto: &str) -> Descriptors {
    compile_with(proto, |_| ())
}

/// The same, with a change that no compiler of this version writes.
pub(super) fn compile_with(proto: &str, change: impl Fn(&mut FileDescriptorProto)) -> Descriptors {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Only(proto.to_owned()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file(NAME).unwrap();
    let mut set = compiler.file_descriptor_set();
    set.file.iter_mut().filter(|file| file.name() == NAME).for_each(change);
    Descriptors::from_sets([&*set.encode_to_vec()]).unwrap()
}
