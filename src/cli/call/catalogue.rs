//! Which messages a method takes and returns.
//!
//! Descriptors come from anywhere, and are gathered here under the client's
//! names of methods.

use std::collections::BTreeMap;
use std::path::PathBuf;

use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};

use crate::proto::demo;
use crate::routing::RouteTable;

/// The gateway answers this one itself, with nothing.
const KEEP_ALIVE: &str = "/v1/conn/keepAlive";
/// How alike two names must be for one to be proposed for the other (0 to 1).
const ALIKE: f64 = 0.8;

/// A method's request and response message.
type Messages = (MessageDescriptor, MessageDescriptor);

/// The methods that are known, and all messages beside them.
#[derive(Debug, Default)]
pub(in crate::cli) struct Catalogue {
    pools: Vec<DescriptorPool>,
    routes: BTreeMap<String, Messages>,
}

/// Descriptors that cannot be used, or do not have what is looked for.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum CatalogueError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    /// A file is no set of descriptors, or lacks what it imports.
    #[error("{} is no FileDescriptorSet with all its imports: {error}", path.display())]
    NoDescriptors { path: PathBuf, error: prost_reflect::DescriptorError },
    /// No descriptor has this method.
    #[error("there is no rpc `{rpc}` in the descriptors; {hint}")]
    UnknownRpc { rpc: String, hint: String },
    /// No route has this name.
    #[error("it is not known which messages `{method}` takes and returns; {hint}")]
    UnknownMethod { method: String, hint: String },
}

impl Catalogue {
    /// The demo's services, as the demo's gateway names their methods.
    pub(in crate::cli) fn demo() -> Result<Self, CatalogueError> {
        let mut catalogue = Self::default();
        catalogue.add_descriptors("(demo)".into(), demo::FILE_DESCRIPTOR_SET)?;
        for (method, rpc) in [
            ("/v1/user/white/login", "pb.userService/Login"),
            ("/v1/relation/getFriendList", "pb.relationService/GetFriendList"),
            ("/v1/msg/sendMsgList", "pb.msgService/SendMsgListAsync"),
        ] {
            let rpc = catalogue.rpc(rpc)?;
            catalogue.add_route(method, (rpc.input(), rpc.output()));
        }
        Ok(catalogue)
    }

    /// Adds the routes of a gateway.
    pub(in crate::cli) fn add_table<U>(&mut self, table: &RouteTable<U>) {
        for route in table.routes() {
            let pool = route.input.parent_pool();
            if !self.pools.contains(pool) {
                self.pools.push(pool.clone());
            }
            self.add_route(&route.name, (route.input.clone(), route.output.clone()));
        }
    }

    /// Serialized `FileDescriptorSet`s from files. They may import from those
    /// before them.
    pub(in crate::cli) fn from_files(files: &[PathBuf]) -> Result<Self, CatalogueError> {
        let mut pool = DescriptorPool::new();
        for path in files {
            let set = std::fs::read(path)
                .map_err(|error| CatalogueError::Unreadable { path: path.clone(), error })?;
            pool.decode_file_descriptor_set(&*set)
                .map_err(|error| CatalogueError::NoDescriptors { path: path.clone(), error })?;
        }
        Ok(Self { pools: vec![pool], routes: BTreeMap::new() })
    }

    /// Adds a pool of its own: sets of different services may disagree.
    pub(in crate::cli) fn add_descriptors(
        &mut self,
        path: PathBuf,
        set: &[u8],
    ) -> Result<(), CatalogueError> {
        let pool = DescriptorPool::decode(set)
            .map_err(|error| CatalogueError::NoDescriptors { path, error })?;
        self.pools.push(pool);
        Ok(())
    }

    /// Makes a method known by the client's name.
    pub(in crate::cli) fn add_route(&mut self, method: &str, messages: Messages) {
        self.routes.insert(method.to_owned(), messages);
    }

    /// The rpc called `package.Service/Method`.
    pub(in crate::cli) fn rpc(&self, name: &str) -> Result<MethodDescriptor, CatalogueError> {
        let all = || {
            let services = self.pools.iter().flat_map(DescriptorPool::services);
            services.flat_map(|service| service.methods().collect::<Vec<_>>())
        };
        all().find(|rpc| rpc_name(rpc) == name).ok_or_else(|| {
            let names: Vec<_> = all().map(|rpc| rpc_name(&rpc)).collect();
            CatalogueError::UnknownRpc { rpc: name.to_owned(), hint: hint(name, &names) }
        })
    }

    /// The request and the response message of a method, by the client's name:
    /// a route, or `/package.Service/Method` of a service that is exposed.
    pub(in crate::cli) fn messages_for(&self, method: &str) -> Result<Messages, CatalogueError> {
        if method == KEEP_ALIVE
            && let Some(empty) =
                DescriptorPool::global().get_message_by_name("google.protobuf.Empty")
        {
            return Ok((empty.clone(), empty));
        }
        match self.routes.get(method) {
            Some(messages) => Ok(messages.clone()),
            None => self.exposed(method).ok_or_else(|| {
                let names: Vec<_> = self.routes.keys().cloned().collect();
                CatalogueError::UnknownMethod {
                    method: method.to_owned(),
                    hint: hint(method, &names),
                }
            }),
        }
    }

    /// The message with this full name, in whichever pool has it.
    pub(in crate::cli) fn message(&self, full_name: &str) -> Option<MessageDescriptor> {
        self.pools.iter().find_map(|pool| pool.get_message_by_name(full_name))
    }

    fn exposed(&self, method: &str) -> Option<Messages> {
        let rpc = self.rpc(method.strip_prefix('/')?).ok()?;
        Some((rpc.input(), rpc.output()))
    }
}

fn rpc_name(rpc: &MethodDescriptor) -> String {
    format!("{}/{}", rpc.parent_service().full_name(), rpc.name())
}

/// What may be meant by `name`, or what there is.
fn hint(name: &str, all: &[String]) -> String {
    let nearest = all
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, nearest)) => format!("did you mean `{nearest}`?"),
        None if all.is_empty() => "none are".to_owned(),
        None => format!("there are {}", all.join(", ")),
    }
}
