//! Errors in descriptors.

use crate::routing::suggest::did_you_mean;

/// Descriptors that cannot be used, or lack the requested name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Bytes that are no `FileDescriptorSet`.
    #[error(
        "{}not a FileDescriptorSet ({reason}); make one with `buf build -o set.binpb` or \
         `protoc --include_imports --descriptor_set_out=set.binpb`", of_set(.set)
    )]
    NotASet {
        /// The name of the bytes.
        set: String,
        /// Where they stop being one.
        reason: String,
    },
    /// A message needs a type of a file that is in no set.
    #[error(
        "`{file}` imports `{import}`, which is missing, and needs `{needs}` of it; with protoc, \
         add `--include_imports`"
    )]
    MissingImport {
        /// The importing file.
        file: String,
        /// The file that is missing.
        import: String,
        /// The type that is not defined.
        needs: String,
    },
    /// The file that an import means is in two sets, and not the same.
    #[error(
        "`{file}` imports `{import}`, of which `{first}` and `{second}` have different ones: \
         {difference}; put the right one into the set of `{file}` (with protoc, add \
         `--include_imports`)"
    )]
    DoubtfulImport {
        /// The importing file.
        file: String,
        /// The file of which there are two.
        import: String,
        /// A set that has it.
        first: String,
        /// Another that has it.
        second: String,
        /// The difference.
        difference: String,
    },
    /// A file is in one set twice, and not the same.
    #[error("{}`{file}` is there twice, and not the same: {difference}", of_set(.set))]
    Twice {
        /// The file.
        file: String,
        /// The set.
        set: String,
        /// The difference.
        difference: String,
    },
    /// A service is in two sets, and not the same.
    #[error(
        "`{first}` and `{second}` describe `{service}` differently: {difference}; leave one of \
         them out, or the service in one of them"
    )]
    Ambiguous {
        /// The service.
        service: String,
        /// A set that has it.
        first: String,
        /// Another that has it.
        second: String,
        /// The difference.
        difference: String,
    },
    /// A file in a syntax that did not exist when this was written.
    #[error(
        "`{file}` is written in `{syntax}`, which is not known here; write it in proto2, proto3 \
         or an edition"
    )]
    UnknownSyntax {
        /// The file.
        file: String,
        /// Its syntax, as declared.
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

/// `set.binpb: `, or nothing for a set without a name.
fn of_set(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("{name}: ") }
}
