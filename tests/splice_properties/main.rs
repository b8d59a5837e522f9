//! The identity splice and the reading of verdicts against prost-reflect,
//! which decodes: for any message of a schema that has all that protobuf has,
//! with unknown fields and forged identities anywhere in it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests, and what they call"
)]

mod arbitrary;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bridgehead::routing::identity::Member;
use bridgehead::routing::{
    BadData, Depth, Descriptors, Lookup, PublicMethods, Route, RouteSpec, StatusCodes, TableBuilder,
};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint, key_len};
use prost_reflect::{
    DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _, UnknownField, Value,
};

use arbitrary::{
    MAX_NUMBER, any_field, group, interleaved, length_delimited, message, overlong, pieces,
};

type Members = BTreeMap<Member, String>;

/// A method, and where its request has the identity.
#[derive(Debug, Clone)]
struct Method {
    name: &'static str,
    identity: Option<u32>,
}

const SEND: Method = Method { name: "Send", identity: Some(7) };
const SEND_FAR: Method = Method { name: "SendFar", identity: Some(MAX_NUMBER) };
const SEND_LEGACY: Method = Method { name: "SendLegacy", identity: Some(2) };
const SEND_PLAIN: Method = Method { name: "SendPlain", identity: None };
const SEND_EMPTY: Method = Method { name: "SendEmpty", identity: None };
const SEND_WRAPPED: Method = Method { name: "SendWrapped", identity: None };
const SEND_BATCH: Method = Method { name: "SendBatch", identity: None };

const METHODS: [Method; 6] = [SEND, SEND_FAR, SEND_LEGACY, SEND_PLAIN, SEND_EMPTY, SEND_WRAPPED];

/// The members of `rich.CommonReq` and `legacy.CommonReq`, as a reader of the
/// proto files would list them.
const MEMBERS: &[(&str, &[(Member, &str)])] = &[
    (
        "rich.CommonReq",
        &[
            (Member::UserId, "userId"),
            (Member::Token, "token"),
            (Member::DeviceId, "device_id"),
            (Member::Ip, "ip"),
            (Member::SessionId, "sessionId"),
            (Member::ReqId, "reqId"),
            (Member::UserAgent, "userAgent"),
            (Member::Platform, "platform"),
            (Member::OsVersion, "osVersion"),
            (Member::AppVersion, "appVersion"),
            (Member::PackageId, "packageId"),
        ],
    ),
    ("legacy.CommonReq", &[(Member::UserId, "user_id"), (Member::Ip, "ip")]),
];

static SCHEMA: LazyLock<Descriptors> = LazyLock::new(|| {
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proto");
    let files = protox::compile(["rich.proto"], [include]).unwrap();
    Descriptors::from_sets([&*files.encode_to_vec()]).unwrap()
});

proptest! {
    #[test]
    fn nothing_but_the_identity_is_replaced(
        (method, parts) in any_of([SEND, SEND_FAR, SEND_LEGACY], with_forgeries),
        members in members(),
    ) {
        let number = method.identity.unwrap();
        let sent: Vec<u8> = parts.iter().flat_map(|(_, piece)| piece.clone()).collect();
        let kept: Vec<u8> =
            parts.iter().filter(|(forged, _)| !forged).flat_map(|(_, piece)| piece.clone()).collect();
        let prepared = prepare(&route(&method, false), &sent, &members).unwrap();

        // Bytes outside the identity are unchanged and in order.
        prop_assert!(prepared.starts_with(&kept));
        let mut appended = &prepared[kept.len()..];
        prop_assert_eq!(decode_key(&mut appended).unwrap(), (number, WireType::LengthDelimited));
        prop_assert_eq!(decode_varint(&mut appended).unwrap(), appended.len() as u64);

        // A service reads the client's data with the gateway's identity.
        let input = route(&method, false).input.clone();
        let mut expected = DynamicMessage::decode(input.clone(), &*kept).unwrap();
        set_identity(&mut expected, number, &members);
        let seen = DynamicMessage::decode(input.clone(), prepared).unwrap();
        prop_assert_eq!(&seen, &expected);
        // The same from the client's data, if it can be decoded as a whole.
        if let Ok(mut as_sent) = DynamicMessage::decode(input, &*sent) {
            set_identity(&mut as_sent, number, &members);
            prop_assert_eq!(&seen, &as_sent);
        }
    }

    #[test]
    fn a_message_without_an_identity_field_stays_as_it_is(
        (method, sent) in any_of([SEND_PLAIN, SEND_EMPTY, SEND_WRAPPED], whole),
        members in members(),
        validate: bool,
    ) {
        prop_assert_eq!(prepare(&route(&method, validate), &sent, &members).unwrap(), sent);
    }

    #[test]
    fn preparing_twice_is_preparing_once(
        (method, parts) in any_of([SEND, SEND_FAR, SEND_LEGACY], with_forgeries),
        members in members(),
    ) {
        let sent: Vec<u8> = parts.into_iter().flat_map(|(_, piece)| piece).collect();
        let once = prepare(&route(&method, false), &sent, &members).unwrap();
        prop_assert_eq!(prepare(&route(&method, false), &once, &members).unwrap(), once);
    }

    #[test]
    fn bytes_are_taken_if_they_are_protobuf_and_only_then(
        (method, sent) in any_of(METHODS, with_damage),
        members in members(),
    ) {
        let prepared = prepare(&route(&method, false), &sent, &members);
        let Some(outside) = decode_without_schema(&sent, method.identity) else {
            prop_assert!(prepared.is_err());
            return Ok(());
        };
        if method.identity.is_some() && !fits(&outside, &input(&method)) {
            let is_refused = matches!(prepared, Err(BadData::NotTheMessage { .. }));
            prop_assert!(is_refused);
            return Ok(());
        }
        let seen = decode_without_schema(&prepared.unwrap(), method.identity).unwrap();
        prop_assert_eq!(seen, outside);
    }

    #[test]
    fn validation_takes_the_requests_message_and_nothing_else(
        (method, sent) in any_of(METHODS, with_damage),
        members in members(),
    ) {
        let route = route(&method, true);
        let decoded = DynamicMessage::decode(route.input.clone(), &*sent);
        match prepare(&route, &sent, &members) {
            Ok(prepared) => {
                let mut expected = decoded.unwrap();
                if let Some(number) = method.identity {
                    set_identity(&mut expected, number, &members);
                }
                let seen = DynamicMessage::decode(route.input.clone(), prepared).unwrap();
                prop_assert!(seen == expected || has_nan(&expected));
            }
            // prost-reflect takes maps of any wire type.
            Err(_) => prop_assert!(
                decoded.is_err()
                    || decode_without_schema(&sent, None)
                        .is_none_or(|fields| !fits(&fields, &route.input))
            ),
        }
    }

    #[test]
    fn a_verdict_is_what_decoding_the_response_says(
        (method, response) in any_of(METHODS, response),
    ) {
        let route = route(&method, false);
        let decoded = DynamicMessage::decode(route.output.clone(), &*response).unwrap();
        prop_assert_eq!(verdict(&route, &response), verdict_of(&decoded));
    }

    #[test]
    fn reading_a_damaged_response_does_no_harm(
        (method, response) in any_of(METHODS, |method| damaged(response(method))),
    ) {
        let route = route(&method, false);
        let found = route.verdict(&response).is_some();
        // The client handles responses that cannot be decoded, with any verdict.
        if let Ok(decoded) = DynamicMessage::decode(route.output.clone(), &*response)
            && !has_nan(&decoded)
        {
            prop_assert_eq!(found, verdict_of(&decoded).is_some());
            prop_assert_eq!(verdict(&route, &response), verdict_of(&decoded));
        }
    }
}

#[test]
fn groups_may_nest_as_deep_as_decoders_let_them() {
    for (depth, accepted) in [(1, true), (99, true), (100, true), (101, false), (10_000, false)] {
        let deep = (0..depth).fold(Vec::new(), |inside, _| group(90, &inside));
        assert_eq!(decode_without_schema(&deep, None).is_some(), accepted, "{depth}");
        for method in METHODS {
            for validate in [false, true] {
                let route = route(&method, validate);
                assert_eq!(prepare(&route, &deep, &Members::new()).is_ok(), accepted, "{depth}");
            }
        }
    }
}

#[test]
fn messages_may_nest_as_deep_as_decoders_let_them() {
    let child = |depth| (0..depth).fold(Vec::new(), |inside, _| length_delimited(31, &inside));
    for (depth, valid) in [(1, true), (99, true), (100, true), (101, false), (10_000, false)] {
        let deep = child(depth);
        for validate in [false, true] {
            let prepared = prepare(&route(&SEND_PLAIN, validate), &deep, &Members::new());
            assert_eq!(prepared.is_ok(), valid || !validate, "{depth}");
        }
    }
}

/// prost, and so prost-reflect, reads a map's entry behind any key of the map's
/// number. Here it reads a forged identity where other decoders, the gateway's
/// too, see eight bytes; and the gateway's own within an entry.
#[test]
fn a_map_of_another_wire_type_cannot_replace_the_identity() {
    let members = Members::from([(Member::UserId, "u1".into())]);
    let route = route(&SEND, false);
    let own = prepare(&route, b"", &members).unwrap();
    let labels_as_fixed64 = 5 << 3 | 1;
    let hidden = u8::try_from(own.len()).unwrap();
    let forgery = [
        // An empty entry, an identity, and an entry whose unknown field ends where all ends.
        &[labels_as_fixed64, 0, 7 << 3 | 2, 5, 1 << 3 | 2, 3, b'r', b'o', b't'][..],
        &[labels_as_fixed64, hidden + 7, 3 << 3 | 2, hidden + 5, 0, 0, 0, 0, 0],
    ]
    .concat();
    // The data that services would read, were it passed on.
    let spliced = [&*forgery, &own].concat();
    let read = DynamicMessage::decode(route.input.clone(), &*spliced).unwrap();
    let identity = read.get_field_by_name("commonReq").unwrap().into_owned();
    let user_id = identity.as_message().unwrap().get_field_by_name("userId").unwrap().into_owned();
    assert_eq!(user_id, Value::String("rot".into()));

    let error = prepare(&route, &forgery, &members).unwrap_err();
    assert!(error.to_string().contains("field 5 at byte 0 has another wire type"), "{error}");
}

#[test]
fn a_known_group_hides_no_map_of_another_wire_type() {
    let inside = [4 << 3 | 1, 0, 2 << 3 | 2, 5, 3 << 3 | 2, 3, b'r', b'o', b't'];
    let error = prepare(&route(&SEND_LEGACY, false), &group(1, &inside), &Members::new());
    assert!(matches!(error, Err(BadData::NotTheMessage { .. })), "{error:?}");
}

#[test]
fn an_identity_that_nobody_has_told_is_there_and_empty() {
    let prepared = prepare(&route(&SEND, false), b"", &Members::new()).unwrap();
    assert_eq!(&*prepared, [7 << 3 | 2, 0]);
}

proptest! {
    #[test]
    fn below_the_top_level_a_service_reads_no_identity_but_the_gateways(
        (method, sent) in any_of([SEND_BATCH, SEND, SEND_FAR, SEND_LEGACY], whole),
        members in members(),
    ) {
        let route = nested(&method);
        let prepared = prepare(&route, &sent, &members).unwrap();
        let mut expected = DynamicMessage::decode(route.input.clone(), &*sent).unwrap();
        fill(&mut expected, &members);
        let seen = DynamicMessage::decode(route.input.clone(), prepared.clone()).unwrap();
        prop_assert_eq!(&seen, &expected);
        prop_assert_eq!(prepare(&route, &prepared, &members).unwrap(), prepared);
    }

    #[test]
    fn damage_below_the_top_level_brings_no_other_identity_through(
        (method, sent) in any_of([SEND_BATCH, SEND, SEND_LEGACY], with_damage),
        members in members(),
    ) {
        let route = nested(&method);
        let Ok(prepared) = prepare(&route, &sent, &members) else { return Ok(()) };
        prop_assert!(decode_without_schema(&prepared, None).is_some());
        // No service reads data that cannot be decoded.
        if let Ok(seen) = DynamicMessage::decode(route.input.clone(), prepared) {
            let mut expected = seen.clone();
            fill(&mut expected, &members);
            prop_assert!(seen == expected || has_nan(&expected));
        }
    }
}

/// Sets the identity in a message and in all within, as a service's own code
/// would.
fn fill(message: &mut DynamicMessage, members: &Members) {
    let desc = message.descriptor();
    let own = desc.get_field_by_json_name("commonReq").map(|field| field.number());
    for field in desc.fields().filter(|field| Some(field.number()) != own) {
        if field.kind().as_message().is_none() || !message.has_field(&field) {
            continue;
        }
        match message.get_field_mut(&field) {
            Value::Message(inner) => fill(inner, members),
            Value::List(inner) => {
                inner.iter_mut().filter_map(Value::as_message_mut).for_each(|m| fill(m, members));
            }
            Value::Map(inner) => {
                inner.values_mut().filter_map(Value::as_message_mut).for_each(|m| fill(m, members));
            }
            _ => {}
        }
    }
    if let Some(number) = own {
        set_identity(message, number, members);
    }
}

/// The route of a method where the identity is filled below the top level, too.
fn nested(method: &Method) -> Arc<Route<()>> {
    static TABLE: LazyLock<bridgehead::routing::RouteTable<()>> =
        LazyLock::new(|| table(false, Depth::Nested));
    let name = format!("/rich.Rich/{}", method.name);
    let Lookup::Route(route) = TABLE.lookup(&name) else { panic!("{name} is a route") };
    Arc::clone(route)
}

fn table(validate: bool, depth: Depth) -> bridgehead::routing::RouteTable<()> {
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
    builder.expose(&(), "rich.Rich", &defaults, &SCHEMA).unwrap();
    builder.build()
}

/// The route of a method of the test schema.
fn route(method: &Method, validate: bool) -> Arc<Route<()>> {
    static TABLES: LazyLock<[bridgehead::routing::RouteTable<()>; 2]> =
        LazyLock::new(|| [false, true].map(|validate| table(validate, Depth::Top)));
    let name = format!("/rich.Rich/{}", method.name);
    let Lookup::Route(route) = TABLES[usize::from(validate)].lookup(&name) else {
        panic!("{name} is a route");
    };
    Arc::clone(route)
}

fn input(method: &Method) -> MessageDescriptor {
    route(method, false).input.clone()
}

/// Prepares a request as a session with these members does.
fn prepare(route: &Route<()>, sent: &[u8], members: &Members) -> Result<Bytes, BadData> {
    let value = |member| members.get(&member).map_or("", String::as_str);
    route.prepare(
        &Bytes::copy_from_slice(sent),
        |layout| layout.encode(value),
        value(Member::ReqId),
    )
}

/// Sets the identity as a service's own code would.
fn set_identity(message: &mut DynamicMessage, number: u32, members: &Members) {
    let field = message.descriptor().get_field(number).unwrap();
    let desc = field.kind().as_message().unwrap().clone();
    let (_, names) = MEMBERS.iter().find(|(name, _)| *name == desc.full_name()).unwrap();
    let mut identity = DynamicMessage::new(desc.clone());
    for (member, name) in *names {
        if let Some(value) = members.get(member).filter(|value| !value.is_empty()) {
            let field = desc.get_field_by_name(name).unwrap();
            if let Some(value) = value_of(&field.kind(), value) {
                identity.set_field(&field, value);
            }
        }
    }
    message.set_field(&field, Value::Message(identity));
}

/// A text as the value of a field.
fn value_of(kind: &Kind, text: &str) -> Option<Value> {
    let is_number = text == "0"
        || text
            .strip_prefix('-')
            .unwrap_or(text)
            .starts_with(|first: char| ('1'..='9').contains(&first));
    Some(match kind {
        Kind::String => Value::String(text.to_owned()),
        Kind::Int32 if is_number => Value::I32(text.parse().ok()?),
        Kind::Sint64 if is_number => Value::I64(text.parse().ok()?),
        Kind::Uint64 if is_number => Value::U64(text.parse().ok()?),
        Kind::Message(wrapper) => {
            let field = wrapper.get_field(1)?;
            let mut message = DynamicMessage::new(wrapper.clone());
            message.set_field(&field, value_of(&field.kind(), text)?);
            Value::Message(message)
        }
        _ => return None,
    })
}

/// The fields of any message, by number; `None` if it is no protobuf.
fn decode_without_schema(message: &[u8], except: Option<u32>) -> Option<Vec<UnknownField>> {
    <()>::decode(message).ok()?; // prost-reflect lets groups nest one level deeper
    let empty = SCHEMA.message("google.protobuf.Empty").unwrap();
    let message = DynamicMessage::decode(empty, message).unwrap();
    Some(message.unknown_fields().filter(|field| Some(field.number()) != except).cloned().collect())
}

/// Whether fields have the wire types that the message's fields have, those
/// within groups as well.
fn fits(fields: &[UnknownField], message: &MessageDescriptor) -> bool {
    fields.iter().all(|field| {
        let Some(known) = message.get_field(field.number()) else { return true };
        let kind = known.kind();
        match field.wire_type() {
            WireType::StartGroup => {
                known.is_group() && {
                    let mut bytes = Vec::new();
                    field.encode(&mut bytes);
                    let mut inside = &bytes[..];
                    decode_key(&mut inside).unwrap();
                    let end = inside.len() - key_len(field.number());
                    let inside = decode_without_schema(&inside[..end], None).unwrap();
                    fits(&inside, kind.as_message().unwrap())
                }
            }
            WireType::LengthDelimited if known.is_list() && !known.is_group() => true,
            wire_type => kind.wire_type() == wire_type && !known.is_group(),
        }
    })
}

/// The verdict as the route reads it, its bytes decoded.
fn verdict(route: &Route<()>, response: &[u8]) -> Option<(i32, DynamicMessage)> {
    let (code, bytes) = route.verdict(response)?;
    let field = verdict_field(&route.output)?;
    let desc = field.kind().as_message().unwrap().clone();
    Some((code, DynamicMessage::decode(desc, &*bytes).unwrap_or_else(|e| panic!("{code}: {e}"))))
}

/// The verdict of the decoded response; codes beyond 32 bits are cut to the
/// nearest that fits.
fn verdict_of(response: &DynamicMessage) -> Option<(i32, DynamicMessage)> {
    let field = verdict_field(&response.descriptor())?;
    let verdict = response.get_field(&field).as_message().unwrap().clone();
    let code = match *verdict.get_field_by_name("code").unwrap() {
        Value::I32(code) | Value::EnumNumber(code) => code,
        Value::U32(code) => i32::try_from(code).unwrap_or(i32::MAX),
        Value::U64(code) => i32::try_from(code).unwrap_or(i32::MAX),
        Value::I64(code) if code < 0 => i32::try_from(code).unwrap_or(i32::MIN),
        Value::I64(code) => i32::try_from(code).unwrap_or(i32::MAX),
        ref other => panic!("{other:?} is no code"),
    };
    (code != 0).then_some((code, verdict))
}

fn verdict_field(output: &MessageDescriptor) -> Option<prost_reflect::FieldDescriptor> {
    output.get_field_by_json_name("commonResp")
}

/// Whether the message has a NaN somewhere, which no comparison can pass.
fn has_nan(message: &DynamicMessage) -> bool {
    *message != message.clone()
}

/// Any of these methods, with a value for it.
fn any_of<S: Strategy + 'static, const N: usize>(
    methods: [Method; N],
    of_method: impl Fn(&Method) -> S,
) -> impl Strategy<Value = (Method, S::Value)>
where
    S::Value: Clone,
{
    let choices = methods.map(|method| {
        let for_it = of_method(&method);
        (Just(method), for_it).boxed()
    });
    proptest::strategy::Union::new(choices)
}

/// A session's values of its caller's members.
fn members() -> impl Strategy<Value = Members> {
    let value = prop_oneof![
        Just(String::new()),
        any::<String>(),
        "[a-z0-9]{120,140}",
        "[+-]?[0-9]{1,3}",
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    proptest::collection::btree_map(proptest::sample::select(Member::ALL.to_vec()), value, 0..14)
}

/// Pieces of a request; the marked ones are a client's forgeries in place of
/// the identity.
fn with_forgeries(method: &Method) -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> + use<> {
    let number = method.identity.unwrap();
    let input = input(method);
    let identity = input.get_field(number).unwrap().kind().as_message().unwrap().clone();
    let identity = message(&identity, None, 1).prop_map(|message| message.encode_to_vec());
    let forgery = prop_oneof![
        3 => identity.clone().prop_map(move |bytes| length_delimited(number, &bytes)),
        1 => identity.prop_map(move |bytes| overlong(number, &bytes)),
        1 => any_field(number),
    ];
    interleaved(pieces(&input, Some(number)), vec(forgery, 0..4))
}

/// A request of this method.
fn whole(method: &Method) -> BoxedStrategy<Vec<u8>> {
    pieces(&input(method), None).prop_map(|pieces| pieces.concat()).boxed()
}

/// A request of this method, whole or damaged, or any bytes at all.
fn with_damage(method: &Method) -> impl Strategy<Value = Vec<u8>> + use<> {
    // Small ones are more often keys of known numbers and wire types.
    let bytes = vec(prop_oneof![0..64u8, any::<u8>()], 0..64);
    let request = whole(method);
    prop_oneof![2 => request.clone(), 3 => damaged(request), 2 => bytes]
}

/// Bytes with some of them changed, left out or added.
fn damaged(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    (bytes, vec(change, 1..4)).prop_map(|(mut bytes, changes)| {
        for (index, byte, how) in changes {
            let at = index.index(bytes.len() + 1);
            match how {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => bytes.push(byte),
            }
        }
        bytes
    })
}

/// A response of this method, its verdict in any number of pieces.
fn response(method: &Method) -> BoxedStrategy<Vec<u8>> {
    let output = route(method, false).output.clone();
    let Some(field) = verdict_field(&output) else {
        return pieces(&output, None).prop_map(|pieces| pieces.concat()).boxed();
    };
    let (number, kind) = (field.number(), field.kind());
    let verdict = pieces(kind.as_message().unwrap(), None).prop_map(|pieces| pieces.concat());
    let verdict = prop_oneof![
        verdict.clone().prop_map(move |bytes| length_delimited(number, &bytes)),
        verdict.prop_map(move |bytes| overlong(number, &bytes)),
    ];
    interleaved(pieces(&output, Some(number)), vec(verdict, 0..4))
        .prop_map(|parts| parts.into_iter().flat_map(|(_, piece)| piece).collect())
        .boxed()
}
