//! Differences between two descriptions of the same thing that matter on the wire,
//! in JSON, or to the gateway. Comments, positions and most options do not.

use std::collections::{HashSet, VecDeque};

use prost_reflect::{EnumDescriptor, Kind, MethodDescriptor, ServiceDescriptor};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    MethodDescriptorProto, ServiceDescriptorProto,
};

/// The first thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// Only one of the two has it: the first, if so.
    Only(bool, String),
    /// Both have it, and it is not the same.
    Differs(String),
}

impl Difference {
    /// In words, with the names of the two.
    pub(super) fn between(&self, first: &str, second: &str) -> String {
        match self {
            Self::Only(true, what) => format!("{what} is only in `{first}`"),
            Self::Only(false, what) => format!("{what} is only in `{second}`"),
            Self::Differs(what) => format!("{what} is another"),
        }
    }
}

/// The first difference between two files.
pub(super) fn of_files(a: &FileDescriptorProto, b: &FileDescriptorProto) -> Option<Difference> {
    if a.package() != b.package() {
        return Some(Difference::Differs("the package".to_owned()));
    }
    if a.syntax() != b.syntax() {
        return Some(Difference::Differs("the syntax".to_owned()));
    }
    let scope = a.package();
    let messages = |a: &DescriptorProto, b: &DescriptorProto| of_messages(a, b, scope);
    let enums = |a: &EnumDescriptorProto, b: &EnumDescriptorProto| of_enums(a, b, scope);
    each(&a.message_type, &b.message_type, "message", scope, DescriptorProto::name, messages)
        .or_else(|| {
            each(&a.enum_type, &b.enum_type, "enum", scope, EnumDescriptorProto::name, enums)
        })
        .or_else(|| {
            let name = ServiceDescriptorProto::name;
            let services = |a: &ServiceDescriptorProto, b: &ServiceDescriptorProto| {
                of_services(a, b, &join(scope, a.name()))
            };
            each(&a.service, &b.service, "service", scope, name, services)
        })
        .or_else(|| fields(&a.extension, &b.extension, scope))
}

/// The first difference between the services of the same name in two pools, in
/// their methods, messages and enums.
pub(super) fn of_described(a: &ServiceDescriptor, b: &ServiceDescriptor) -> Option<Difference> {
    let (one, other) = (a.service_descriptor_proto(), b.service_descriptor_proto());
    if let Some(difference) = of_services(one, other, a.full_name()) {
        return Some(difference);
    }
    let types = |(a, b): (MethodDescriptor, MethodDescriptor)| {
        [(a.input(), b.input()), (a.output(), b.output())]
    };
    let pair = |a: MethodDescriptor| Some((b.methods().find(|b| a.name() == b.name())?, a));
    let mut unfollowed: VecDeque<_> = a.methods().filter_map(pair).flat_map(types).collect();
    let mut seen = HashSet::new();
    while let Some((a, b)) = unfollowed.pop_front() {
        if !seen.insert(a.full_name().to_owned()) {
            continue;
        }
        let (one, other) = (a.descriptor_proto(), b.descriptor_proto());
        if let Some(difference) = of_own_fields(one, other, a.full_name()) {
            return Some(difference);
        }
        for (a, b) in a.fields().filter_map(|field| Some((b.get_field(field.number())?, field))) {
            match (a.kind(), b.kind()) {
                (Kind::Message(a), Kind::Message(b)) => unfollowed.push_back((a, b)),
                (Kind::Enum(a), Kind::Enum(b)) => {
                    if let Some(difference) = of_described_enums(&a, &b) {
                        return Some(difference);
                    }
                }
                _ => {}
            }
        }
    }
    None
}

fn of_described_enums(a: &EnumDescriptor, b: &EnumDescriptor) -> Option<Difference> {
    let scope = a.full_name().strip_suffix(a.name()).unwrap_or_default();
    of_enums(a.enum_descriptor_proto(), b.enum_descriptor_proto(), scope.trim_end_matches('.'))
}

fn of_services(
    a: &ServiceDescriptorProto,
    b: &ServiceDescriptorProto,
    scope: &str,
) -> Option<Difference> {
    let of_method = |method: &MethodDescriptorProto| {
        let options = method.options.as_ref();
        let repeats = options.map(prost_types::MethodOptions::idempotency_level);
        (
            absolute(method.input_type()).to_owned(),
            absolute(method.output_type()).to_owned(),
            method.client_streaming(),
            method.server_streaming(),
            repeats.unwrap_or_default(),
        )
    };
    each(&a.method, &b.method, "method", scope, MethodDescriptorProto::name, |a, b| {
        let what = || Difference::Differs(format!("method `{}`", join(scope, a.name())));
        (of_method(a) != of_method(b)).then(what)
    })
}

fn of_messages(a: &DescriptorProto, b: &DescriptorProto, scope: &str) -> Option<Difference> {
    let scope = &join(scope, a.name());
    let messages = |a: &DescriptorProto, b: &DescriptorProto| of_messages(a, b, scope);
    let enums = |a: &EnumDescriptorProto, b: &EnumDescriptorProto| of_enums(a, b, scope);
    of_own_fields(a, b, scope)
        .or_else(|| {
            each(&a.nested_type, &b.nested_type, "message", scope, DescriptorProto::name, messages)
        })
        .or_else(|| {
            each(&a.enum_type, &b.enum_type, "enum", scope, EnumDescriptorProto::name, enums)
        })
        .or_else(|| fields(&a.extension, &b.extension, scope))
}

/// The first difference between two messages, except in the types within them.
fn of_own_fields(a: &DescriptorProto, b: &DescriptorProto, scope: &str) -> Option<Difference> {
    let of_message = |message: &DescriptorProto| {
        let oneofs: Vec<_> =
            message.oneof_decl.iter().map(|oneof| oneof.name().to_owned()).collect();
        let is_entry = message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry);
        (oneofs, is_entry)
    };
    fields(&a.field, &b.field, scope).or_else(|| {
        let what = || Difference::Differs(format!("message `{scope}`"));
        (of_message(a) != of_message(b)).then(what)
    })
}

fn fields(
    a: &[FieldDescriptorProto],
    b: &[FieldDescriptorProto],
    scope: &str,
) -> Option<Difference> {
    let of_field = |field: &FieldDescriptorProto| {
        (
            field.number(),
            field.label(),
            field.r#type(),
            absolute(field.type_name()).to_owned(),
            absolute(field.extendee()).to_owned(),
            field.oneof_index,
            field.proto3_optional(),
            field.default_value.clone(),
        )
    };
    each(a, b, "field", scope, FieldDescriptorProto::name, |a, b| {
        let has_other_json_name =
            a.json_name.as_ref().zip(b.json_name.as_ref()).is_some_and(|(a, b)| a != b);
        let what = || Difference::Differs(format!("field `{}`", join(scope, a.name())));
        (of_field(a) != of_field(b) || has_other_json_name).then(what)
    })
}

fn of_enums(a: &EnumDescriptorProto, b: &EnumDescriptorProto, scope: &str) -> Option<Difference> {
    let values = |of: &EnumDescriptorProto| {
        of.value.iter().map(|value| (value.name().to_owned(), value.number())).collect::<Vec<_>>()
    };
    let what = || Difference::Differs(format!("enum `{}`", join(scope, a.name())));
    (values(a) != values(b)).then(what)
}

/// Compares things by their names.
fn each<T>(
    a: &[T],
    b: &[T],
    what: &str,
    scope: &str,
    name: impl Fn(&T) -> &str,
    compare: impl Fn(&T, &T) -> Option<Difference>,
) -> Option<Difference> {
    let only = |first: bool, of: &T| {
        Some(Difference::Only(first, format!("{what} `{}`", join(scope, name(of)))))
    };
    let in_both = a.iter().find_map(|one| match b.iter().find(|other| name(one) == name(other)) {
        Some(other) => compare(one, other),
        None => only(true, one),
    });
    in_both.or_else(|| {
        b.iter()
            .find(|other| !a.iter().any(|one| name(one) == name(other)))
            .and_then(|of| only(false, of))
    })
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn absolute(name: &str) -> &str {
    name.strip_prefix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> FileDescriptorProto {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.proto"), text).unwrap();
        let mut set = protox::compile(["t.proto"], [folder.path()]).unwrap();
        set.file.pop().unwrap()
    }

    const BASE: &str = "syntax = \"proto3\"; package t;
        message A { string a = 1; N n = 2; oneof o { int32 x = 3; int32 y = 4; } map<string, B> m = 5;
          message N { int64 i = 1; } enum F { G = 0; } optional string p = 6; repeated int32 r = 7; }
        message B {} enum E { Z = 0; Y = 1; }
        service S { rpc M(A) returns (B); rpc N(A) returns (stream B); }";

    #[test]
    fn everything_that_means_something_makes_a_difference() {
        assert_eq!(of_files(&file(BASE), &file(BASE)), None);
        for (from, to, says) in [
            ("package t", "package u", "the package is another"),
            ("string a = 1", "bytes a = 1", "field `t.A.a` is another"),
            ("string a = 1", "string a = 11", "field `t.A.a` is another"),
            ("string a = 1", "string b = 1", "field `t.A.a` is only in `one`"),
            ("string a = 1;", "string a = 1 [json_name = \"z\"];", "field `t.A.a` is another"),
            ("optional string p", "string p", "field `t.A.p` is another"),
            ("repeated int32 r", "int32 r", "field `t.A.r` is another"),
            ("int64 i", "int32 i", "field `t.A.N.i` is another"),
            ("map<string, B> m = 5", "map<int32, B> m = 5", "field `t.A.MEntry.key` is another"),
            ("oneof o {", "oneof q {", "message `t.A` is another"),
            ("{ G = 0; }", "{ H = 0; }", "enum `t.A.F` is another"),
            ("Y = 1;", "Y = 1; W = 2;", "enum `t.E` is another"),
            ("message B {}", "message B {} message C {}", "message `t.C` is only in `other`"),
            ("returns (stream B)", "returns (B)", "method `t.S.N` is another"),
            ("rpc M(A)", "rpc M(B)", "method `t.S.M` is another"),
            ("service S {", "service T {", "service `t.S` is only in `one`"),
            (
                "rpc M(A) returns (B);",
                "rpc M(A) returns (B) { option idempotency_level = IDEMPOTENT; }",
                "method `t.S.M` is another",
            ),
        ] {
            assert!(BASE.contains(from), "{from}");
            let other = file(&BASE.replace(from, to));
            let difference = of_files(&file(BASE), &other).unwrap_or_else(|| panic!("{to}"));
            assert_eq!(difference.between("one", "other"), says, "{to}");
        }
    }

    #[test]
    fn comments_and_other_options_make_none() {
        for (from, to) in [
            ("message B {}", "/* empty */ message B { option deprecated = true; }"),
            ("package t;", "package t; option go_package = \"x\";"),
            ("string a = 1;", "string a = 1 [deprecated = true];"),
            ("message B {}", "message B { reserved 1; }"),
        ] {
            assert_eq!(of_files(&file(BASE), &file(&BASE.replace(from, to))), None, "{to}");
        }
    }
}
