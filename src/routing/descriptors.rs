//! Descriptions of services' methods and messages: a pool of descriptors.

mod differences;
mod error;
mod features;
mod files;
mod imports;
mod sets;

use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor, ServiceDescriptor};

use self::sets::Pool;

use super::suggest::closest;

pub use error::DescriptorError;

/// Descriptions of services' methods and messages.
#[derive(Debug, Clone, Default)]
pub struct Descriptors {
    /// One for all sets where these agree, else one for each.
    pools: Vec<Pool>,
}

impl Descriptors {
    /// Reads serialized `FileDescriptorSet`s; as [`Self::from_named_sets`],
    /// where names are not known.
    pub fn from_sets<'a>(
        sets: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, DescriptorError> {
        Self::from_named_sets(sets.into_iter().map(|set| ("", set)))
    }

    /// Reads serialized `FileDescriptorSet`s; errors contain their names.
    ///
    /// A file may be in several. Where these differ, each set is read with its
    /// own, so that a service has the messages that it was compiled with.
    /// Imports of `google/protobuf/*` need not be there, nor imports for options
    /// only.
    pub fn from_named_sets<'a>(
        sets: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, DescriptorError> {
        sets::pools(sets).map(|pools| Self { pools })
    }

    /// Reads one set, in which more may be missing: of its files only `roots`
    /// are wanted for themselves, and others as far as these need them.
    pub fn from_files(set: &[u8], roots: &[String]) -> Result<Self, DescriptorError> {
        sets::pool_of(set, roots).map(|pool| Self { pools: vec![pool] })
    }

    /// All descriptors.
    pub fn pools(&self) -> impl Iterator<Item = &DescriptorPool> {
        self.pools.iter().map(|of| &of.pool)
    }

    /// The message of this full name; of several, that of the first set.
    pub fn message(&self, name: &str) -> Option<MessageDescriptor> {
        self.pools().find_map(|pool| pool.get_message_by_name(name))
    }

    /// The service of this full name.
    pub fn service(&self, name: &str) -> Result<ServiceDescriptor, DescriptorError> {
        let having = |of: &Pool| Some((of.set.clone(), of.pool.get_service_by_name(name)?));
        let mut having = self.pools.iter().filter_map(having);
        let Some((first, service)) = having.next() else {
            let services: Vec<_> = self.pools().flat_map(DescriptorPool::services).collect();
            let names = services.iter().map(ServiceDescriptor::full_name);
            return Err(DescriptorError::NoSuchService {
                service: name.to_owned(),
                suggestion: closest(name, names).map(str::to_owned),
            });
        };
        for (second, other) in having {
            if let Some(difference) = differences::of_described(&service, &other) {
                let difference = difference.between(&first, &second);
                let service = name.to_owned();
                return Err(DescriptorError::Ambiguous { service, first, second, difference });
            }
        }
        Ok(service)
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
