//! Asks a server for the descriptors of its services, by gRPC server
//! reflection, version 1 or else 1alpha.
//!
//! Descriptors are interpreted elsewhere: here they are files with names and
//! imports.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/server-reflection.md>

mod client;
mod files;

use std::time::Duration;

use bytes::Bytes;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use self::client::{Client, Connection, Version};
use self::files::Files;
use super::{Rules, Upstream};
use crate::metrics::status_text;

/// More services than any server has.
const MAX_SERVICES: usize = 1000;
/// Length of a server's own words in errors, at most.
const MAX_WORDS: usize = 200;
/// How many of its services are listed, at most.
const MAX_LISTED: usize = 20;

/// A server's description of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reflected {
    /// A serialized `google.protobuf.FileDescriptorSet`: the files of the
    /// asked symbols and all they import that there is, imports first.
    pub file_descriptor_set: Bytes,
    /// The names of the files that define the asked symbols.
    pub roots: Vec<String>,
    /// Imports of these that the server does not have. Whether anything needs
    /// them is in the files.
    pub missing: Vec<Missing>,
    /// Full names of the services that the server lists, sorted.
    pub services: Vec<String>,
}

/// An import that a server does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The file.
    pub import: String,
    /// The server's answer to the request for it.
    pub answer: String,
    /// Whether it may answer otherwise another time.
    pub may_pass: bool,
}

/// Why a server's descriptors could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReflectionError {
    /// No connection, or it broke, or no answer in time: worth another try later.
    #[error("`{upstream}` cannot be reached for reflection: {reason}")]
    Unreachable {
        /// The upstream's name.
        upstream: String,
        /// The failure.
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
    /// The server's descriptors are incomplete, or do not fit together.
    #[error(
        "`{upstream}` cannot be used by what it reflects: {reason}; name descriptor set files under \
         `descriptors` instead, made with `buf build -o` or `protoc --include_imports \
         --descriptor_set_out`"
    )]
    Unusable {
        /// The upstream's name.
        upstream: String,
        /// The missing or wrong part.
        reason: String,
    },
    /// The server refuses to answer, or answers nonsense.
    #[error("`{upstream}` failed to reflect: {}", status_text(status))]
    Failed {
        /// The upstream's name.
        upstream: String,
        /// Its answer.
        status: Status,
    },
}

fn listed(services: &[String]) -> String {
    let first: Vec<_> = services.iter().take(MAX_LISTED).map(|name| shortened(name)).collect();
    match services.len() {
        0 => "no services".to_owned(),
        all if all > MAX_LISTED => format!("{} and {} more", first.join(", "), all - MAX_LISTED),
        _ => first.join(", "),
    }
}

/// A server's own words, in one line and not too many.
fn shortened(words: &str) -> String {
    let mut line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > MAX_WORDS {
        line.truncate(line.floor_char_boundary(MAX_WORDS));
        line.push('…');
    }
    line
}

/// Asks for the files that define `symbols` (full names, without a leading
/// dot), over a connection of its own. The calls carry the metadata of `rules`.
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
        let round = |version, patience| Round { upstream, version, patience, symbols };
        let first = round(Version::V1, timeout / 2);
        let error = match Box::pin(first.ask(&connection)).await {
            Ok(reflected) => return Ok(reflected),
            Err(error) => error,
        };
        // Whatever its answer to the newer version, it may know the older one.
        let connection = if matches!(error, ReflectionError::Unreachable { .. }) {
            client::connect(upstream, rules).await.map_err(unreachable)?
        } else {
            connection
        };
        let second = Box::pin(round(Version::V1Alpha, timeout).ask(&connection)).await;
        second.map_err(|second| match error {
            ReflectionError::NotImplemented { .. } => second,
            first => first,
        })
    };
    tokio::time::timeout(timeout, reflect)
        .await
        .unwrap_or_else(|_| Err(unreachable(format!("no answer within {timeout:?}"))))
}

/// All questions to a server in one version of the service.
struct Round<'a> {
    upstream: &'a Upstream,
    version: Version,
    /// How long it may take to list its services. A server may not answer one
    /// version at all, but the other.
    patience: Duration,
    symbols: &'a [&'a str],
}

/// The files that answer a question, or an answer without files.
type Told = Result<Vec<Vec<u8>>, Status>;

impl Round<'_> {
    async fn ask(self, connection: &Connection) -> Result<Reflected, ReflectionError> {
        let mut client = Client::new(connection, self.version);
        let services = tokio::time::timeout(self.patience, self.services(&mut client)).await;
        let no_answer = Status::deadline_exceeded("no answer");
        let services = services.unwrap_or_else(|_| Err(self.failed(&no_answer)))?;
        self.collect(&mut client, services).await
    }

    async fn services(&self, client: &mut Client<'_>) -> Result<Vec<String>, ReflectionError> {
        match client.ask(MessageRequest::ListServices(String::new())).await {
            Ok(MessageResponse::ListServicesResponse(list)) => {
                let mut names: Vec<_> = list.service.into_iter().map(|one| one.name).collect();
                names.sort();
                names.dedup();
                names.truncate(MAX_SERVICES);
                Ok(names)
            }
            Ok(_) => Err(self.failed(&Status::internal("no list of services"))),
            Err(status) => Err(self.failed(&status)),
        }
    }

    /// Fetches the symbols' files, then their imports, until everything is there
    /// or known to be missing. A server may send a file alone or with all of its
    /// imports.
    async fn collect(
        &self,
        client: &mut Client<'_>,
        services: Vec<String>,
    ) -> Result<Reflected, ReflectionError> {
        let mut files = Files::default();
        let (mut roots, mut missing) = (Vec::new(), Vec::new());
        for &symbol in self.symbols {
            let question = MessageRequest::FileContainingSymbol(symbol.to_owned());
            match self.files_of(client, question).await? {
                Ok(told) => {
                    let names = self.add(&mut files, told)?;
                    roots.extend(files.defining(symbol, names));
                }
                Err(status)
                    if status.code() == Code::NotFound
                        || !services.iter().any(|known| known == symbol) =>
                {
                    return Err(ReflectionError::UnknownSymbol {
                        upstream: self.upstream.name().to_owned(),
                        symbol: symbol.to_owned(),
                        services,
                    });
                }
                Err(status) => return Err(self.failed(&status)),
            }
        }
        while let Some(import) = files.next_missing() {
            let question = MessageRequest::FileByFilename(import.clone());
            let status = match self.files_of(client, question).await? {
                Ok(told) => {
                    self.add(&mut files, told)?;
                    Status::not_found("other files")
                }
                Err(status) => status,
            };
            if files.has(&import) {
                continue;
            }
            // Servers may leave out files that come with every protobuf runtime.
            match files::well_known(&import) {
                Some(bytes) => drop(self.add(&mut files, vec![bytes])?),
                None => missing.push(Missing {
                    import,
                    answer: status_text(&Status::new(status.code(), shortened(status.message()))),
                    may_pass: may_pass(status.code()) || status.code() == Code::ResourceExhausted,
                }),
            }
        }
        let file_descriptor_set = files.in_order(&roots);
        Ok(Reflected { file_descriptor_set, roots, missing, services })
    }

    /// Asks for files. An error is the connection's.
    async fn files_of(
        &self,
        client: &mut Client<'_>,
        question: MessageRequest,
    ) -> Result<Told, ReflectionError> {
        match client.ask(question).await {
            Ok(MessageResponse::FileDescriptorResponse(response)) => {
                Ok(Ok(response.file_descriptor_proto))
            }
            Ok(_) => Err(self.failed(&Status::internal("no file descriptors"))),
            // The code for a missing file is up to the server.
            Err(status) if !is_transport(&status) => Ok(Err(status)),
            Err(status) => Err(self.failed(&status)),
        }
    }

    /// Adds files, and gives their names.
    fn add(&self, files: &mut Files, told: Vec<Vec<u8>>) -> Result<Vec<String>, ReflectionError> {
        let add = |bytes| files.add(bytes).map_err(|status| self.failed(&status));
        told.into_iter().map(add).collect()
    }

    fn failed(&self, status: &Status) -> ReflectionError {
        let upstream = self.upstream.name().to_owned();
        match status.code() {
            Code::Unimplemented => ReflectionError::NotImplemented { upstream },
            code if is_transport(status) || may_pass(code) => {
                ReflectionError::Unreachable { upstream, reason: shortened(status.message()) }
            }
            code => {
                let status = Status::new(code, shortened(status.message()));
                ReflectionError::Failed { upstream, status }
            }
        }
    }
}

/// A status that tonic made of a transport's error carries that error.
fn is_transport(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

fn may_pass(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_told_in_bounds() {
        assert_eq!(shortened("no\nsuch\x1b[31mfile"), "no such [31mfile");
        assert!(shortened(&"é".repeat(1_000_000)).len() < 2 * MAX_WORDS);
        let many: Vec<_> = (0..1000).map(|n| format!("s{n}")).collect();
        assert!(listed(&many).ends_with("s19 and 980 more"), "{}", listed(&many));
        assert_eq!(listed(&[]), "no services");
    }
}
