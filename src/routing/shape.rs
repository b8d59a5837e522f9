//! Which wire types the fields of a message may have.
//!
//! Decoders disagree on a field whose wire type is not that of its descriptor.
//! Most pass over it by its wire type, as the gateway does. Others read it as
//! their descriptor says, whatever its key says: prost, for one, with maps. To
//! such decoders, the bytes behind its key begin other fields than to the gateway:
//! a forged identity may be among them, and the gateway's own may be hidden.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::wire::{self, Field, Value};

/// Sets of wire types: a bit each.
const VARINT: u8 = 1 << 0;
const FIXED64: u8 = 1 << 1;
const LEN: u8 = 1 << 2;
const GROUP: u8 = 1 << 3;
const FIXED32: u8 = 1 << 5;

/// The wire types of a message's fields.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Field numbers, ascending, with the wire types that the field may have.
    wire_types: Box<[(u32, u8)]>,
    message: MessageDescriptor,
}

impl Shape {
    /// The shape of this message.
    pub fn of(message: &MessageDescriptor) -> Self {
        let mut wire_types: Box<[_]> =
            message.fields().map(|field| (field.number(), wire_types(&field))).collect();
        wire_types.sort_by_key(|(number, _)| *number);
        Self { wire_types, message: message.clone() }
    }

    /// Whether all decoders read this field alike: its wire type is that of
    /// its descriptor, or it has none.
    pub fn fits(&self, field: &Field<'_>) -> bool {
        match self.allowed(field) {
            None => true,
            Some(allowed) => allowed && group_fits(&self.message, field),
        }
    }

    /// The same without a look into a group, for callers that walk it anyway.
    pub(super) fn fits_outside(&self, field: &Field<'_>) -> bool {
        self.allowed(field).unwrap_or(true)
    }

    /// Whether a known field has a wire type of its descriptor.
    fn allowed(&self, field: &Field<'_>) -> Option<bool> {
        let known = self.wire_types.binary_search_by_key(&field.number, |(number, _)| *number);
        let (_, allowed) = known.ok().and_then(|at| self.wire_types.get(at))?;
        Some(allowed & wire_type(field) != 0)
    }
}

/// A group has no length that would keep a decoder within it, so its fields
/// must fit as well. Groups nest no deeper than [`wire`] lets them.
fn group_fits(message: &MessageDescriptor, field: &Field<'_>) -> bool {
    let Value::Group(inside) = field.value else { return true };
    let Some(Kind::Message(group)) = message.get_field(field.number).map(|field| field.kind())
    else {
        return true;
    };
    wire::fields(inside).flatten().all(|field| {
        let allowed = group.get_field(field.number).map_or(u8::MAX, |known| wire_types(&known));
        allowed & wire_type(&field) != 0 && group_fits(&group, &field)
    })
}

fn wire_type(field: &Field<'_>) -> u8 {
    match field.value {
        Value::Varint(_) => VARINT,
        Value::Fixed64(_) => FIXED64,
        Value::Len(_) => LEN,
        Value::Group(_) => GROUP,
        Value::Fixed32(_) => FIXED32,
    }
}

/// The wire types that a field may have: that of its type, and of its packed form.
fn wire_types(field: &FieldDescriptor) -> u8 {
    let of_type = match field.kind() {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => FIXED64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => FIXED32,
        Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Bool
        | Kind::Enum(_) => VARINT,
        Kind::Message(_) if field.is_group() => return GROUP,
        Kind::String | Kind::Bytes | Kind::Message(_) => return LEN,
    };
    // Decoders take both forms of a list, whichever is declared.
    if field.is_list() { of_type | LEN } else { of_type }
}
