//! From the files of descriptor sets to a pool: completed, and rid of errors that
//! prost-reflect does not check for.
//!
//! A compiler never writes most of the files that are refused here. But descriptors
//! also come from servers, by reflection, and no server may bring the gateway down.

use std::panic::{AssertUnwindSafe, catch_unwind};

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use super::imports::Files;
use super::{DescriptorError, imports};

/// One pool of these files. `roots` are the files that are wanted for themselves;
/// `None`: all are.
pub(super) fn pool(
    mut files: Files,
    roots: Option<&[String]>,
) -> Result<DescriptorPool, DescriptorError> {
    imports::settle(&mut files, roots)?;
    let pool = build(files)?;
    check_maps(&pool)?;
    Ok(pool)
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
    use prost::Message as _;
    use prost_types::{FileDescriptorProto, FileDescriptorSet};

    use super::*;
    use crate::routing::Descriptors;
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
        let descriptors = Descriptors::from_sets([&*FileDescriptorSet { file }.encode_to_vec()])?;
        Ok(descriptors.pools().next().unwrap().clone())
    }

    #[test]
    fn well_known_imports_need_not_be_there_but_others_must() {
        assert!(pool_of([file("a.proto", &["google/protobuf/timestamp.proto"])]).is_ok());
        let mut a = file("a.proto", &["b.proto"]);
        a.message_type = vec![message("A", vec![of_type("b", ".B")])];
        let error = pool_of([a]).unwrap_err().to_string();
        assert!(
            error.starts_with("`a.proto` imports `b.proto`, which is missing, and needs `B`"),
            "{error}"
        );
    }

    /// A field that holds a message.
    fn of_type(name: &str, type_name: &str) -> FieldDescriptorProto {
        FieldDescriptorProto {
            type_name: Some(type_name.into()),
            ..field(name, 1, Type::Message, Label::Optional)
        }
    }

    #[test]
    fn an_import_that_is_there_for_options_only_need_not_be_there() {
        // The option itself is unknown to the descriptors' types, and passed over.
        let mut a =
            file("a.proto", &["validate/validate.proto", "google/protobuf/timestamp.proto"]);
        a.message_type = vec![message("A", vec![of_type("at", ".google.protobuf.Timestamp")])];
        a.public_dependency = vec![0];
        a.weak_dependency = vec![0, 1];
        let mut b = file("b.proto", &["a.proto"]);
        b.message_type = vec![message("B", vec![of_type("a", ".A")])];
        let pool = pool_of([a.clone(), b]).unwrap();
        assert!(pool.get_message_by_name("B").is_some());
        // An extension that needs the missing file is unknown, too.
        let extension = FieldDescriptorProto {
            extendee: Some(".validate.Rules".into()),
            ..field("rule", 100, Type::String, Label::Optional)
        };
        let nested = FieldDescriptorProto {
            extendee: Some(".A".into()),
            number: Some(101),
            ..of_type("more", ".validate.More")
        };
        a.extension = vec![extension];
        a.message_type[0].extension = vec![nested];
        let range = prost_types::descriptor_proto::ExtensionRange {
            start: Some(100),
            end: Some(200),
            ..Default::default()
        };
        a.message_type[0].extension_range = vec![range];
        a.syntax = Some("proto2".into());
        assert!(pool_of([a]).unwrap().get_message_by_name("A").is_some());
    }

    #[test]
    fn an_import_of_another_path_is_found_by_what_it_defines() {
        let mut a = file("a.proto", &["proto/b.proto"]);
        a.message_type = vec![message("A", vec![of_type("b", ".B")])];
        let mut b = file("b.proto", &[]);
        b.message_type = vec![message("B", vec![])];
        assert!(pool_of([a, b]).is_ok());
    }

    #[test]
    fn of_several_missing_imports_the_likeliest_is_named() {
        let mut a = file("a.proto", &["validate/validate.proto", "shop/v1/money.proto"]);
        a.message_type = vec![message("A", vec![of_type("b", ".shop.v1.Money")])];
        let error = pool_of([a]).unwrap_err().to_string();
        assert!(error.contains("imports `shop/v1/money.proto`"), "{error}");
    }

    #[test]
    fn of_files_that_nothing_wanted_needs_everything_may_be_missing() {
        let mut root = file("root.proto", &["a.proto", "b.proto"]);
        root.message_type = vec![message("Root", vec![of_type("a", ".A")])];
        let mut a = file("a.proto", &["gone.proto"]);
        a.message_type = vec![message("A", vec![])];
        let mut b = file("b.proto", &["gone.proto"]);
        b.message_type = vec![message("B", vec![of_type("gone", ".Gone")])];
        let set = FileDescriptorSet { file: vec![root, a, b] }.encode_to_vec();
        assert!(matches!(
            Descriptors::from_sets([&*set]),
            Err(DescriptorError::MissingImport { file, .. }) if file == "b.proto"
        ));
        let descriptors = Descriptors::from_files(&set, &["root.proto".into()]).unwrap();
        assert!(descriptors.message("A").is_some() && descriptors.message("B").is_none());
        let error = Descriptors::from_files(&set, &["b.proto".into()]).unwrap_err();
        assert!(matches!(error, DescriptorError::MissingImport { .. }), "{error}");
    }

    #[test]
    fn an_import_may_be_in_another_set_and_a_file_in_several() {
        let set = |file| FileDescriptorSet { file: vec![file] }.encode_to_vec();
        let (a, b) = (set(file("a.proto", &["b.proto"])), set(file("b.proto", &[])));
        assert!(Descriptors::from_sets([&*a, &*b, &*a]).is_ok());
    }

    #[test]
    fn bytes_that_are_no_set_are_an_error() {
        for bytes in [&b"routes: {}"[..], b"\x0a\x02\xff\xff"] {
            let error = Descriptors::from_named_sets([("routes.yaml", bytes)]).unwrap_err();
            assert!(matches!(error, DescriptorError::NotASet { .. }), "{error}");
            assert!(
                error.to_string().starts_with("routes.yaml: not a FileDescriptorSet"),
                "{error}"
            );
        }
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
