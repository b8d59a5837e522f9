//! Serialized `FileDescriptorSet`s, read, and made into pools: one for all of them
//! where they agree, or one for each.
//!
//! Two sets may have a file of the same name and not mean the same: each team
//! compiles its own `common.proto`, in its own version. Then each set has a pool
//! of its own, and its missing files come from the others. So the services of both
//! can be used, each with the messages that it was compiled with.

use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;

use super::DescriptorError;
use super::differences::{self, Difference};
use super::imports::Files;
use super::{features, files};
use crate::wire::{self, Value};

/// The field of a `FileDescriptorSet` that holds its files.
const FILE: u32 = 1;

/// A set of files.
#[derive(Debug)]
struct Set {
    name: String,
    files: Files,
}

/// A pool, and the set that it was made from; empty: from all of them.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) set: String,
    pub(super) pool: DescriptorPool,
}

/// The pools of some sets, each with a name.
pub(super) fn pools<'a>(
    sets: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<Pool>, DescriptorError> {
    let sets: Vec<Set> =
        sets.into_iter().map(|(name, bytes)| Set::read(name, bytes)).collect::<Result<_, _>>()?;
    if let Some(files) = merged(&sets) {
        return Ok(vec![Pool { set: String::new(), pool: files::pool(files, None)? }]);
    }
    let pool = |set: &Set| {
        let files = completed(set, &sets);
        let pool = files::pool(files, None).map_err(|error| doubtful_import(error, &sets))?;
        Ok(Pool { set: set.name.clone(), pool })
    };
    sets.iter().map(pool).collect()
}

/// The pool of the files of one set that `roots` need.
pub(super) fn pool_of(bytes: &[u8], roots: &[String]) -> Result<Pool, DescriptorError> {
    let set = Set::read("", bytes)?;
    Ok(Pool { pool: files::pool(set.files, Some(roots))?, set: set.name })
}

impl Set {
    fn read(name: &str, bytes: &[u8]) -> Result<Self, DescriptorError> {
        let not_a_set = |reason: String| DescriptorError::NotASet { set: name.to_owned(), reason };
        let mut files = Files::new();
        for field in wire::fields(bytes) {
            let field = field.map_err(|error| not_a_set(error.to_string()))?;
            let (FILE, Value::Len(bytes)) = (field.number, field.value) else { continue };
            let file = read_file(bytes).map_err(|error| match error {
                Unread::Not(reason) => not_a_set(reason),
                Unread::Syntax(error) => error,
            })?;
            match files.get(file.name()) {
                None => drop(files.insert(file.name().to_owned(), file)),
                Some(known) => {
                    if let Some(difference) = differences::of_files(known, &file) {
                        return Err(DescriptorError::Twice {
                            file: file.name().to_owned(),
                            set: name.to_owned(),
                            difference: difference.between("the first", "the second"),
                        });
                    }
                }
            }
        }
        Ok(Self { name: name.to_owned(), files })
    }
}

enum Unread {
    Not(String),
    Syntax(DescriptorError),
}

fn read_file(bytes: &[u8]) -> Result<FileDescriptorProto, Unread> {
    let mut file =
        FileDescriptorProto::decode(bytes).map_err(|error| Unread::Not(error.to_string()))?;
    // Comments are most of a set that has them, and mean nothing here.
    file.source_code_info = None;
    settle_syntax(&mut file, bytes).map_err(Unread::Syntax)?;
    Ok(file)
}

/// prost-reflect reads proto2 and proto3, and panics at any other syntax.
///
/// Editions are read as proto2, which is the same on the wire: lists are
/// accepted packed and unpacked, and messages that are delimited are groups.
fn settle_syntax(file: &mut FileDescriptorProto, bytes: &[u8]) -> Result<(), DescriptorError> {
    match file.syntax() {
        "proto2" | "proto3" => {}
        "" => file.syntax = None,
        "editions" => {
            features::delimit(file, bytes);
            file.syntax = Some("proto2".to_owned());
        }
        syntax => {
            return Err(DescriptorError::UnknownSyntax {
                file: file.name().to_owned(),
                syntax: syntax.to_owned(),
            });
        }
    }
    Ok(())
}

/// All files of all sets, unless two of one name differ.
fn merged(sets: &[Set]) -> Option<Files> {
    let mut merged = Files::new();
    for (name, file) in sets.iter().flat_map(|set| &set.files) {
        match merged.get(name) {
            None => drop(merged.insert(name.clone(), file.clone())),
            Some(known) if differences::of_files(known, file).is_none() => {}
            Some(_) => return None,
        }
    }
    Some(merged)
}

/// A set's own files, and their imports from other sets, where only one set has
/// the file or all agree about it.
fn completed(set: &Set, sets: &[Set]) -> Files {
    let mut files = set.files.clone();
    let mut unchecked: Vec<String> = files.keys().cloned().collect();
    while let Some(name) = unchecked.pop() {
        let imports = files.get(&name).map(|file| file.dependency.clone()).unwrap_or_default();
        for import in imports {
            if !files.contains_key(&import)
                && let Ok(Some(file)) = the_only(&import, sets)
            {
                files.insert(import.clone(), file.clone());
                unchecked.push(import);
            }
        }
    }
    files
}

/// Two sets that have a file of the same name, and the difference.
type Rivals<'s> = (&'s Set, &'s Set, Difference);

/// The file of this name, if the sets that have it agree about it.
fn the_only<'s>(
    name: &str,
    sets: &'s [Set],
) -> Result<Option<&'s FileDescriptorProto>, Rivals<'s>> {
    let mut having = sets.iter().filter_map(|set| Some((set, set.files.get(name)?)));
    let Some((first, file)) = having.next() else { return Ok(None) };
    let rival = having
        .find_map(|(other, of_other)| Some((first, other, differences::of_files(file, of_other)?)));
    rival.map_or(Ok(Some(file)), Err)
}

/// Reports a missing import as ambiguous if two sets have it and differ.
fn doubtful_import(error: DescriptorError, sets: &[Set]) -> DescriptorError {
    let DescriptorError::MissingImport { file, import, .. } = &error else { return error };
    match the_only(import, sets) {
        Err((first, second, difference)) => DescriptorError::DoubtfulImport {
            file: file.clone(),
            import: import.clone(),
            first: first.name.clone(),
            second: second.name.clone(),
            difference: difference.between(&first.name, &second.name),
        },
        Ok(_) => error,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::routing::Descriptors;

    /// The set that a compiler makes of these files, the first one's imports
    /// too if so.
    fn set(files: &[(&str, &str)], with_imports: bool) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), format!("syntax = \"proto3\"; {text}"))
                .unwrap();
        }
        let (first, _) = files[0];
        let mut set = protox::compile([first], [folder.path()]).unwrap();
        set.file.retain(|file| with_imports || file.name() == first);
        set.encode_to_vec()
    }

    const COMMON_1: &str = "package pb; message Common { string a = 1; }";
    const COMMON_2: &str = "package pb; message Common { string a = 1; string b = 2; }";

    /// A service of the package, whose messages use `common.proto`.
    fn service(package: &str, common: &str, more: &str) -> Vec<u8> {
        let name = format!("{package}.proto");
        let text = format!(
            "package {package}; import \"common.proto\";
             service S {{ rpc M(Req) returns (Req); {more} }}
             message Req {{ pb.Common common = 1; }}"
        );
        set(&[(&name, &text), ("common.proto", common)], true)
    }

    fn named<'a>(sets: &[(&'a str, &'a [u8])]) -> Result<Descriptors, DescriptorError> {
        Descriptors::from_named_sets(sets.iter().copied())
    }

    fn fields_of_common(descriptors: &Descriptors, rpc: &str) -> usize {
        let input = descriptors.method(rpc).unwrap().input();
        let field = input.get_field_by_name("common").unwrap();
        field.kind().as_message().unwrap().fields().len()
    }

    #[test]
    fn sets_that_agree_are_one() {
        let (a, b) = (service("a", COMMON_1, ""), service("b", COMMON_1, ""));
        let descriptors = named(&[("a", &a), ("b", &b), ("a again", &a)]).unwrap();
        assert_eq!(descriptors.pools().count(), 1);
        assert!(descriptors.method("a.S/M").is_ok() && descriptors.method("b.S/M").is_ok());
    }

    #[test]
    fn what_means_nothing_makes_no_difference() {
        let a = service("a", COMMON_1, "");
        let mut other = FileDescriptorSet::decode(&*service("b", COMMON_1, "")).unwrap();
        for file in &mut other.file {
            file.source_code_info = Some(prost_types::SourceCodeInfo::default());
            let options =
                prost_types::FileOptions { go_package: Some("x".into()), ..Default::default() };
            file.options = Some(options);
            for field in file.message_type.iter_mut().flat_map(|message| &mut message.field) {
                field.json_name = None;
            }
        }
        let other = other.encode_to_vec();
        assert_eq!(named(&[("a", &a), ("b", &other)]).unwrap().pools().count(), 1);
    }

    #[test]
    fn each_service_has_the_messages_that_it_was_compiled_with() {
        let (a, b) = (service("a", COMMON_1, ""), service("b", COMMON_2, ""));
        for sets in [[("a", &*a), ("b", &b)], [("b", &b), ("a", &a)]] {
            let descriptors = named(&sets).unwrap();
            assert_eq!(fields_of_common(&descriptors, "a.S/M"), 1);
            assert_eq!(fields_of_common(&descriptors, "b.S/M"), 2);
            let error = descriptors.method("c.S/M").unwrap_err().to_string();
            assert!(error.starts_with("no service `c.S`"), "{error}");
        }
    }

    #[test]
    fn a_service_of_two_minds_is_an_error_that_names_both() {
        let (old, new) = (service("a", COMMON_1, ""), service("a", COMMON_2, ""));
        let other = service("b", COMMON_1, "");
        let descriptors = named(&[("old", &old), ("new", &new), ("other", &other)]).unwrap();
        let error = descriptors.service("a.S").unwrap_err().to_string();
        assert_eq!(
            error,
            "`old` and `new` describe `a.S` differently: field `pb.Common.b` is only in `new`; leave \
             one of them out, or the service in one of them"
        );
        // The other services remain usable.
        assert!(descriptors.method("b.S/M").is_ok());

        let more = service("a", COMMON_1, "rpc N(Req) returns (Req);");
        let error = named(&[("old", &old), ("more", &more)]).unwrap().service("a.S").unwrap_err();
        assert!(error.to_string().contains("method `a.S.N` is only in `more`"), "{error}");
    }

    #[test]
    fn a_service_in_two_sets_that_is_the_same_in_both_is_used() {
        // The difference in the file does not concern this service.
        let unrelated = format!("{COMMON_1} message Other {{}}");
        let (a, b) = (service("a", COMMON_1, ""), service("a", &unrelated, ""));
        let descriptors = named(&[("a", &a), ("b", &b)]).unwrap();
        assert_eq!(descriptors.pools().count(), 2);
        assert_eq!(fields_of_common(&descriptors, "a.S/M"), 1);
    }

    #[test]
    fn what_a_set_leaves_out_comes_from_the_others_unless_they_differ() {
        let text = "package c; import \"common.proto\"; service S { rpc M(Req) returns (Req); }
             message Req { pb.Common common = 1; }";
        let alone = set(&[("c.proto", text), ("common.proto", COMMON_1)], false);
        let (a, b) = (service("a", COMMON_1, ""), service("b", COMMON_2, ""));
        let (x, y) = ("package x; message X {}", "package x; message X { int32 y = 1; }");
        let (x, y) = (set(&[("x.proto", x)], true), set(&[("x.proto", y)], true));
        let descriptors = named(&[("c", &alone), ("a", &a), ("x", &x), ("y", &y)]).unwrap();
        assert_eq!(fields_of_common(&descriptors, "c.S/M"), 1);

        let error = named(&[("c", &alone), ("a", &a), ("b", &b)]).unwrap_err().to_string();
        assert_eq!(
            error,
            "`c.proto` imports `common.proto`, of which `a` and `b` have different ones: field \
             `pb.Common.b` is only in `b`; put the right one into the set of `c.proto` (with protoc, \
             add `--include_imports`)"
        );
    }

    #[test]
    fn a_file_that_is_in_one_set_twice_must_be_the_same() {
        let [one, other] = [COMMON_1, COMMON_2].map(|text| set(&[("common.proto", text)], true));
        assert!(named(&[("a", &[&*one, &one].concat())]).is_ok());
        let error = named(&[("a", &[&*one, &other].concat())]).unwrap_err().to_string();
        assert_eq!(
            error,
            "a: `common.proto` is there twice, and not the same: field `pb.Common.b` is only in \
             `the second`"
        );
    }
}
