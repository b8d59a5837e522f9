//! The identity splice below the top level: in batches, whose messages have the
//! field, and wherever the field is a group.
//!
//! Each message that can have the identity somewhere within it is walked like a
//! request's top level, its wire types checked against its descriptor (see
//! [`super::shape`]), and written anew around its contents. All others are copied
//! unchanged. So no client data in such a field comes through, however deep it
//! stands, and every message that is there has the identity from the gateway.
//!
//! A first walk finds the lengths that the second one writes. Both take time by
//! the size of the request: types may be recursive, but a client's request is
//! finite, and bounded in how deep it nests and how much it grows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost_reflect::{Kind, MessageDescriptor};

use super::identity::{Layout, ReqId};
use super::shape::Shape;
use super::splice::SpliceError;
use crate::wire::{self, Field, Value};

/// Messages within messages: no decoder that counts them goes further.
const MAX_DEPTH: usize = 100;
/// Groups within groups: each level is scanned for its end once more.
const MAX_GROUPS: usize = 20;
/// How many bytes the identity may add to a request where it has several places:
/// a message of two bytes has one, too.
const MAX_ADDED: usize = 1 << 20;

/// The field of a map's entry that holds the value.
const MAP_VALUE: u32 = 2;

/// The field of one message that holds the caller's identity.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) number: u32,
    /// Whether the field is a group.
    pub(super) is_group: bool,
    pub(super) layout: Arc<Layout>,
}

/// Every place that the identity has in requests of one type.
#[derive(Debug)]
pub(super) struct Nest {
    /// The types of message that can have the identity within them; the request
    /// itself is the first.
    nodes: Box<[Node]>,
    layouts: Box<[Arc<Layout>]>,
}

#[derive(Debug)]
struct Node {
    shape: Shape,
    place: Option<Place>,
    /// Fields whose messages are nodes, by number.
    inner: Box<[(u32, usize)]>,
    is_map_entry: bool,
}

/// Where a node has the identity.
#[derive(Debug, Clone, Copy)]
struct Place {
    number: u32,
    is_group: bool,
    layout: usize,
}

/// A type of message while the nodes are looked for.
struct Found {
    message: MessageDescriptor,
    holder: Option<Holder>,
    inner: Vec<(u32, usize)>,
    leads_to_one: bool,
}

impl Nest {
    /// Every place in `input` and, where it is `deep`, in the messages within.
    /// `holder` gives the field of a message. `None` if there is no place.
    pub(super) fn of<E>(
        input: &MessageDescriptor,
        deep: bool,
        mut holder: impl FnMut(&MessageDescriptor) -> Result<Option<Holder>, E>,
    ) -> Result<Option<Self>, E> {
        let mut found = vec![Found::new(input, holder(input)?)];
        let mut known = HashMap::from([(input.full_name().to_owned(), 0)]);
        let mut at = 0;
        while let Some(this) = found.get(at).filter(|_| deep) {
            let own = this.holder.as_ref().map(|holder| holder.number);
            let within = messages_in(&this.message.clone());
            for (number, message) in within.into_iter().filter(|(number, _)| Some(*number) != own) {
                let next = found.len();
                let index = *known.entry(message.full_name().to_owned()).or_insert(next);
                if index == next {
                    found.push(Found::new(&message, holder(&message)?));
                }
                if let Some(this) = found.get_mut(at) {
                    this.inner.push((number, index));
                }
            }
            at += 1;
        }
        mark(&mut found);
        Ok(found.first().is_some_and(|first| first.leads_to_one).then(|| Self::only_marked(found)))
    }

    fn only_marked(found: Vec<Found>) -> Self {
        let mut renamed = vec![None; found.len()];
        let marked = renamed.iter_mut().zip(&found).filter(|(_, found)| found.leads_to_one);
        for (number, (renamed, _)) in marked.enumerate() {
            *renamed = Some(number);
        }
        let mut layouts: Vec<Arc<Layout>> = Vec::new();
        let mut layout = |layout: Arc<Layout>| {
            let known = layouts.iter().position(|known| Arc::ptr_eq(known, &layout));
            known.unwrap_or_else(|| {
                layouts.push(layout);
                layouts.len() - 1
            })
        };
        let nodes = found.into_iter().filter(|found| found.leads_to_one).map(|found| {
            let renamed = |(number, index): (u32, usize)| {
                Some((number, renamed.get(index).copied().flatten()?))
            };
            let mut inner: Box<[_]> = found.inner.into_iter().filter_map(renamed).collect();
            inner.sort_unstable();
            let place = |Holder { number, is_group, layout: of }: Holder| Place {
                number,
                is_group,
                layout: layout(of),
            };
            Node {
                shape: Shape::of(&found.message),
                place: found.holder.map(place),
                inner,
                is_map_entry: found.message.is_map_entry(),
            }
        });
        let nodes = nodes.collect();
        Self { nodes, layouts: layouts.into() }
    }

    /// The number and the layout of the one place that there is, if that is a
    /// top-level field and no group.
    pub(super) fn top_only(&self) -> Option<(u32, &Arc<Layout>)> {
        let [Node { place: Some(place), inner, .. }] = &*self.nodes else { return None };
        let layout = self.layouts.get(place.layout)?;
        (inner.is_empty() && !place.is_group).then_some((place.number, layout))
    }

    /// The layouts of all places, each once.
    pub(super) fn layouts(&self) -> &[Arc<Layout>] {
        &self.layouts
    }

    /// Replaces the identity wherever `message` can have it. `of_session` has
    /// for each of [`Self::layouts`] the output of its [`Layout::encode`].
    pub(super) fn splice(
        &self,
        message: &[u8],
        of_session: &[impl AsRef<[u8]>],
        req_id: &str,
    ) -> Result<Bytes, SpliceError> {
        let identity = |(layout, of_session): (&Arc<Layout>, _)| Identity {
            of_session: AsRef::<[u8]>::as_ref(of_session),
            req_id: layout.req_id(req_id),
        };
        let identities: Vec<_> = self.layouts.iter().zip(of_session).map(identity).collect();
        let Some(root) = self.nodes.first() else { return Ok(Bytes::copy_from_slice(message)) };
        let mut sizes =
            Sizes { nest: self, identities: &identities, inner: vec![], places: 0, added: 0 };
        let len = sizes.of(root, message, 0, Depth::default())?;
        let mut out = BytesMut::with_capacity(len);
        let mut inner = sizes.inner.iter().copied();
        let mut writer =
            Writer { nest: self, identities: &identities, inner: &mut inner, out: &mut out };
        writer.write(root, message);
        Ok(out.freeze())
    }

    fn inner(&self, of: &Node, field: &Field<'_>) -> Option<&Node> {
        let at = of.inner.binary_search_by_key(&field.number, |(number, _)| *number).ok()?;
        self.nodes.get(of.inner.get(at)?.1)
    }

    /// Where the value of a map's entry has the identity. It has one even where
    /// the entry leaves the value out.
    fn place_of_value(&self, entry: &Node) -> Option<Place> {
        let (_, value) = entry.inner.iter().find(|(number, _)| *number == MAP_VALUE)?;
        self.nodes.get(*value).filter(|_| entry.is_map_entry)?.place
    }
}

impl Found {
    fn new(message: &MessageDescriptor, holder: Option<Holder>) -> Self {
        let leads_to_one = holder.is_some();
        Self { message: message.clone(), holder, inner: Vec::new(), leads_to_one }
    }
}

/// Marks all message types that lead to a place of the identity, backwards from
/// the places.
fn mark(found: &mut [Found]) {
    let mut parents = vec![Vec::new(); found.len()];
    for (parent, of) in found.iter().enumerate() {
        for (_, child) in &of.inner {
            if let Some(parents) = parents.get_mut(*child) {
                parents.push(parent);
            }
        }
    }
    let marked = |(at, found): (usize, &Found)| found.leads_to_one.then_some(at);
    let mut unfollowed: Vec<_> = found.iter().enumerate().filter_map(marked).collect();
    while let Some(at) = unfollowed.pop() {
        for parent in parents.get(at).into_iter().flatten() {
            if let Some(of) = found.get_mut(*parent).filter(|found| !found.leads_to_one) {
                of.leads_to_one = true;
                unfollowed.push(*parent);
            }
        }
    }
}

/// The fields of a message that hold messages, extensions too.
fn messages_in(message: &MessageDescriptor) -> Vec<(u32, MessageDescriptor)> {
    let of_kind = |number: u32, kind: Kind| Some((number, kind.as_message()?.clone()));
    let fields = message.fields().filter_map(|field| of_kind(field.number(), field.kind()));
    let extensions = message.extensions();
    let extensions = extensions.filter_map(|field| of_kind(field.number(), field.kind()));
    fields.chain(extensions).collect()
}

/// The way to the field `name`, where a message has it somewhere below its top
/// level, such as `items.commonReq`: the shortest.
pub(super) fn way_below(input: &MessageDescriptor, name: &str) -> Option<String> {
    let mut seen = HashSet::from([input.full_name().to_owned()]);
    let mut unfollowed = VecDeque::from([(input.clone(), String::new())]);
    while let Some((message, way)) = unfollowed.pop_front() {
        for field in message.fields() {
            let kind = field.kind();
            let Some(inner) = kind.as_message() else { continue };
            // An entry is no step of its own: its value stands at the map's name.
            let way = if message.is_map_entry() {
                way.clone()
            } else {
                let dot = if way.is_empty() { "" } else { "." };
                format!("{way}{dot}{}", field.json_name())
            };
            if let Some(found) = super::field::field_named(inner, name)
                && !inner.is_map_entry()
            {
                return Some(format!("{way}.{}", found.json_name()));
            }
            if seen.insert(inner.full_name().to_owned()) {
                unfollowed.push_back((inner.clone(), way));
            }
        }
    }
    None
}

/// The contents of one kind of identity message, as the gateway writes it.
struct Identity<'a> {
    of_session: &'a [u8],
    req_id: ReqId<'a>,
}

impl Identity<'_> {
    fn len(&self) -> usize {
        self.of_session.len() + self.req_id.len()
    }

    fn put(&self, out: &mut impl BufMut) {
        out.put_slice(self.of_session);
        self.req_id.put(out);
    }
}

/// How many bytes a message takes in a field of its own.
fn field_len(number: u32, is_group: bool, len: usize) -> usize {
    let around = if is_group {
        2 * wire::varint_len(u64::from(number) << 3)
    } else {
        wire::len_prefix_len(number, len)
    };
    around + len
}

#[derive(Clone, Copy, Default)]
struct Depth {
    messages: usize,
    groups: usize,
}

impl Depth {
    fn below(self, is_group: bool) -> Result<Self, SpliceError> {
        let (messages, groups) = (self.messages + 1, self.groups + usize::from(is_group));
        match () {
            () if messages > MAX_DEPTH => Err(SpliceError::TooDeep(MAX_DEPTH)),
            () if groups > MAX_GROUPS => Err(SpliceError::TooDeep(MAX_GROUPS)),
            () => Ok(Self { messages, groups }),
        }
    }
}

/// The first walk: checks everything, and finds how long it becomes.
struct Sizes<'a> {
    nest: &'a Nest,
    identities: &'a [Identity<'a>],
    /// The new lengths of the messages within, in the order of their beginnings.
    inner: Vec<usize>,
    places: usize,
    added: usize,
}

impl Sizes<'_> {
    /// The length that a message will have. `base` is where it begins in the
    /// request.
    fn of(
        &mut self,
        node: &Node,
        message: &[u8],
        base: usize,
        depth: Depth,
    ) -> Result<usize, SpliceError> {
        let own = node.place.map(|place| place.number);
        let (mut len, mut has_value) = (0, false);
        for field in wire::fields(message) {
            let field = field.map_err(|bad| wire::Malformed { offset: base + bad.offset })?;
            if Some(field.number) == own {
                continue;
            }
            has_value |= field.number == MAP_VALUE;
            let inner = self.nest.inner(node, &field);
            let fits = match inner {
                Some(_) => node.shape.fits_outside(&field),
                None => node.shape.fits(&field),
            };
            if !fits {
                let (number, offset) = (field.number, base + field.start);
                return Err(SpliceError::WireType { number, offset });
            }
            len += match (inner, field.value) {
                (Some(inner), Value::Len(bytes) | Value::Group(bytes)) => {
                    let is_group = matches!(field.value, Value::Group(_));
                    let within = field.end.saturating_sub(bytes.len());
                    let base = base + if is_group { field.start } else { within };
                    let at = self.inner.len();
                    self.inner.push(0);
                    let inner = self.of(inner, bytes, base, depth.below(is_group)?)?;
                    if let Some(known) = self.inner.get_mut(at) {
                        *known = inner;
                    }
                    field_len(field.number, is_group, inner)
                }
                _ => field.end - field.start,
            };
        }
        if let Some(place) = node.place {
            len += self.add(place)?;
        }
        if !has_value && let Some(place) = self.nest.place_of_value(node) {
            len += field_len(MAP_VALUE, false, self.add(place)?);
        }
        Ok(len)
    }

    /// The length of an identity's field.
    fn add(&mut self, place: Place) -> Result<usize, SpliceError> {
        let identity = self.identities.get(place.layout).map_or(0, Identity::len);
        let len = field_len(place.number, place.is_group, identity);
        self.places += 1;
        self.added += len;
        if self.places > 1 && self.added > MAX_ADDED {
            return Err(SpliceError::TooLarge(MAX_ADDED));
        }
        Ok(len)
    }
}

/// The second walk: writes the messages that the first one has measured.
struct Writer<'a, I> {
    nest: &'a Nest,
    identities: &'a [Identity<'a>],
    inner: &'a mut I,
    out: &'a mut BytesMut,
}

impl<I: Iterator<Item = usize>> Writer<'_, I> {
    fn write(&mut self, node: &Node, message: &[u8]) {
        let own = node.place.map(|place| place.number);
        let mut has_value = false;
        for field in wire::fields(message).flatten() {
            if Some(field.number) == own {
                continue;
            }
            has_value |= field.number == MAP_VALUE;
            match (self.nest.inner(node, &field), field.value) {
                (Some(inner), Value::Len(bytes) | Value::Group(bytes)) => {
                    let is_group = matches!(field.value, Value::Group(_));
                    let len = self.inner.next().unwrap_or_default();
                    self.begin(field.number, is_group, len);
                    self.write(inner, bytes);
                    self.end(field.number, is_group);
                }
                _ => self.out.put_slice(message.get(field.start..field.end).unwrap_or_default()),
            }
        }
        if let Some(place) = node.place {
            self.identity(place);
        }
        if !has_value && let Some(place) = self.nest.place_of_value(node) {
            let identity = self.identities.get(place.layout).map_or(0, Identity::len);
            self.begin(MAP_VALUE, false, field_len(place.number, place.is_group, identity));
            self.identity(place);
        }
    }

    fn identity(&mut self, place: Place) {
        let Some(identity) = self.identities.get(place.layout) else { return };
        self.begin(place.number, place.is_group, identity.len());
        identity.put(self.out);
        self.end(place.number, place.is_group);
    }

    fn begin(&mut self, number: u32, is_group: bool, len: usize) {
        if is_group {
            wire::put_varint(self.out, u64::from(number) << 3 | 3);
        } else {
            wire::put_len_prefix(self.out, number, len);
        }
    }

    fn end(&mut self, number: u32, is_group: bool) {
        if is_group {
            wire::put_varint(self.out, u64::from(number) << 3 | 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_reflect::DynamicMessage;
    use serde_json::json;

    use super::super::builder::{Depth, TableBuilder};
    use super::super::identity::Member;
    use super::super::{BadData, Lookup, PublicMethods, Route, RouteSpec, StatusCodes, testing};
    use super::*;

    const PROTO: &str = r#"
        syntax = "proto2";
        package t;
        service S {
          rpc Batch(Batch) returns (Id);
          rpc Tree(Tree) returns (Id);
          rpc Grouped(Grouped) returns (Id);
          rpc Plain(Plain) returns (Id);
          rpc Unholdable(Unholdable) returns (Id);
        }
        message Id { optional string user_id = 1; optional string req_id = 2; optional bytes data = 3; }
        message OtherId { optional int64 userId = 4; }
        message Item { optional Id id = 2; optional string name = 1; extensions 100 to 200; }
        message Other { optional OtherId id = 7; }
        message Batch {
          repeated Item items = 1;
          map<string, Item> named = 2;
          oneof choice { Item one = 3; string other = 4; }
          repeated group Old = 5 { optional Item item = 1; optional Id id = 2; }
          optional Plain plain = 6;
          optional Other different = 8;
        }
        message Plain { optional string name = 1; repeated Plain more = 2; map<int32, Plain> by = 3; }
        message Tree { optional Id id = 1; repeated Tree trees = 2; repeated group Wood = 3 { optional Tree tree = 1; repeated Wood woods = 2; } optional Plain plain = 4; }
        message Grouped { optional group ID = 1 { optional string user_id = 1; } }
        message Unholdable { repeated Held held = 1; }
        message Held { repeated Id id = 1; }
        extend Item { optional Item within = 100; }"#;

    fn descriptors() -> super::super::Descriptors {
        // Only editions have groups within themselves.
        testing::compile_with(PROTO, |file| {
            let messages =
                file.message_type.iter_mut().flat_map(|message| &mut message.nested_type);
            for field in messages.flat_map(|message| &mut message.field) {
                if field.name() == "woods" {
                    field.set_type(prost_types::field_descriptor_proto::Type::Group);
                }
            }
        })
    }

    fn spec(method: &str) -> RouteSpec {
        RouteSpec {
            name: format!("/{method}"),
            rpc: format!("t.S/{method}"),
            timeout: std::time::Duration::from_secs(1),
            public: None,
            retry: false,
            validate: false,
            expose_errors: false,
            codes: StatusCodes::default(),
        }
    }

    fn route(method: &str) -> Arc<Route<()>> {
        let builder = TableBuilder::new("id", "none", PublicMethods::default());
        let mut builder = builder.with_depth(Depth::Nested);
        builder.route((), spec(method), &descriptors()).unwrap();
        let table = builder.build();
        let Lookup::Route(route) = table.lookup(&format!("/{method}")) else { panic!("{method}") };
        Arc::clone(route)
    }

    fn known(member: Member) -> &'static str {
        if member == Member::UserId { "42" } else { "" }
    }

    fn prepare(route: &Route<()>, data: &[u8]) -> Result<Bytes, BadData> {
        route.prepare(&Bytes::copy_from_slice(data), |layout| layout.encode(known), "r1")
    }

    /// Takes a request as JSON and returns the service's request.
    fn sent(method: &str, json: serde_json::Value) -> serde_json::Value {
        let route = route(method);
        let message = DynamicMessage::deserialize(route.input.clone(), json).unwrap();
        let prepared = prepare(&route, &message.encode_to_vec()).unwrap();
        let got = DynamicMessage::decode(route.input.clone(), prepared).unwrap();
        assert!(got.unknown_fields().next().is_none());
        serde_json::to_value(got).unwrap()
    }

    #[test]
    fn every_message_of_a_batch_has_the_identity_and_no_other() {
        let forged = json!({"userId": "root", "data": "AAAA"});
        let item = json!({"id": forged, "name": "mine"});
        let own = json!({"userId": "42", "reqId": "r1"});
        let filled = json!({"id": own, "name": "mine"});
        let request = json!({
            "items": [item, {}, item],
            "named": {"a": item, "b": {}},
            "one": item,
            "old": [{"item": item, "id": forged}, {}],
            "plain": {"name": "x", "more": [{}]},
            "different": {"id": {"userId": "1"}},
        });
        let expected = json!({
            "items": [filled, {"id": own}, filled],
            "named": {"a": filled, "b": {"id": own}},
            "one": filled,
            "old": [{"item": filled, "id": own}, {"id": own}],
            "plain": {"name": "x", "more": [{}]},
            "different": {"id": {"userId": "42"}},
        });
        assert_eq!(sent("Batch", request), expected);
        assert_eq!(sent("Batch", json!({})), json!({}), "a batch of nothing");
    }

    #[test]
    fn a_value_that_a_maps_entry_leaves_out_has_the_identity_too() {
        let prepared = prepare(&route("Batch"), &[2 << 3 | 2, 3, 1 << 3 | 2, 1, b'a']).unwrap();
        let got = DynamicMessage::decode(route("Batch").input.clone(), prepared).unwrap();
        let expected = json!({"named": {"a": {"id": {"userId": "42", "reqId": "r1"}}}});
        assert_eq!(serde_json::to_value(got).unwrap(), expected);
    }

    #[test]
    fn types_within_themselves_are_filled_as_deep_as_they_go() {
        let own = json!({"userId": "42", "reqId": "r1"});
        let request =
            json!({"trees": [{"trees": [{"id": {"userId": "root"}}]}], "wood": [{"tree": {}}]});
        let expected = json!({
            "id": own,
            "trees": [{"id": own, "trees": [{"id": own}]}],
            "wood": [{"tree": {"id": own}}],
        });
        assert_eq!(sent("Tree", request), expected);
    }

    #[test]
    fn an_extension_that_holds_messages_is_looked_into() {
        let within =
            [&[100 << 3 & 0x7f | 0x80 | 2, 6][..], &[4, 2 << 3 | 2, 2, 1 << 3 | 2, 0]].concat();
        let items = [&[1 << 3 | 2, 7][..], &within].concat();
        let prepared = prepare(&route("Batch"), &items).unwrap();
        let got = DynamicMessage::decode(route("Batch").input.clone(), prepared).unwrap();
        let printed = serde_json::to_string(&got).unwrap();
        assert_eq!(printed.matches("\"userId\":\"42\"").count(), 2, "{printed}");
    }

    #[test]
    fn a_request_that_is_nothing_but_the_top_level_takes_the_straight_line() {
        use super::super::places::Places;
        let proto = "syntax = \"proto3\"; package t; service S { rpc M(Req) returns (Req); }
            message Id { string userId = 1; } message Req { Id id = 1; Deep deep = 2; }
            message Deep { repeated Deep deeper = 1; }";
        let builder = TableBuilder::new("id", "none", PublicMethods::default());
        let mut builder = builder.with_depth(Depth::Nested);
        builder.route((), spec("M"), &testing::compile(proto)).unwrap();
        let table = builder.build();
        let Lookup::Route(route) = table.lookup("/M") else { panic!() };
        assert!(matches!(route.places, Places::Top(_)));
    }

    #[test]
    fn messages_without_a_place_are_passed_on_as_they_are() {
        assert!(!route("Plain").has_identity());
        let plain = [6 << 3 | 2, 2, 0x0f, 0xff]; // not even protobuf inside
        assert_eq!(prepare(&route("Batch"), &plain).unwrap(), &plain[..]);
    }

    #[test]
    fn an_identity_that_is_a_group_is_written_as_one() {
        for depth in [Depth::Top, Depth::Nested] {
            let mut builder =
                TableBuilder::new("id", "none", PublicMethods::default()).with_depth(depth);
            builder.route((), spec("Grouped"), &descriptors()).unwrap();
            let table = builder.build();
            let Lookup::Route(route) = table.lookup("/Grouped") else { panic!() };
            let forged = [1 << 3 | 3, 1 << 3 | 2, 1, b'x', 1 << 3 | 4, 9 << 3, 1];
            let prepared = prepare(route, &forged).unwrap();
            assert_eq!(&*prepared, [9 << 3, 1, 1 << 3 | 3, 1 << 3 | 2, 2, b'4', b'2', 1 << 3 | 4]);
        }
    }

    #[test]
    fn wire_types_are_held_against_the_descriptors_all_the_way_down() {
        let route = route("Batch");
        for (message, number, offset) in [
            (&[1 << 3, 0][..], 1, 0),                           // items as a varint
            (&[1 << 3 | 3, 1 << 3 | 4], 1, 0),                  // as a group
            (&[5 << 3 | 2, 0], 5, 0),                           // a group with a length
            (&[1 << 3 | 2, 0, 1 << 3 | 2, 2, 1 << 3, 7], 1, 4), // the item's name as a varint
            (&[2 << 3 | 2, 2, 2 << 3, 7], 2, 2),                // a map's value as a varint
        ] {
            let error = prepare(&route, message).unwrap_err().to_string();
            let expected = format!("field {number} at byte {offset} has another wire type");
            assert!(error.contains(&expected), "{error}");
        }
        // Of the identity itself every wire type is dropped.
        let own = prepare(&route, &[1 << 3 | 2, 0]).unwrap();
        assert_eq!(prepare(&route, &[1 << 3 | 2, 2, 2 << 3, 7]).unwrap(), own);
        let malformed = prepare(&route, &[1 << 3 | 2, 2, 1 << 3 | 2, 9]).unwrap_err();
        assert_eq!(malformed.to_string(), "data is not well-formed protobuf at byte 2");
    }

    /// A tree of so many levels.
    fn deep(levels: usize) -> Vec<u8> {
        (0..levels).fold(Vec::new(), |inside, _| {
            let mut out = Vec::new();
            wire::put_len(&mut out, 2, &inside);
            out
        })
    }

    #[test]
    fn depth_is_bounded() {
        let route = route("Tree");
        assert!(prepare(&route, &deep(100)).is_ok());
        let error = prepare(&route, &deep(101)).unwrap_err().to_string();
        assert!(error.ends_with("messages nest deeper than 100 levels"), "{error}");
        assert!(prepare(&route, &deep(50_000)).is_err());
        let groups = |levels: usize| {
            let woods = |key: u8| std::iter::repeat_n(2 << 3 | key, levels);
            [vec![3 << 3 | 3], woods(3).chain(woods(4)).collect(), vec![3 << 3 | 4]].concat()
        };
        assert!(prepare(&route, &groups(19)).is_ok());
        assert!(prepare(&route, &groups(20)).is_err());
    }

    #[test]
    fn growth_is_bounded() {
        let route = route("Batch");
        let items = |many: usize| [1 << 3 | 2, 0].repeat(many);
        // Each becomes an item with an identity of 8 bytes, in a field.
        assert_eq!(prepare(&route, &items(10_000)).unwrap().len(), 10_000 * 12);
        let error = prepare(&route, &items(200_000)).unwrap_err().to_string();
        assert!(error.contains("so many places"), "{error}");
    }

    #[test]
    fn a_field_that_cannot_hold_the_identity_is_refused_wherever_it_is() {
        let builder = TableBuilder::new("id", "none", PublicMethods::default());
        let mut top = builder;
        assert!(top.route((), spec("Unholdable"), &descriptors()).is_ok());
        let builder = TableBuilder::new("id", "none", PublicMethods::default());
        let mut deep = builder.with_depth(Depth::Nested);
        let error = deep.route((), spec("Unholdable"), &descriptors()).unwrap_err().to_string();
        assert_eq!(error, "field `id` of t.Held cannot hold the identity: it is repeated");
    }

    #[test]
    fn a_field_below_the_top_level_is_noted_where_it_is_not_filled() {
        let note = |method: &str, depth: Depth| {
            let builder = TableBuilder::new("id", "none", PublicMethods::default());
            let mut builder = builder.with_depth(depth);
            let notes = builder.route((), spec(method), &descriptors()).unwrap();
            let again = RouteSpec { name: "/again".into(), ..spec(method) };
            assert_eq!(builder.route((), again, &descriptors()).unwrap(), [], "said once");
            notes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let says = "t.Batch has the caller's identity only below its top level, at `items.id`, where \
                    it is not filled";
        assert_eq!(note("Batch", Depth::Top), [says]);
        assert!(!note("Batch", Depth::Nested).iter().any(|note| note.contains("below")));
        for method in ["Tree", "Plain"] {
            assert_eq!(note(method, Depth::Top), [""; 0], "{method}");
        }
        let map = "syntax = \"proto3\"; package t; message Id {} message Item { Id id = 1; }
            message Req { map<string, Item> by_name = 1; }";
        let descriptors = testing::compile(map);
        let req = descriptors.message("t.Req").unwrap();
        assert_eq!(way_below(&req, "id").as_deref(), Some("byName.id"));
        assert_eq!(way_below(&req, "nobody"), None);
    }
}
