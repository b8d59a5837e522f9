//! The files of descriptor sets on their way into a pool: gathered, completed,
//! and rid of what prost-reflect takes on trust.
//!
//! A compiler never writes most of what is refused here. But descriptors also
//! come from servers, by reflection, and no server may bring the gateway down.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use prost::Message as _;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use super::DescriptorError;

/// Files by name.
type Files = BTreeMap<String, FileDescriptorProto>;

/// One pool of all the files in serialized `FileDescriptorSet`s.
pub(super) fn pool<'a>(
    sets: impl IntoIterator<Item = &'a [u8]>,
) -> Result<DescriptorPool, DescriptorError> {
    let mut files = gather(sets)?;
    add_imports(&mut files)?;
    spell_out_public_imports(&mut files);
    for (name, file) in &mut files {
        settle_syntax(name, file)?;
    }
    let pool = build(files)?;
    check_maps(&pool)?;
    Ok(pool)
}

fn gather<'a>(sets: impl IntoIterator<Item = &'a [u8]>) -> Result<Files, DescriptorError> {
    let mut files = Files::new();
    for set in sets {
        let set = FileDescriptorSet::decode(set)
            .map_err(|error| DescriptorError::NotASet(error.to_string()))?;
        for file in set.file {
            files.entry(file.name().to_owned()).or_insert(file);
        }
    }
    Ok(files)
}

/// Adds imports that everybody has: servers and protoc often leave them out.
fn add_imports(files: &mut Files) -> Result<(), DescriptorError> {
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

/// Makes every file import all that it sees by way of public imports.
///
/// prost-reflect follows those for one step only; and where they go in a
/// circle, until the stack is full.
fn spell_out_public_imports(files: &mut Files) {
    let public: HashMap<String, Vec<String>> =
        files.iter().map(|(name, file)| (name.clone(), public_imports(file))).collect();
    for file in files.values_mut() {
        let mut seen: HashSet<String> = file.dependency.iter().cloned().collect();
        let mut unfollowed = file.dependency.clone();
        while let Some(import) = unfollowed.pop() {
            for further in public.get(&import).into_iter().flatten() {
                if seen.insert(further.clone()) {
                    file.dependency.push(further.clone());
                    unfollowed.push(further.clone());
                }
            }
        }
        file.public_dependency.clear();
    }
}

fn public_imports(file: &FileDescriptorProto) -> Vec<String> {
    let import = |index: &i32| file.dependency.get(usize::try_from(*index).ok()?).cloned();
    file.public_dependency.iter().filter_map(import).collect()
}

/// prost-reflect reads proto2 and proto3, and panics at any other syntax.
///
/// Editions are read as proto2, which is the same on the wire: lists are
/// accepted packed and unpacked. The one exception, messages of the feature
/// `DELIMITED`, is not supported.
fn settle_syntax(name: &str, file: &mut FileDescriptorProto) -> Result<(), DescriptorError> {
    match file.syntax() {
        "proto2" | "proto3" => {}
        "" => file.syntax = None,
        "editions" => file.syntax = Some("proto2".to_owned()),
        syntax => {
            return Err(DescriptorError::UnknownSyntax {
                file: name.to_owned(),
                syntax: syntax.to_owned(),
            });
        }
    }
    Ok(())
}

fn build(files: Files) -> Result<DescriptorPool, DescriptorError> {
    // A last resort: some sets that no compiler makes, such as one that
    // redefines descriptor.proto, make prost-reflect panic.
    let built = catch_unwind(AssertUnwindSafe(|| {
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_protos(files.into_values()).map(|()| pool)
    }));
    match built {
        Ok(pool) => pool.map_err(|error| DescriptorError::Invalid(error.to_string())),
        Err(_panic) => Err(DescriptorError::Invalid("no compiler made them".to_owned())),
    }
}

/// Refuses messages that say they are map entries and are not: decoding them
/// would panic.
fn check_maps(pool: &DescriptorPool) -> Result<(), DescriptorError> {
    let odd = pool.all_messages().find(|message| message.is_map_entry() && !is_entry(message));
    odd.map_or(Ok(()), |message| {
        let reason = format!("`{}` cannot be the entry of a map", message.full_name());
        Err(DescriptorError::Invalid(reason))
    })
}

fn is_entry(message: &MessageDescriptor) -> bool {
    let is_key = |field: FieldDescriptor| {
        let kind = field.kind();
        !matches!(kind, Kind::Double | Kind::Float | Kind::Bytes | Kind::Message(_) | Kind::Enum(_))
            && !field.is_list()
    };
    let is_value = |field: FieldDescriptor| !field.is_list() && !field.is_map();
    message.get_field(1).is_some_and(is_key) && message.get_field(2).is_some_and(is_value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_reflect::DynamicMessage;
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{DescriptorProto, FieldDescriptorProto, MessageOptions};

    fn file(name: &str, imports: &[&str]) -> FileDescriptorProto {
        FileDescriptorProto {
            name: Some(name.into()),
            syntax: Some("proto3".into()),
            dependency: imports.iter().map(|import| (*import).to_owned()).collect(),
            ..Default::default()
        }
    }

    /// A file that publicly imports another.
    fn passing_on(name: &str, import: &str) -> FileDescriptorProto {
        FileDescriptorProto { public_dependency: vec![0], ..file(name, &[import]) }
    }

    fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
        DescriptorProto { name: Some(name.into()), field, ..Default::default() }
    }

    fn field(name: &str, number: i32, kind: Type, label: Label) -> FieldDescriptorProto {
        FieldDescriptorProto {
            name: Some(name.into()),
            number: Some(number),
            r#type: Some(kind.into()),
            label: Some(label.into()),
            ..Default::default()
        }
    }

    fn pool_of(
        files: impl IntoIterator<Item = FileDescriptorProto>,
    ) -> Result<DescriptorPool, DescriptorError> {
        let file = files.into_iter().collect();
        pool([&*FileDescriptorSet { file }.encode_to_vec()])
    }

    #[test]
    fn well_known_imports_need_not_be_there_but_others_must() {
        assert!(pool_of([file("a.proto", &["google/protobuf/timestamp.proto"])]).is_ok());
        let error = pool_of([file("a.proto", &["b.proto"])]).unwrap_err().to_string();
        assert!(error.starts_with("`a.proto` imports `b.proto`, which is missing"), "{error}");
    }

    #[test]
    fn an_import_may_be_in_another_set_and_a_file_in_several() {
        let set = |file| FileDescriptorSet { file: vec![file] }.encode_to_vec();
        let (a, b) = (set(file("a.proto", &["b.proto"])), set(file("b.proto", &[])));
        assert!(pool([&*a, &*b, &*a]).is_ok());
    }

    #[test]
    fn bytes_that_are_no_set_are_an_error() {
        let error = pool([&b"routes: {}"[..]]).unwrap_err();
        assert!(matches!(error, DescriptorError::NotASet(_)), "{error}");
    }

    #[test]
    fn public_imports_are_followed_however_far() {
        let of_d = FieldDescriptorProto {
            type_name: Some(".D".into()),
            ..field("d", 1, Type::Message, Label::Optional)
        };
        let mut a = file("a.proto", &["b.proto"]);
        a.message_type = vec![message("A", vec![of_d])];
        let mut d = file("d.proto", &[]);
        d.message_type = vec![message("D", vec![])];
        let between = [passing_on("b.proto", "c.proto"), passing_on("c.proto", "d.proto")];
        pool_of([a.clone(), d.clone()].into_iter().chain(between)).unwrap();

        let not_public = [passing_on("b.proto", "c.proto"), file("c.proto", &["d.proto"])];
        assert!(pool_of([a, d].into_iter().chain(not_public)).is_err());
    }

    #[test]
    fn public_imports_in_a_circle_come_to_an_end() {
        assert!(pool_of([passing_on("a.proto", "a.proto")]).is_ok());
        assert!(
            pool_of([passing_on("a.proto", "b.proto"), passing_on("b.proto", "a.proto")]).is_ok()
        );
    }

    #[test]
    fn editions_are_read_and_a_syntax_of_tomorrow_is_an_error() {
        let with_syntax = |syntax: &str| FileDescriptorProto {
            syntax: Some(syntax.into()),
            message_type: vec![message("A", vec![field("list", 1, Type::Int32, Label::Repeated)])],
            ..file("a.proto", &[])
        };
        let pool = pool_of([with_syntax("editions")]).unwrap();
        let a = pool.get_message_by_name("A").unwrap();
        for list in [&b"\x0a\x02\x07\x08"[..], b"\x08\x07\x08\x08"] {
            let decoded = DynamicMessage::decode(a.clone(), list).unwrap();
            assert_eq!(decoded.get_field_by_name("list").unwrap().as_list().unwrap().len(), 2);
        }
        assert_eq!(
            pool_of([with_syntax("proto9")]).unwrap_err().to_string(),
            "`a.proto` is written in `proto9`, which is not known here; \
             write it in proto2, proto3 or an edition"
        );
        assert!(pool_of([with_syntax("")]).is_ok());
    }

    #[test]
    fn map_entries_that_are_none_are_refused() {
        let key = |kind| field("key", 1, kind, Label::Optional);
        let value = |label| field("value", 2, Type::Int32, label);
        let with_entry = |fields| {
            let options = MessageOptions { map_entry: Some(true), ..Default::default() };
            let entry = DescriptorProto { options: Some(options), ..message("Entry", fields) };
            pool_of([FileDescriptorProto { message_type: vec![entry], ..file("a.proto", &[]) }])
        };
        assert!(with_entry(vec![key(Type::String), value(Label::Optional)]).is_ok());
        for fields in [
            vec![],
            vec![key(Type::String)],
            vec![key(Type::Float), value(Label::Optional)],
            vec![key(Type::String), value(Label::Repeated)],
        ] {
            let error = with_entry(fields).unwrap_err().to_string();
            assert!(error.ends_with("`Entry` cannot be the entry of a map"), "{error}");
        }
    }

    #[test]
    fn what_makes_the_pool_panic_is_an_error() {
        // An option that is a flag everywhere else, as a packed list.
        let deprecated = field("deprecated", 3, Type::Int32, Label::Repeated);
        let redefined = FileDescriptorProto {
            package: Some("google.protobuf".into()),
            message_type: vec![message("MessageOptions", vec![deprecated])],
            ..file("google/protobuf/descriptor.proto", &[])
        };
        let options = MessageOptions { deprecated: Some(true), ..Default::default() };
        let a = DescriptorProto { options: Some(options), ..message("A", vec![]) };
        let user = FileDescriptorProto { message_type: vec![a], ..file("a.proto", &[]) };
        assert!(pool_of([user.clone()]).is_ok());
        assert!(matches!(pool_of([redefined, user]), Err(DescriptorError::Invalid(_))));
    }
}
