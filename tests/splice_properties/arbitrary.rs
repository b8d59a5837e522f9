//! Strategies: messages of any descriptor, as pieces of the wire format that
//! can be put into any order. Nothing here uses the gateway's own wire code.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Value,
};

/// How deep messages nest in generated messages.
const DEPTH: u32 = 2;

/// The largest field number.
pub(crate) const MAX_NUMBER: u32 = (1 << 29) - 1;

/// Fields at their place in a message, serialized.
pub(crate) type Pieces = Vec<Vec<u8>>;

/// The fields of some messages of this type, without the field `except`, and
/// unknown fields between them.
pub(crate) fn pieces(desc: &MessageDescriptor, except: Option<u32>) -> BoxedStrategy<Pieces> {
    // Two messages in one: singular messages merge, lists grow, oneofs change.
    let known = vec(message(desc, except, DEPTH), 0..3);
    let unknown = vec(unknown_field(desc), 0..4);
    (known, unknown)
        .prop_map(|(messages, unknown)| {
            messages.iter().flat_map(split).chain(unknown).collect::<Pieces>()
        })
        .prop_shuffle()
        .boxed()
}

/// Puts `inserted` into `pieces` at any place; marks the inserted ones.
pub(crate) fn interleaved(
    pieces: impl Strategy<Value = Pieces>,
    inserted: impl Strategy<Value = Pieces>,
) -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    (pieces, inserted)
        .prop_map(|(pieces, inserted)| {
            let pieces = pieces.into_iter().map(|piece| (false, piece));
            pieces.chain(inserted.into_iter().map(|piece| (true, piece))).collect::<Vec<_>>()
        })
        .prop_shuffle()
}

/// Any message of this type.
pub(crate) fn message(
    desc: &MessageDescriptor,
    except: Option<u32>,
    depth: u32,
) -> BoxedStrategy<DynamicMessage> {
    let desc = desc.clone();
    let in_oneof = |field: &FieldDescriptor| field.containing_oneof().is_some();
    let alone = desc
        .fields()
        .filter(|field| !in_oneof(field) && Some(field.number()) != except)
        .filter_map(|field| Some(weighted(0.2, field_value(field, depth)?).boxed()));
    let oneofs = desc.oneofs().filter_map(|oneof| {
        let choices: Vec<_> = oneof
            .fields()
            .filter(|field| Some(field.number()) != except)
            .filter_map(|field| field_value(field, depth))
            .collect();
        (!choices.is_empty())
            .then(|| weighted(0.5, proptest::strategy::Union::new(choices)).boxed())
    });
    let fields: Vec<_> = alone.chain(oneofs).collect();
    fields
        .prop_map(move |fields| {
            let mut message = DynamicMessage::new(desc.clone());
            for (field, value) in fields.into_iter().flatten() {
                message.set_field(&field, value);
            }
            message
        })
        .boxed()
}

/// A field that the message does not know, of any wire type.
fn unknown_field(desc: &MessageDescriptor) -> impl Strategy<Value = Vec<u8>> + use<> {
    let desc = desc.clone();
    let number = prop_oneof![1..200u32, 1..=MAX_NUMBER]
        .prop_filter("known", move |number| desc.get_field(*number).is_none());
    number.prop_flat_map(any_field)
}

/// A field of this number, of any wire type and of no particular meaning.
pub(crate) fn any_field(number: u32) -> BoxedStrategy<Vec<u8>> {
    let field = move |wire_type, payload: Vec<u8>| {
        let mut out = Vec::new();
        encode_key(number, wire_type, &mut out);
        [out, payload].concat()
    };
    let scalar = prop_oneof![
        any::<u64>().prop_map(move |value| field(WireType::Varint, varint(value))),
        any::<[u8; 8]>().prop_map(move |value| field(WireType::SixtyFourBit, value.to_vec())),
        any::<[u8; 4]>().prop_map(move |value| field(WireType::ThirtyTwoBit, value.to_vec())),
        vec(any::<u8>(), 0..20).prop_map(move |value| length_delimited(number, &value)),
        vec(any::<u8>(), 0..20).prop_map(move |value| overlong(number, &value)),
    ];
    let nested = (1..40u32, any::<u64>()).prop_map(|(number, value)| {
        let mut out = Vec::new();
        encode_key(number, WireType::Varint, &mut out);
        [out, varint(value)].concat()
    });
    let nested = nested.prop_recursive(4, 16, 4, |inner| {
        (1..40u32, vec(inner, 0..4)).prop_map(|(number, inside)| group(number, &inside.concat()))
    });
    let group = vec(nested, 0..4).prop_map(move |inside| group(number, &inside.concat()));
    prop_oneof![4 => scalar, 1 => group].boxed()
}

/// A length-delimited field.
pub(crate) fn length_delimited(number: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut out);
    out.extend(varint(value.len() as u64));
    [&*out, value].concat()
}

/// A length-delimited field whose key and length take more bytes than needed.
pub(crate) fn overlong(number: u32, value: &[u8]) -> Vec<u8> {
    let stretch = |mut bytes: Vec<u8>| {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.extend([0x80, 0x00]);
        bytes
    };
    let key = varint(u64::from(number << 3 | 2));
    [&*stretch(key), &*stretch(varint(value.len() as u64)), value].concat()
}

/// A group.
pub(crate) fn group(number: u32, inside: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(number, WireType::StartGroup, &mut out);
    out.extend(inside);
    encode_key(number, WireType::EndGroup, &mut out);
    out
}

fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_varint(value, &mut out);
    out
}

/// Each field that is set, serialized on its own.
fn split(message: &DynamicMessage) -> Pieces {
    let alone = |(field, value): (FieldDescriptor, &Value)| {
        let mut one = DynamicMessage::new(message.descriptor());
        one.set_field(&field, value.clone());
        one.encode_to_vec()
    };
    message.fields().map(alone).collect()
}

/// A field and a value for it, unless messages nest too deep already.
fn field_value(
    field: FieldDescriptor,
    depth: u32,
) -> Option<BoxedStrategy<(FieldDescriptor, Value)>> {
    let value = if field.is_map() {
        let Kind::Message(entry) = field.kind() else { unreachable!("maps are of entries") };
        let key = map_key(&entry.map_entry_key_field().kind());
        let value = single_value(&entry.map_entry_value_field().kind(), depth)?;
        proptest::collection::hash_map(key, value, 0..3).prop_map(Value::Map).boxed()
    } else {
        let value = single_value(&field.kind(), depth)?;
        if field.is_list() { vec(value, 0..4).prop_map(Value::List).boxed() } else { value }
    };
    Some(value.prop_map(move |value| (field.clone(), value)).boxed())
}

fn single_value(kind: &Kind, depth: u32) -> Option<BoxedStrategy<Value>> {
    Some(match kind {
        // NaN is left out: it is not equal to itself.
        Kind::Double => {
            any::<u64>().prop_map(f64::from_bits).prop_map(|v| Value::F64(not_nan(v, 0.5))).boxed()
        }
        Kind::Float => {
            any::<u32>().prop_map(f32::from_bits).prop_map(|v| Value::F32(not_nan(v, 0.5))).boxed()
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => extreme_i32().prop_map(Value::I32).boxed(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => extreme_i64().prop_map(Value::I64).boxed(),
        Kind::Uint32 | Kind::Fixed32 => {
            extreme_i32().prop_map(|v| Value::U32(v.cast_unsigned())).boxed()
        }
        Kind::Uint64 | Kind::Fixed64 => {
            extreme_i64().prop_map(|v| Value::U64(v.cast_unsigned())).boxed()
        }
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::String => any::<String>().prop_map(Value::String).boxed(),
        Kind::Bytes => vec(any::<u8>(), 0..20).prop_map(|v| Value::Bytes(v.into())).boxed(),
        Kind::Enum(desc) => enum_number(desc).prop_map(Value::EnumNumber).boxed(),
        Kind::Message(_) if depth == 0 => return None,
        Kind::Message(desc) => message(desc, None, depth - 1).prop_map(Value::Message).boxed(),
    })
}

fn not_nan<F: PartialEq>(value: F, otherwise: F) -> F {
    #[allow(clippy::eq_op, reason = "this is how NaN is told")]
    if value == value { value } else { otherwise }
}

/// Numbers, often at the limits of varints.
fn extreme_i32() -> impl Strategy<Value = i32> {
    prop_oneof![any::<i32>(), Just(0), Just(1), Just(-1), Just(i32::MIN), Just(i32::MAX)]
}

fn extreme_i64() -> impl Strategy<Value = i64> {
    let edges = (0..63u32, -1..2i64).prop_map(|(shift, more)| (1i64 << shift) + more);
    prop_oneof![any::<i64>(), edges, Just(-1), Just(i64::MIN), Just(i64::MAX)]
}

/// Values that the enum has and, where it is open, any other.
fn enum_number(desc: &EnumDescriptor) -> BoxedStrategy<i32> {
    let known: Vec<_> = desc.values().map(|value| value.number()).collect();
    let known = proptest::sample::select(known);
    let is_open = desc.parent_file().syntax() == prost_reflect::Syntax::Proto3;
    if is_open { prop_oneof![known, any::<i32>()].boxed() } else { known.boxed() }
}

fn map_key(kind: &Kind) -> BoxedStrategy<MapKey> {
    match kind {
        Kind::String => any::<String>().prop_map(MapKey::String).boxed(),
        Kind::Bool => any::<bool>().prop_map(MapKey::Bool).boxed(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => extreme_i32().prop_map(MapKey::I32).boxed(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => extreme_i64().prop_map(MapKey::I64).boxed(),
        Kind::Uint32 | Kind::Fixed32 => any::<u32>().prop_map(MapKey::U32).boxed(),
        Kind::Uint64 | Kind::Fixed64 => any::<u64>().prop_map(MapKey::U64).boxed(),
        other => unreachable!("{other:?} is no key of a map"),
    }
}
