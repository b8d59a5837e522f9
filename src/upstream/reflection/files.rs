//! The files that a server has sent so far, and their imports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
};
use tonic::Status;

use crate::wire;

/// More files than any server has; one that names ever new imports must end.
const MAX_FILES: usize = 4_000;
/// The same for their size in all.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Files by name, as the server sent them.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<String, File>,
    bytes: usize,
    /// Imports that were not asked for yet.
    unasked: VecDeque<String>,
    /// Every import that was ever among these.
    imports: BTreeSet<String>,
}

#[derive(Debug)]
struct File {
    /// As the server sent it: decoding drops custom options.
    bytes: Vec<u8>,
    imports: Vec<String>,
    /// The full names of its top-level definitions.
    defines: Vec<String>,
}

impl Files {
    /// Adds a serialized file, and gives its name.
    pub(super) fn add(&mut self, bytes: Vec<u8>) -> Result<String, Status> {
        let file = FileDescriptorProto::decode(&*bytes)
            .map_err(|error| Status::internal(format!("a bad descriptor: {error}")))?;
        let name = file.name().to_owned();
        self.bytes += bytes.len();
        for import in &file.dependency {
            if self.imports.insert(import.clone()) {
                self.unasked.push_back(import.clone());
            }
        }
        let defines = definitions(&file);
        self.files.insert(name.clone(), File { bytes, imports: file.dependency, defines });
        if self.files.len() > MAX_FILES || self.imports.len() > MAX_FILES {
            return Err(Status::resource_exhausted("too many files"));
        }
        if self.bytes > MAX_BYTES {
            return Err(Status::resource_exhausted("files that are too large"));
        }
        Ok(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// An import that is not there and was not asked for.
    pub(super) fn next_missing(&mut self) -> Option<String> {
        while let Some(import) = self.unasked.pop_front() {
            if !self.has(&import) {
                return Some(import);
            }
        }
        None
    }

    /// Of the files of these names the one that defines a symbol; all of them if
    /// none does.
    pub(super) fn defining(&self, symbol: &str, names: Vec<String>) -> Vec<String> {
        let is_in = |defined: &String| {
            symbol
                .strip_prefix(defined.as_str())
                .is_some_and(|rest| matches!(rest.get(..1), None | Some(".")))
        };
        let defines = |name: &&String| {
            self.files.get(*name).is_some_and(|file| file.defines.iter().any(is_in))
        };
        names.iter().find(defines).cloned().map_or(names, |name| vec![name])
    }

    /// All files, each behind its imports. Not recursive: how deep imports go is
    /// up to the server.
    pub(super) fn in_order(&self, roots: &[String]) -> Bytes {
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
}

fn definitions(file: &FileDescriptorProto) -> Vec<String> {
    let dot = if file.package().is_empty() { "" } else { "." };
    let services = file.service.iter().map(ServiceDescriptorProto::name);
    let messages = file.message_type.iter().map(DescriptorProto::name);
    let enums = file.enum_type.iter().map(EnumDescriptorProto::name);
    let names = services.chain(messages).chain(enums);
    names.map(|name| format!("{}{dot}{name}", file.package())).collect()
}

/// One of the files under `google/protobuf/` that every runtime has.
pub(super) fn well_known(name: &str) -> Option<Vec<u8>> {
    let file = DescriptorPool::global().get_file_by_name(name)?;
    name.starts_with("google/protobuf/").then(|| file.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, imports: &[&str]) -> FileDescriptorProto {
        FileDescriptorProto {
            name: Some(name.into()),
            package: Some("p".into()),
            dependency: imports.iter().map(|import| (*import).to_owned()).collect(),
            service: vec![ServiceDescriptorProto { name: Some("S".into()), ..Default::default() }],
            ..Default::default()
        }
    }

    #[test]
    fn each_import_is_asked_for_once() {
        let mut files = Files::default();
        files.add(file("a", &["b", "c"]).encode_to_vec()).unwrap();
        files.add(file("b", &["c", "a"]).encode_to_vec()).unwrap();
        assert_eq!(files.next_missing().as_deref(), Some("c"));
        assert_eq!(files.next_missing(), None);
    }

    #[test]
    fn the_file_of_a_symbol_is_told_from_its_imports() {
        let mut files = Files::default();
        let import = FileDescriptorProto { service: vec![], ..file("b", &[]) };
        files.add(import.encode_to_vec()).unwrap();
        files.add(file("a", &["b"]).encode_to_vec()).unwrap();
        let names = || vec!["b".to_owned(), "a".to_owned()];
        for symbol in ["p.S", "p.S.Method"] {
            assert_eq!(files.defining(symbol, names()), ["a"], "{symbol}");
        }
        assert_eq!(files.defining("p.Sx", names()), ["b", "a"]);
    }

    #[test]
    fn ever_more_files_come_to_an_end() {
        let mut files = Files::default();
        let add =
            |n: usize| files.add(file(&n.to_string(), &[&(n + 1).to_string()]).encode_to_vec());
        let refused = (0..100_000).map(add).find_map(Result::err).unwrap();
        assert_eq!(refused.message(), "too many files");
        assert!(files.files.len() <= MAX_FILES + 1);

        let mut files = Files::default();
        let large = FileDescriptorProto { name: Some("x".repeat(1 << 20)), ..file("", &[]) };
        let refused = (0..100).map(|_| files.add(large.encode_to_vec())).find_map(Result::err);
        assert_eq!(refused.unwrap().message(), "files that are too large");
        let many: Vec<_> = (0..=MAX_FILES).map(|n| n.to_string()).collect();
        let imports: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(Files::default().add(file("a", &imports).encode_to_vec()).is_err());
    }
}
