//! How a text that the gateway knows becomes a field of an identity message:
//! as a text, as an integer, or wrapped as either.

use bytes::BufMut;
use prost_reflect::{FieldDescriptor, Kind};

use super::canonical::{number, wrapped};
use crate::wire;

/// The field that a wrapper such as `google.protobuf.StringValue` holds its
/// value in.
const WRAPPED: u32 = 1;

/// The types of fields that a text can fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// `string`.
    Text,
    /// An integer, if the text is its one spelling.
    Number(Integer),
    /// `google.protobuf.StringValue`.
    WrappedText,
    /// `google.protobuf.Int64Value` and the like.
    WrappedNumber(Integer),
}

/// The ways in which an integer is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Integer {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
}

impl Form {
    /// How a text gets into this field; `None`: not at all.
    pub(super) fn of(field: &FieldDescriptor) -> Option<Self> {
        if field.is_list() || field.is_map() || field.is_group() {
            return None;
        }
        let kind = field.kind();
        match kind.as_message() {
            None => Self::of_kind(&kind),
            Some(message) => match Self::of_kind(&wrapped(message)?)? {
                Self::Text => Some(Self::WrappedText),
                Self::Number(integer) => Some(Self::WrappedNumber(integer)),
                Self::WrappedText | Self::WrappedNumber(_) => None,
            },
        }
    }

    fn of_kind(kind: &Kind) -> Option<Self> {
        Some(Self::Number(match kind {
            Kind::String => return Some(Self::Text),
            Kind::Int32 => Integer::Int32,
            Kind::Int64 => Integer::Int64,
            Kind::Uint32 => Integer::Uint32,
            Kind::Uint64 => Integer::Uint64,
            Kind::Sint32 => Integer::Sint32,
            Kind::Sint64 => Integer::Sint64,
            Kind::Fixed32 => Integer::Fixed32,
            Kind::Fixed64 => Integer::Fixed64,
            Kind::Sfixed32 => Integer::Sfixed32,
            Kind::Sfixed64 => Integer::Sfixed64,
            Kind::Double
            | Kind::Float
            | Kind::Bool
            | Kind::Bytes
            | Kind::Message(_)
            | Kind::Enum(_) => return None,
        }))
    }

    /// Whether only a text that is a number has a place there.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Number(_) | Self::WrappedNumber(_))
    }

    /// Appends the field. An empty text is left out, as proto3 does, and so is
    /// one that is not the one spelling of a number.
    pub(super) fn put(self, out: &mut Vec<u8>, at: u32, text: &str) {
        match self {
            _ if text.is_empty() => {}
            Self::Text => wire::put_len(out, at, text.as_bytes()),
            Self::Number(integer) => {
                integer.put(out, at, text);
            }
            Self::WrappedText => {
                let len = wire::len_prefix_len(WRAPPED, text.len()) + text.len();
                wire::put_len_prefix(out, at, len);
                wire::put_len(out, WRAPPED, text.as_bytes());
            }
            Self::WrappedNumber(integer) => {
                let mut inside = Vec::new();
                if integer.put(&mut inside, WRAPPED, text) {
                    wire::put_len(out, at, &inside);
                }
            }
        }
    }
}

/// An integer as it stands on the wire.
enum Laid {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
}

impl Integer {
    /// Appends a field, if the text is the one spelling of such a number.
    fn put(self, out: &mut Vec<u8>, at: u32, text: &str) -> bool {
        let mut key = |wire_type| wire::put_varint(out, u64::from(at) << 3 | wire_type);
        match self.laid(text) {
            None => return false,
            Some(Laid::Varint(value)) => {
                key(0);
                wire::put_varint(out, value);
            }
            Some(Laid::Fixed64(bytes)) => {
                key(1);
                out.put_slice(&bytes);
            }
            Some(Laid::Fixed32(bytes)) => {
                key(5);
                out.put_slice(&bytes);
            }
        }
        true
    }

    fn laid(self, text: &str) -> Option<Laid> {
        Some(match self {
            Self::Int32 => Laid::Varint(i64::from(number::<i32>(text)?).cast_unsigned()),
            Self::Int64 => Laid::Varint(number::<i64>(text)?.cast_unsigned()),
            Self::Uint32 => Laid::Varint(number::<u32>(text)?.into()),
            Self::Uint64 => Laid::Varint(number(text)?),
            Self::Sint32 => Laid::Varint(zigzag(number::<i32>(text)?.into())),
            Self::Sint64 => Laid::Varint(zigzag(number(text)?)),
            Self::Fixed32 => Laid::Fixed32(number::<u32>(text)?.to_le_bytes()),
            Self::Fixed64 => Laid::Fixed64(number::<u64>(text)?.to_le_bytes()),
            Self::Sfixed32 => Laid::Fixed32(number::<i32>(text)?.to_le_bytes()),
            Self::Sfixed64 => Laid::Fixed64(number::<i64>(text)?.to_le_bytes()),
        })
    }
}

/// Negative and positive numbers in turns, as `sint32` and `sint64` are written.
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use prost_reflect::{DynamicMessage, Value};

    use super::*;
    use crate::routing::testing;

    fn message() -> prost_reflect::MessageDescriptor {
        let descriptors = testing::compile(
            r#"syntax = "proto3"; package t; import "google/protobuf/wrappers.proto";
            message T {
              int32 a = 1; int64 b = 2; uint32 c = 3; uint64 d = 4; sint32 e = 5; sint64 f = 6;
              fixed32 g = 7; fixed64 h = 8; sfixed32 i = 9; sfixed64 j = 10; string k = 11;
              google.protobuf.StringValue l = 12; google.protobuf.Int64Value m = 13;
              google.protobuf.UInt32Value n = 14; optional int64 o = 15;
              bool p = 16; bytes q = 17; repeated string r = 18; double s = 19; T t = 20;
              map<string, string> u = 21; google.protobuf.BoolValue v = 22;
              google.protobuf.BytesValue w = 23; repeated google.protobuf.StringValue x = 24;
            }"#,
        );
        descriptors.message("t.T").unwrap()
    }

    fn filled(name: &str, text: &str) -> Option<Value> {
        let message = message();
        let field = message.get_field_by_name(name).unwrap();
        let mut out = Vec::new();
        Form::of(&field).unwrap().put(&mut out, field.number(), text);
        let decoded = DynamicMessage::decode(message, &*out).unwrap();
        assert!(decoded.unknown_fields().next().is_none());
        (!out.is_empty()).then(|| decoded.get_field(&field).into_owned())
    }

    fn held(value: &Value) -> Value {
        value.as_message().unwrap().get_field_by_number(1).unwrap().into_owned()
    }

    #[test]
    fn integers_of_every_kind_are_laid_out_as_decoders_read_them() {
        for text in ["0", "1", "5", "-1", "-2147483648", "2147483647"] {
            let (narrow, wide) = (text.parse::<i32>().unwrap(), text.parse::<i64>().unwrap());
            for name in ["a", "e", "i"] {
                assert_eq!(filled(name, text), Some(Value::I32(narrow)), "{name} {text}");
            }
            for name in ["b", "f", "j", "o"] {
                assert_eq!(filled(name, text), Some(Value::I64(wide)), "{name} {text}");
            }
            assert_eq!(filled("m", text).as_ref().map(held), Some(Value::I64(wide)));
        }
        for text in ["0", "1", "4294967295"] {
            let (narrow, wide) = (text.parse::<u32>().unwrap(), text.parse::<u64>().unwrap());
            for name in ["c", "g"] {
                assert_eq!(filled(name, text), Some(Value::U32(narrow)), "{name} {text}");
            }
            for name in ["d", "h"] {
                assert_eq!(filled(name, text), Some(Value::U64(wide)), "{name} {text}");
            }
            assert_eq!(filled("n", text).as_ref().map(held), Some(Value::U32(narrow)));
        }
        for (name, text) in [("b", "-9223372036854775808"), ("f", "-9223372036854775808")] {
            assert_eq!(filled(name, text), Some(Value::I64(i64::MIN)));
        }
        assert_eq!(filled("d", "18446744073709551615"), Some(Value::U64(u64::MAX)));
    }

    #[test]
    fn what_is_not_the_one_spelling_of_a_number_is_left_out() {
        for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "m", "n", "o"] {
            for text in ["", "05", "+5", "-0", "1e3", " 5", "0x5", "zoe", "18446744073709551616"] {
                assert_eq!(filled(name, text), None, "{name} {text:?}");
            }
        }
        for name in ["c", "d", "g", "h", "n"] {
            assert_eq!(filled(name, "-1"), None);
        }
    }

    #[test]
    fn texts_are_filled_as_they_are() {
        assert_eq!(filled("k", "05"), Some(Value::String("05".into())));
        assert_eq!(filled("l", "naïve").as_ref().map(held), Some(Value::String("naïve".into())));
        assert_eq!((filled("k", ""), filled("l", "")), (None, None));
    }

    #[test]
    fn other_fields_take_no_text() {
        for name in ["p", "q", "r", "s", "t", "u", "v", "w", "x"] {
            assert_eq!(Form::of(&message().get_field_by_name(name).unwrap()), None, "{name}");
        }
    }
}
