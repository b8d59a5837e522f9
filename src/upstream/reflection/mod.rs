//! Asks a server for the descriptors of its services, by gRPC server
//! reflection, version 1 or else 1alpha.
//!
//! What descriptors mean is decided elsewhere: here they are files with names
//! and imports.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/server-reflection.md>

mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use prost_types::FileDescriptorProto;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use self::client::{Client, Version};
use super::{Rules, Upstream};
use crate::wire;

/// More files than any server has; one that names ever new imports must end.
const MAX_FILES: usize = 10_000;

/// What a server says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reflected {
    /// A serialized `google.protobuf.FileDescriptorSet`: the files of the
    /// asked symbols and all they import, imports first.
    pub file_descriptor_set: Bytes,
    /// Full names of every service the server lists, sorted.
    pub services: Vec<String>,
}

/// Why a server's descriptors could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReflectionError {
    /// No connection, or it broke, or no answer in time: worth another try later.
    #[error("`{upstream}` cannot be reached for reflection: {reason}")]
    Unreachable {
        /// The upstream's name.
        upstream: String,
        /// What happened.
        reason: String,
    },
    /// The server does not speak reflection, neither v1 nor v1alpha.
    #[error(
        "`{upstream}` does not offer server reflection: enable it there, \
         or name descriptor set files under `descriptors`"
    )]
    NotImplemented {
        /// The upstream's name.
        upstream: String,
    },
    /// The server does not know one of the symbols.
    #[error("`{upstream}` does not know `{symbol}`; it has {}", listed(.services))]
    UnknownSymbol {
        /// The upstream's name.
        upstream: String,
        /// The service or method asked for.
        symbol: String,
        /// The services the server does list.
        services: Vec<String>,
    },
    /// The server refuses to answer, or answers nonsense.
    #[error("`{upstream}` failed to reflect: {status}")]
    Failed {
        /// The upstream's name.
        upstream: String,
        /// What it said.
        status: Status,
    },
}

fn listed(services: &[String]) -> String {
    if services.is_empty() { "no services".into() } else { services.join(", ") }
}

/// Asks for the files that define `symbols` (full names, without a leading
/// dot), over a connection of its own. The calls carry what `rules` set.
///
/// Must be called inside a tokio runtime, not necessarily a worker's. Takes no
/// longer than `timeout`.
///
/// # Cancel safety
///
/// May be dropped at any time; the connection is closed.
pub async fn fetch(
    upstream: &Upstream,
    rules: Option<&Rules>,
    symbols: &[&str],
    timeout: Duration,
) -> Result<Reflected, ReflectionError> {
    let unreachable =
        |reason| ReflectionError::Unreachable { upstream: upstream.name().to_owned(), reason };
    let reflect = async {
        let connection = client::connect(upstream, rules).await.map_err(unreachable)?;
        let reflection = Reflection { upstream: upstream.name(), files: BTreeMap::new() };
        for version in [Version::V1, Version::V1Alpha] {
            let mut client = Client::new(&connection, version);
            let services = match reflection.services(&mut client).await {
                Err(ReflectionError::NotImplemented { .. }) => continue,
                other => other?,
            };
            return reflection.collect(&mut client, symbols, services).await;
        }
        Err(ReflectionError::NotImplemented { upstream: upstream.name().to_owned() })
    };
    tokio::time::timeout(timeout, reflect)
        .await
        .unwrap_or_else(|_| Err(unreachable(format!("no answer within {timeout:?}"))))
}

/// The files collected so far.
struct Reflection<'a> {
    upstream: &'a str,
    files: BTreeMap<String, File>,
}

struct File {
    /// As the server sent it: decoding drops custom options.
    bytes: Vec<u8>,
    imports: Vec<String>,
}

impl Reflection<'_> {
    async fn services(&self, client: &mut Client<'_>) -> Result<Vec<String>, ReflectionError> {
        match client.ask(MessageRequest::ListServices(String::new())).await {
            Ok(MessageResponse::ListServicesResponse(list)) => {
                let names: BTreeSet<_> = list.service.into_iter().map(|one| one.name).collect();
                Ok(names.into_iter().collect())
            }
            Ok(_) => Err(self.failed(Status::internal("no list of services"))),
            Err(status) => Err(self.failed(status)),
        }
    }

    /// Fetches the symbols' files, then what they import, until nothing is
    /// missing. A server may send a file alone or with all of its imports.
    async fn collect(
        mut self,
        client: &mut Client<'_>,
        symbols: &[&str],
        services: Vec<String>,
    ) -> Result<Reflected, ReflectionError> {
        let mut roots = Vec::new();
        for &symbol in symbols {
            let question = MessageRequest::FileContainingSymbol(symbol.to_owned());
            match self.files_of(client, question).await? {
                Some(names) => roots.extend(names),
                None => {
                    return Err(ReflectionError::UnknownSymbol {
                        upstream: self.upstream.to_owned(),
                        symbol: symbol.to_owned(),
                        services,
                    });
                }
            }
        }
        while let Some(name) = self.missing() {
            let question = MessageRequest::FileByFilename(name.clone());
            let found = self.files_of(client, question).await?;
            if found.is_some() && self.files.contains_key(&name) {
                continue;
            }
            // Servers may leave out what comes with every protobuf runtime.
            let Some(bytes) = well_known(&name) else {
                let problem = format!("it imports `{name}` but does not have it");
                return Err(self.failed(Status::not_found(problem)));
            };
            self.add(bytes)?;
        }
        Ok(Reflected { file_descriptor_set: self.in_order(&roots), services })
    }

    /// Adds the files that answer a question and returns their names; `None`
    /// when the server knows of none.
    async fn files_of(
        &mut self,
        client: &mut Client<'_>,
        question: MessageRequest,
    ) -> Result<Option<Vec<String>>, ReflectionError> {
        match client.ask(question).await {
            Ok(MessageResponse::FileDescriptorResponse(response)) => {
                let add = |file| self.add(file);
                response
                    .file_descriptor_proto
                    .into_iter()
                    .map(add)
                    .collect::<Result<_, _>>()
                    .map(Some)
            }
            Ok(_) => Err(self.failed(Status::internal("no file descriptors"))),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(self.failed(status)),
        }
    }

    fn add(&mut self, bytes: Vec<u8>) -> Result<String, ReflectionError> {
        let file = FileDescriptorProto::decode(&*bytes)
            .map_err(|error| self.failed(Status::internal(format!("a bad descriptor: {error}"))))?;
        let name = file.name().to_owned();
        if self.files.len() >= MAX_FILES {
            return Err(self.failed(Status::resource_exhausted("too many files")));
        }
        self.files.insert(name.clone(), File { bytes, imports: file.dependency });
        Ok(name)
    }

    /// A file that is imported and not there.
    fn missing(&self) -> Option<String> {
        let mut imports = self.files.values().flat_map(|file| &file.imports);
        imports.find(|import| !self.files.contains_key(*import)).cloned()
    }

    /// All files, each behind what it imports. Not recursive: how deep imports
    /// go is up to the server.
    fn in_order(&self, roots: &[String]) -> Bytes {
        enum Step<'a> {
            Visit(&'a str),
            Emit(&'a File),
        }
        let mut set = Vec::new();
        let mut seen = BTreeSet::new();
        let mut steps: Vec<_> = roots.iter().rev().map(|name| Step::Visit(name)).collect();
        while let Some(step) = steps.pop() {
            match step {
                // FileDescriptorSet.file
                Step::Emit(file) => wire::put_len(&mut set, 1, &file.bytes),
                Step::Visit(name) => {
                    if let Some(file) = self.files.get(name)
                        && seen.insert(name)
                    {
                        steps.push(Step::Emit(file));
                        steps.extend(file.imports.iter().rev().map(|name| Step::Visit(name)));
                    }
                }
            }
        }
        set.into()
    }

    fn failed(&self, status: Status) -> ReflectionError {
        let upstream = self.upstream.to_owned();
        // A status that tonic made of a transport's error carries that error.
        let is_transport = std::error::Error::source(&status).is_some();
        match status.code() {
            Code::Unimplemented => ReflectionError::NotImplemented { upstream },
            code if is_transport
                || matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled) =>
            {
                ReflectionError::Unreachable { upstream, reason: status.message().to_owned() }
            }
            _ => ReflectionError::Failed { upstream, status },
        }
    }
}

/// One of the files under `google/protobuf/` that every runtime has.
fn well_known(name: &str) -> Option<Vec<u8>> {
    let file = prost_reflect::DescriptorPool::global().get_file_by_name(name)?;
    name.starts_with("google/protobuf/").then(|| file.encode_to_vec())
}
