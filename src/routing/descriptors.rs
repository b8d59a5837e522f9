//! What services say of their methods and messages: a pool of descriptors.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use super::suggest::{closest, did_you_mean};

/// Descriptors that cannot be used, or do not hold what is looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Bytes that are no `FileDescriptorSet`.
    #[error(
        "not a FileDescriptorSet ({0}); make one with `buf build -o set.binpb` or \
         `protoc --include_imports --descriptor_set_out=set.binpb`"
    )]
    NotASet(String),
    /// A file imports another that is in no set.
    #[error("`{file}` imports `{import}`, which is missing; with protoc, add `--include_imports`")]
    MissingImport {
        /// The importing file.
        file: String,
        /// The file that is missing.
        import: String,
    },
    /// Files that contradict themselves or each other.
    #[error("the descriptors do not fit together: {0}")]
    Invalid(String),
    /// A method not written as `package.Service/Method`.
    #[error("`{0}` is not an RPC; write `package.Service/Method`")]
    NotAnRpc(String),
    /// No such service.
    #[error("no service `{service}`{}", did_you_mean(suggestion.as_ref()))]
    NoSuchService {
        /// The service asked for.
        service: String,
        /// A service of a similar name.
        suggestion: Option<String>,
    },
    /// No such method in that service.
    #[error("no method `{method}` in service `{service}`{}", did_you_mean(suggestion.as_ref()))]
    NoSuchMethod {
        /// The service.
        service: String,
        /// The method asked for.
        method: String,
        /// A method of a similar name.
        suggestion: Option<String>,
    },
}

/// A pool of descriptors.
#[derive(Debug, Clone, Default)]
pub struct Descriptors(DescriptorPool);

impl Descriptors {
    /// Reads serialized `FileDescriptorSet`s. A file may be in several; the
    /// first one counts. Imports of `google/protobuf/*` need not be there.
    pub fn from_sets<'a>(
        sets: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, DescriptorError> {
        let mut files = BTreeMap::new();
        for set in sets {
            let set = FileDescriptorSet::decode(set)
                .map_err(|error| DescriptorError::NotASet(error.to_string()))?;
            for file in set.file {
                files.entry(file.name().to_owned()).or_insert(file);
            }
        }
        add_imports(&mut files)?;
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_protos(files.into_values())
            .map_err(|error| DescriptorError::Invalid(error.to_string()))?;
        Ok(Self(pool))
    }

    /// All descriptors.
    pub fn pool(&self) -> &DescriptorPool {
        &self.0
    }

    /// The service of this full name.
    pub fn service(&self, name: &str) -> Result<ServiceDescriptor, DescriptorError> {
        self.0.get_service_by_name(name).ok_or_else(|| {
            let services: Vec<_> = self.0.services().collect();
            let names = services.iter().map(ServiceDescriptor::full_name);
            DescriptorError::NoSuchService {
                service: name.to_owned(),
                suggestion: closest(name, names).map(str::to_owned),
            }
        })
    }

    /// The method of this name, written `package.Service/Method`.
    pub fn method(&self, rpc: &str) -> Result<MethodDescriptor, DescriptorError> {
        let is_name = |name: &str| !name.is_empty() && !name.contains('/');
        let (service, method) = rpc
            .split_once('/')
            .filter(|(service, method)| is_name(service) && is_name(method))
            .ok_or_else(|| DescriptorError::NotAnRpc(rpc.to_owned()))?;
        let service = self.service(service)?;
        service.methods().find(|candidate| candidate.name() == method).ok_or_else(|| {
            let methods: Vec<_> = service.methods().collect();
            let names = methods.iter().map(MethodDescriptor::name);
            DescriptorError::NoSuchMethod {
                service: service.full_name().to_owned(),
                method: method.to_owned(),
                suggestion: closest(method, names).map(str::to_owned),
            }
        })
    }
}

/// Adds imports that everybody has: servers and protoc often leave them out.
fn add_imports(files: &mut BTreeMap<String, FileDescriptorProto>) -> Result<(), DescriptorError> {
    let well_known = DescriptorPool::global();
    let mut unchecked: Vec<String> = files.keys().cloned().collect();
    while let Some(name) = unchecked.pop() {
        let imports = files.get(&name).map(|file| file.dependency.clone()).unwrap_or_default();
        for import in imports {
            if files.contains_key(&import) {
                continue;
            }
            let Some(file) = well_known.get_file_by_name(&import) else {
                return Err(DescriptorError::MissingImport { file: name, import });
            };
            files.insert(import.clone(), file.file_descriptor_proto().clone());
            unchecked.push(import);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::demo::FILE_DESCRIPTOR_SET as DEMO;

    fn demo() -> Descriptors {
        Descriptors::from_sets([DEMO, DEMO]).unwrap()
    }

    fn file(name: &str, imports: &[&str]) -> Vec<u8> {
        let dependency = imports.iter().map(|import| (*import).to_owned()).collect();
        let file =
            FileDescriptorProto { name: Some(name.into()), dependency, ..Default::default() };
        FileDescriptorSet { file: vec![file] }.encode_to_vec()
    }

    #[test]
    fn methods_are_found_by_their_full_name() {
        let method = demo().method("pb.msgService/SendMsgListAsync").unwrap();
        assert_eq!(method.input().full_name(), "pb.SendMsgListReq");
    }

    #[test]
    fn errors_say_what_would_be_right() {
        let error = |rpc| demo().method(rpc).unwrap_err().to_string();
        assert_eq!(
            error("pb.msgService/SendMsgListAsinc"),
            "no method `SendMsgListAsinc` in service `pb.msgService`; \
             did you mean `SendMsgListAsync`?"
        );
        assert_eq!(
            error("pb.msgServise/SendMsgListAsync"),
            "no service `pb.msgServise`; did you mean `pb.msgService`?"
        );
        for rpc in ["", "pb.msgService", "/pb.msgService/X", "pb.msgService/", "a/b/c"] {
            assert!(error(rpc).ends_with("write `package.Service/Method`"), "{rpc}");
        }
    }

    #[test]
    fn well_known_imports_need_not_be_there_but_others_must() {
        let set = file("a.proto", &["google/protobuf/timestamp.proto"]);
        assert!(Descriptors::from_sets([&*set]).is_ok());
        let set = file("a.proto", &["b.proto"]);
        let error = Descriptors::from_sets([&*set]).unwrap_err().to_string();
        assert!(error.starts_with("`a.proto` imports `b.proto`, which is missing"), "{error}");
        let (a, b) = (file("a.proto", &["b.proto"]), file("b.proto", &[]));
        assert!(Descriptors::from_sets([&*a, &*b]).is_ok());
    }

    #[test]
    fn bytes_that_are_no_set_are_an_error() {
        let error = Descriptors::from_sets([&b"routes: {}"[..]]).unwrap_err();
        assert!(matches!(error, DescriptorError::NotASet(_)), "{error}");
    }
}
