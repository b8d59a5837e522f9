//! The protobuf wire format, read and written without a schema.
//!
//! Both hot paths of the gateway look at messages without decoding them: the codec
//! of the first protocol reads three fields, the identity splice drops one and
//! appends one. This is all they need: walk the fields of one level, write keys
//! and varints. The meaning of a field is not decided here.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

use bytes::BufMut;

/// Nested groups beyond this depth are refused, as prost and protobuf-go do.
const MAX_GROUP_DEPTH: usize = 100;

/// Bytes that are not a well-formed sequence of protobuf fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not well-formed protobuf at byte {offset}")]
pub struct Malformed {
    /// Where in the message the first bad field begins.
    pub offset: usize,
}

/// How a field's value is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A varint (int32, bool, enum, …), as its 64 bits.
    Varint(u64),
    /// Eight little-endian bytes (fixed64, double).
    Fixed64(&'a [u8]),
    /// A length and as many bytes (string, bytes, message, packed).
    Len(&'a [u8]),
    /// A proto2 group, without its start and end keys.
    Group(&'a [u8]),
    /// Four little-endian bytes (fixed32, float).
    Fixed32(&'a [u8]),
}

/// One field of a message, in the order of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field's number, 1 to 2²⁹−1.
    pub number: u32,
    /// The field's value.
    pub value: Value<'a>,
    /// Where the field's key begins in the message.
    pub start: usize,
    /// The byte behind the field's last.
    pub end: usize,
}

/// Walks the top-level fields of `message`. Stops behind the first error.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { message, at: 0 }
}

/// Iterator over the top-level fields of a message; see [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        if start >= self.message.len() {
            return None;
        }
        let mut cursor = Cursor { bytes: self.message, at: start };
        let field = cursor.field(start);
        self.at = if field.is_some() { cursor.at } else { self.message.len() };
        Some(field.ok_or(Malformed { offset: start }))
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn field(&mut self, start: usize) -> Option<Field<'a>> {
        let (number, wire_type) = self.key()?;
        let value = self.value(number, wire_type)?;
        Some(Field { number, value, start, end: self.at })
    }

    fn key(&mut self) -> Option<(u32, u8)> {
        let key = u32::try_from(self.varint()?).ok()?;
        let number = key >> 3;
        (number != 0).then_some((number, (key & 7) as u8))
    }

    fn value(&mut self, number: u32, wire_type: u8) -> Option<Value<'a>> {
        Some(match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.take(8)?),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Value::Len(self.take(len)?)
            }
            3 => Value::Group(self.group(number)?),
            5 => Value::Fixed32(self.take(4)?),
            _ => return None,
        })
    }

    /// The inside of a group, to its matching end key. Iterative: depth is the
    /// sender's to choose.
    fn group(&mut self, number: u32) -> Option<&'a [u8]> {
        let start = self.at;
        let mut open = vec![number];
        loop {
            let before = self.at;
            let (number, wire_type) = self.key()?;
            match wire_type {
                3 if open.len() < MAX_GROUP_DEPTH => open.push(number),
                3 => return None,
                4 => {
                    if open.pop()? != number {
                        return None;
                    }
                    if open.is_empty() {
                        return self.bytes.get(start..before);
                    }
                }
                // prost counts a field within a group as one level more.
                other if open.len() < MAX_GROUP_DEPTH => {
                    self.value(number, other)?;
                }
                _ => return None,
            }
        }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }
}

/// How many bytes [`put_varint`] writes for `value`: 1 to 10.
pub const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value` as a varint.
pub fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        #[allow(clippy::cast_possible_truncation)] // the low seven bits are meant
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    #[allow(clippy::cast_possible_truncation)] // below 0x80
    out.put_u8(value as u8);
}

/// How many bytes [`put_len_prefix`] writes.
pub const fn len_prefix_len(number: u32, len: usize) -> usize {
    varint_len((number as u64) << 3) + varint_len(len as u64)
}

/// Appends the key and length of a length-delimited field whose `len` bytes follow.
pub fn put_len_prefix(out: &mut impl BufMut, number: u32, len: usize) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, len as u64);
}

/// Appends a length-delimited field.
pub fn put_len(out: &mut impl BufMut, number: u32, value: &[u8]) {
    put_len_prefix(out, number, value.len());
    out.put_slice(value);
}

/// Appends a varint field.
pub fn put_varint_field(out: &mut impl BufMut, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(message: &[u8]) -> Result<Vec<Field<'_>>, Malformed> {
        fields(message).collect()
    }

    #[test]
    fn every_wire_type_is_walked_with_its_place() {
        let message = [
            0x08, 0x96, 0x01, // 1: varint 150
            0x11, 1, 2, 3, 4, 5, 6, 7, 8, // 2: fixed64
            0x1a, 2, b'h', b'i', // 3: "hi"
            0x23, 0x08, 0x01, 0x24, // 4: group { 1: varint 1 }
            0x2d, 1, 2, 3, 4, // 5: fixed32
        ];
        let fields = walk(&message).unwrap();
        let values: Vec<_> = fields.iter().map(|f| f.value).collect();
        assert_eq!(
            values,
            [
                Value::Varint(150),
                Value::Fixed64(&[1, 2, 3, 4, 5, 6, 7, 8]),
                Value::Len(b"hi"),
                Value::Group(&[0x08, 0x01]),
                Value::Fixed32(&[1, 2, 3, 4]),
            ]
        );
        assert_eq!(fields.last().unwrap().end, message.len());
        assert!(fields.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    #[test]
    fn malformed_bytes_name_the_field_that_is_wrong() {
        for (message, offset) in [
            (&b"\x08"[..], 0),                                    // no value
            (b"\x00\x01", 0),                                     // field number 0
            (b"\x08\x01\x1a\x05hi", 2),                           // length past the end
            (b"\x0e", 0),                                         // wire type 6
            (b"\x0c", 0),                                         // an end without a start
            (b"\x0b\x14", 0),                                     // an end of another group
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 0), // 65 bits
            (b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0), // length 2^64-1
        ] {
            assert_eq!(walk(message), Err(Malformed { offset }), "{message:x?}");
        }
    }

    #[test]
    fn deep_groups_are_refused_without_recursion() {
        let deep = vec![0x0b; 1_000_000];
        assert!(walk(&deep).is_err());
    }

    #[test]
    fn varints_are_as_long_as_foretold() {
        for value in [0, 1, 127, 128, 16383, 16384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value));
            put_varint_field(&mut out, 1, value);
            let mut cursor = Cursor { bytes: &out, at: 0 };
            assert_eq!(cursor.varint(), Some(value));
        }
    }
}
