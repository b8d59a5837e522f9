//! A route on anything that a client may send as data, and a service as its
//! response; beside prost-reflect, which decodes.
//!
//! - Data is taken if it is protobuf, with the wire types of the request message
//!   where that has an identity, and with `validate` that message; else refused.
//! - Data that was taken has the gateway's identity and is otherwise as the
//!   client sent it.
//! - The same of every message within, where the identity is filled there, too.
//! - A response's verdict is that of the decoded response.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bridgehead::routing::identity::Member;
use bridgehead::routing::{
    BadData, Depth, Descriptors, PublicMethods, Route, RouteSpec, StatusCodes, TableBuilder,
};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use prost::encoding::{WireType, decode_key, key_len};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, UnknownField,
    Value,
};

/// Messages with every feature of protobuf; the tests have them too.
static SCHEMA: LazyLock<Descriptors> = LazyLock::new(|| {
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/proto");
    let files = protox::compile(["rich.proto"], [include]).expect("the schema compiles");
    Descriptors::from_sets([&*files.encode_to_vec()]).expect("protox makes good sets")
});

static ROUTES: LazyLock<[Vec<Arc<Route<()>>>; 2]> = LazyLock::new(|| {
    let table = |validate, depth| {
        let builder = TableBuilder::new("commonReq", "commonResp", PublicMethods::default());
        let mut builder = builder.with_depth(depth);
        let defaults = RouteSpec {
            name: String::new(),
            rpc: String::new(),
            timeout: Duration::from_secs(5),
            public: None,
            retry: false,
            validate,
            expose_errors: false,
            codes: StatusCodes::default(),
        };
        builder.expose(&(), "rich.Rich", &defaults, &SCHEMA).expect("all methods can be routes");
        builder.build().routes().cloned().collect::<Vec<_>>()
    };
    let top = [table(false, Depth::Top), table(true, Depth::Top)].concat();
    [top, table(false, Depth::Nested)]
});

fuzz_target!(|bytes: &[u8]| {
    let [top, nested] = &*ROUTES;
    for route in top {
        prepare(route, bytes);
        verdict(route, bytes);
    }
    for route in nested {
        prepare_nested(route, bytes);
    }
});

fn prepare_nested(route: &Route<()>, data: &[u8]) {
    let data_bytes = Bytes::copy_from_slice(data);
    let own =
        |data: &Bytes| route.prepare(data, |layout| layout.encode(member), member(Member::ReqId));
    let Ok(prepared) = own(&data_bytes) else { return };
    assert_eq!(own(&prepared).as_ref(), Ok(&prepared), "what is filled stays as it is");
    // No service reads data that cannot be decoded.
    let Ok(seen) = DynamicMessage::decode(route.input.clone(), prepared) else { return };
    let mut expected = seen.clone();
    fill(&mut expected);
    assert!(seen == expected || has_nan(&expected), "{seen:?}\nis not\n{expected:?}");
    if let Ok(mut before) = DynamicMessage::decode(route.input.clone(), data) {
        fill(&mut before);
        assert!(seen == before || has_nan(&before), "{seen:?}\nis not\n{before:?}");
    }
}

/// Sets the identity in a message and in all within.
fn fill(message: &mut DynamicMessage) {
    let own = message.descriptor().get_field_by_json_name("commonReq");
    for field in message.descriptor().fields().filter(|field| Some(field) != own.as_ref()) {
        if field.kind().as_message().is_none() || !message.has_field(&field) {
            continue;
        }
        match message.get_field_mut(&field) {
            Value::Message(inner) => fill(inner),
            Value::List(inner) => inner.iter_mut().filter_map(Value::as_message_mut).for_each(fill),
            Value::Map(inner) => {
                inner.values_mut().filter_map(Value::as_message_mut).for_each(fill)
            }
            _ => {}
        }
    }
    if let Some(field) = own {
        message.set_field(&field, identity(&field));
    }
}

fn prepare(route: &Route<()>, data: &[u8]) {
    let (input, field) = (&route.input, route.input.get_field_by_json_name("commonReq"));
    let number = field.as_ref().map(FieldDescriptor::number);
    let data_bytes = Bytes::copy_from_slice(data);
    let prepared =
        route.prepare(&data_bytes, |layout| layout.encode(member), member(Member::ReqId));

    let before = DynamicMessage::decode(input.clone(), data);
    let outside = fields(data, number);
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(BadData::Malformed(_)) => return assert!(outside.is_none()),
        Err(_) if route.validate && before.is_err() => return,
        Err(_) => {
            return assert!(
                field.is_some() && outside.is_none_or(|outside| !fits(&outside, input))
            );
        }
    };
    assert!(!route.validate || before.is_ok());
    assert!(field.is_none() || outside.as_ref().is_some_and(|outside| fits(outside, input)));
    assert_eq!(fields(&prepared, number), outside, "a field outside the identity has changed");
    assert!(outside.is_some());

    let Some(field) = field else { return assert_eq!(prepared, data) };
    let Ok(mut expected) = before else { return };
    expected.set_field(&field, identity(&field));
    let seen = DynamicMessage::decode(input.clone(), prepared).expect("it was decoded before");
    assert!(seen == expected || has_nan(&expected), "{seen:?}\nis not\n{expected:?}");
}

fn verdict(route: &Route<()>, response: &[u8]) {
    let found = route.verdict(response);
    let Some(field) = route.output.get_field_by_json_name("commonResp") else {
        return assert_eq!(found, None);
    };
    // The client handles responses that cannot be decoded.
    let Ok(decoded) = DynamicMessage::decode(route.output.clone(), response) else { return };
    let decoded = decoded.get_field(&field);
    let decoded = decoded.as_message().expect("verdicts are messages");
    let expected = match *decoded.get_field_by_name("code").expect("verdicts have codes") {
        Value::I32(code) | Value::EnumNumber(code) => code,
        Value::U32(code) => i32::try_from(code).unwrap_or(i32::MAX),
        Value::U64(code) => i32::try_from(code).unwrap_or(i32::MAX),
        Value::I64(code) if code < 0 => i32::try_from(code).unwrap_or(i32::MIN),
        Value::I64(code) => i32::try_from(code).unwrap_or(i32::MAX),
        ref other => unreachable!("{other:?} is no code"),
    };
    assert_eq!(found.as_ref().map_or(0, |(code, _)| *code), expected);
    if let Some((_, bytes)) = found {
        let found = DynamicMessage::decode(decoded.descriptor(), &*bytes);
        let found = found.expect("it was decoded within the response");
        assert!(found == *decoded || has_nan(decoded), "{found:?}\nis not\n{decoded:?}");
    }
}

/// The session's value of each member: its own name.
fn member(member: Member) -> &'static str {
    member.names()[1]
}

/// The identity as a service's own code would make it.
fn identity(field: &FieldDescriptor) -> Value {
    let kind = field.kind();
    let desc = kind.as_message().expect("identities are messages");
    let names: &[&str] = match desc.full_name() {
        "rich.CommonReq" => {
            &["userId", "token", "device_id", "ip", "sessionId", "reqId", "userAgent", "osVersion"]
        }
        "legacy.CommonReq" => &["user_id", "ip"],
        other => unreachable!("{other} is no identity"),
    };
    let mut identity = DynamicMessage::new(desc.clone());
    for name in names {
        let known = Member::ALL.into_iter().find(|member| member.names().contains(name));
        let value = Value::String(member(known.expect("it is the gateway's member")).to_owned());
        let field = desc.get_field_by_name(name).expect("the message has it");
        let value = match field.kind() {
            Kind::Message(wrapper) => {
                let mut wrapped = DynamicMessage::new(wrapper);
                wrapped.set_field_by_number(1, value);
                Value::Message(wrapped)
            }
            _ => value,
        };
        identity.set_field(&field, value);
    }
    Value::Message(identity)
}

/// The fields of a message but one, without a schema; `None` if it is no protobuf.
fn fields(message: &[u8], except: Option<u32>) -> Option<Vec<UnknownField>> {
    <()>::decode(message).ok()?; // prost-reflect lets groups nest one level deeper
    let empty = SCHEMA.message("google.protobuf.Empty")?;
    let message = DynamicMessage::decode(empty, message).ok()?;
    Some(message.unknown_fields().filter(|field| Some(field.number()) != except).cloned().collect())
}

/// Whether fields have the wire types that the message's fields have, those
/// within groups as well.
fn fits(fields: &[UnknownField], message: &MessageDescriptor) -> bool {
    fields.iter().all(|field| {
        let Some(known) = message.get_field(field.number()) else { return true };
        let kind = known.kind();
        match field.wire_type() {
            WireType::StartGroup => known.is_group() && group_fits(field, &kind),
            WireType::LengthDelimited if known.is_list() && !known.is_group() => true,
            wire_type => kind.wire_type() == wire_type && !known.is_group(),
        }
    })
}

fn group_fits(group: &UnknownField, kind: &Kind) -> bool {
    let mut bytes = Vec::new();
    group.encode(&mut bytes);
    let mut inside = &bytes[..];
    decode_key(&mut inside).expect("it has a key");
    let end = inside.len() - key_len(group.number());
    let inside = self::fields(&inside[..end], None).expect("it was decoded as a group");
    fits(&inside, kind.as_message().expect("groups are messages"))
}

/// Whether the message has a NaN somewhere, which no comparison can pass.
fn has_nan(message: &DynamicMessage) -> bool {
    *message != message.clone()
}
