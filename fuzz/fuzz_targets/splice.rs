//! A route on anything that a client may send as data, and a service as its
//! response; beside prost-reflect, which decodes.
//!
//! - Data is taken if it is protobuf, or with `validate` the request message;
//!   else refused.
//! - Data that was taken has the gateway's identity and is otherwise what the
//!   client sent.
//! - A response's verdict is what decoding the response says.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bridgehead::routing::identity::Member;
use bridgehead::routing::{
    BadData, Descriptors, PublicMethods, Route, RouteSpec, StatusCodes, TableBuilder,
};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _, UnknownField, Value};

/// Messages with all that protobuf has; the tests have them too.
static SCHEMA: LazyLock<Descriptors> = LazyLock::new(|| {
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/proto");
    let files = protox::compile(["rich.proto"], [include]).expect("the schema compiles");
    Descriptors::from_sets([&*files.encode_to_vec()]).expect("protox makes good sets")
});

static ROUTES: LazyLock<Vec<Arc<Route<()>>>> = LazyLock::new(|| {
    let table = |validate| {
        let mut builder = TableBuilder::new("commonReq", "commonResp", PublicMethods::default());
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
    [table(false), table(true)].concat()
});

fuzz_target!(|bytes: &[u8]| {
    for route in &*ROUTES {
        prepare(route, bytes);
        verdict(route, bytes);
    }
});

fn prepare(route: &Route<()>, data: &[u8]) {
    let (input, field) = (&route.input, route.input.get_field_by_json_name("commonReq"));
    let number = field.as_ref().map(FieldDescriptor::number);
    let of_session = route.layout().map(|layout| layout.encode(member)).unwrap_or_default();
    let prepared = route.prepare(&Bytes::copy_from_slice(data), &of_session, member(Member::ReqId));

    let before = DynamicMessage::decode(input.clone(), data);
    let outside = fields(data, number);
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(BadData::Malformed(_)) => return assert!(outside.is_none() && !route.validate),
        Err(_) => return assert!(before.is_err() && route.validate),
    };
    assert!(!route.validate || before.is_ok());
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
    // What cannot be decoded is the client's to find out.
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

/// What the session knows: each member, by its own name.
fn member(member: Member) -> &'static str {
    member.names()[1]
}

/// The identity as a service's own code would make it.
fn identity(field: &FieldDescriptor) -> Value {
    let kind = field.kind();
    let desc = kind.as_message().expect("identities are messages");
    let names: &[&str] = match desc.full_name() {
        "rich.CommonReq" => {
            &["userId", "token", "device_id", "ip", "sessionId", "reqId", "userAgent"]
        }
        "legacy.CommonReq" => &["user_id", "ip"],
        other => unreachable!("{other} is no identity"),
    };
    let mut identity = DynamicMessage::new(desc.clone());
    for name in names {
        let known = Member::ALL.into_iter().find(|member| member.names().contains(name));
        let value = member(known.expect("it is the gateway's member"));
        identity.set_field_by_name(name, Value::String(value.to_owned()));
    }
    Value::Message(identity)
}

/// The fields of a message but one, without a schema; `None` if it is no protobuf.
fn fields(message: &[u8], except: Option<u32>) -> Option<Vec<UnknownField>> {
    let empty = SCHEMA.pool().get_message_by_name("google.protobuf.Empty")?;
    let message = DynamicMessage::decode(empty, message).ok()?;
    Some(message.unknown_fields().filter(|field| Some(field.number()) != except).cloned().collect())
}

/// Whether the message has a NaN somewhere, which no comparison can pass.
fn has_nan(message: &DynamicMessage) -> bool {
    *message != message.clone()
}
