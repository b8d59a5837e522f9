//! What services say of their methods and messages: a pool of descriptors.

mod files;

use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

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
    /// A file in a syntax that nobody knew when this was written.
    #[error(
        "`{file}` is written in `{syntax}`, which is not known here; write it in proto2, proto3 \
         or an edition"
    )]
    UnknownSyntax {
        /// The file.
        file: String,
        /// What it says its syntax is.
        syntax: String,
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
        files::pool(sets).map(Self)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::demo::FILE_DESCRIPTOR_SET as DEMO;

    fn demo() -> Descriptors {
        Descriptors::from_sets([DEMO, DEMO]).unwrap()
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
}
