//! Making a route table: every mistake is an error here, none is left for the
//! time of a request.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost_reflect::{Cardinality, Kind, MessageDescriptor, MethodDescriptor};
use prost_types::method_options::IdempotencyLevel;

use super::descriptors::{DescriptorError, Descriptors};
use super::field::field_named;
use super::identity::{self, Layout, Slot};
use super::nest::{self, Holder, Nest};
use super::pattern::PublicMethods;
use super::places::Places;
use super::response::VerdictField;
use super::route::Route;
use super::shape::Shape;
use super::status::StatusCodes;
use super::table::{Pending, RouteTable};
use crate::protocol::seed::methods::RESERVED;

/// A route as it is configured.
#[derive(Debug, Clone)]
pub struct RouteSpec {
    /// The client's name for the method; begins with a slash.
    pub name: String,
    /// `package.Service/Method`.
    pub rpc: String,
    /// How long a call may take.
    pub timeout: Duration,
    /// Whether the method may be called before login; `None`: patterns decide.
    pub public: Option<bool>,
    /// Whether a call may be executed twice, whatever its descriptor says.
    pub retry: bool,
    /// Whether requests are decoded against their descriptor.
    pub validate: bool,
    /// Whether clients see the service's own error texts.
    pub expose_errors: bool,
    /// The client's code for each gRPC status.
    pub codes: StatusCodes,
}

/// An invalid route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Its method is not there.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
    /// Its method streams.
    #[error("`{0}` is a streaming method; only unary methods can be routes")]
    NotUnary(String),
    /// Two routes of one name.
    #[error("`{0}` is a route already")]
    Duplicate(String),
    /// The gateway answers that method itself.
    #[error("`{0}` is answered by the gateway itself")]
    Reserved(String),
    /// A name that does not look like a path.
    #[error("`{0}` must begin with a slash, like `/v1/msg/sendMsgList`")]
    NotAPath(String),
    /// The request's identity field cannot be filled.
    #[error("field `{field}` of {message} cannot hold the identity: {reason}")]
    Identity {
        /// The request message.
        message: String,
        /// The field.
        field: String,
        /// Why not.
        reason: &'static str,
    },
}

/// How far below a request the identity is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// In the request message itself.
    #[default]
    Top,
    /// In every message within it, too.
    Nested,
}

/// A probable mistake about the identity of a route's requests. Each is reported
/// once for all the routes that it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Note {
    /// A field that is named like a member of the identity, and stays empty.
    #[error("field `{field}` of {message} stays empty, for it is of another type: {reason}")]
    StaysEmpty {
        /// The identity's message.
        message: String,
        /// The field.
        field: String,
        /// Why it stays empty.
        reason: &'static str,
    },
    /// The field is there only where it is not filled.
    #[error(
        "{message} has the caller's identity only below its top level, at `{way}`, where it is not filled"
    )]
    Below {
        /// The request message.
        message: String,
        /// The names that lead to the field.
        way: String,
    },
}

/// Collects routes into a [`RouteTable`].
#[derive(Debug)]
pub struct TableBuilder<U> {
    request_field: String,
    depth: Depth,
    notes: HashSet<Note>,
    /// Requests that were looked through for the field below their top level.
    looked_below: HashSet<String>,
    response_field: String,
    public: PublicMethods,
    routes: HashMap<Arc<str>, Arc<Route<U>>>,
    layouts: HashSet<Arc<Layout>>,
    pending: BTreeMap<String, Pending>,
}

impl<U> TableBuilder<U> {
    /// A table without routes. `request_field` and `response_field` are the
    /// message fields that the gateway fills and reads.
    pub fn new(request_field: &str, response_field: &str, public: PublicMethods) -> Self {
        Self {
            request_field: request_field.to_owned(),
            depth: Depth::Top,
            notes: HashSet::new(),
            looked_below: HashSet::new(),
            response_field: response_field.to_owned(),
            public,
            routes: HashMap::new(),
            layouts: HashSet::new(),
            pending: BTreeMap::new(),
        }
    }

    /// Fills the identity down to this depth below the requests.
    #[must_use]
    pub fn with_depth(self, depth: Depth) -> Self {
        Self { depth, ..self }
    }

    /// Adds a route. Returns the new notes about the identity in its requests.
    pub fn route(
        &mut self,
        upstream: U,
        spec: RouteSpec,
        descriptors: &Descriptors,
    ) -> Result<Vec<Note>, RouteError> {
        let method = descriptors.method(&spec.rpc)?;
        self.add(upstream, spec, &method)
    }

    /// Adds every unary method of a service under its own name, such as
    /// `/pb.userService/Login`, with `defaults` for all else; streaming methods
    /// are passed over. Returns the new notes about the identity in the requests.
    pub fn expose(
        &mut self,
        upstream: &U,
        service: &str,
        defaults: &RouteSpec,
        descriptors: &Descriptors,
    ) -> Result<Vec<Note>, RouteError>
    where
        U: Clone,
    {
        let service = descriptors.service(service)?;
        let mut notes = Vec::new();
        for method in service.methods().filter(is_unary) {
            let rpc = format!("{}/{}", service.full_name(), method.name());
            let spec = RouteSpec { name: format!("/{rpc}"), rpc, ..defaults.clone() };
            notes.extend(self.add(upstream.clone(), spec, &method)?);
        }
        Ok(notes)
    }

    /// A route whose descriptors are not known yet, and why. `public` as in
    /// [`RouteSpec::public`].
    pub fn pending_route(&mut self, name: &str, public: Option<bool>, reason: &str) {
        self.pending.insert(name.to_owned(), Pending { reason: reason.to_owned(), public });
    }

    /// An exposed service whose descriptors are not known yet, and why.
    pub fn pending_service(&mut self, service: &str, reason: &str) {
        let pending = Pending { reason: reason.to_owned(), public: None };
        self.pending.insert(format!("/{service}/"), pending);
    }

    /// The table.
    pub fn build(self) -> RouteTable<U> {
        RouteTable::new(self.routes, self.pending, self.public)
    }

    fn add(
        &mut self,
        upstream: U,
        spec: RouteSpec,
        method: &MethodDescriptor,
    ) -> Result<Vec<Note>, RouteError> {
        if !is_unary(method) {
            return Err(RouteError::NotUnary(spec.rpc));
        }
        if !spec.name.starts_with('/') {
            return Err(RouteError::NotAPath(spec.name));
        }
        if RESERVED.contains(&&*spec.name) {
            return Err(RouteError::Reserved(spec.name));
        }
        if self.routes.contains_key(&*spec.name) {
            return Err(RouteError::Duplicate(spec.name));
        }
        let path = PathAndQuery::try_from(format!("/{}", spec.rpc))
            .map_err(|_| DescriptorError::NotAnRpc(spec.rpc.clone()))?;
        let (input, output) = (method.input(), method.output());
        let mut notes = Vec::new();
        let places = self.places(&input, &mut notes)?;
        let name: Arc<str> = spec.name.into();
        let route = Route {
            counted: OnceLock::new(),
            header: OnceLock::new(),
            name: Arc::clone(&name),
            upstream,
            rpc: spec.rpc.into(),
            path,
            public: spec.public.unwrap_or_else(|| self.public.matches(&name)),
            timeout: spec.timeout,
            retry: spec.retry || may_repeat(method),
            validate: spec.validate,
            expose_errors: spec.expose_errors,
            codes: spec.codes,
            places,
            verdict: VerdictField::of(&output, &self.response_field),
            input,
            output,
        };
        self.routes.insert(name, Arc::new(route));
        notes.retain(|note| self.notes.insert(note.clone()));
        Ok(notes)
    }

    /// Where the identity goes in a request message.
    fn places(
        &mut self,
        input: &MessageDescriptor,
        notes: &mut Vec<Note>,
    ) -> Result<Places, RouteError> {
        let deep = self.depth == Depth::Nested;
        let Some(nest) = Nest::of(input, deep, |message| self.holder(message, notes))? else {
            if !deep && self.looked_below.insert(input.full_name().to_owned()) {
                let message = || input.full_name().to_owned();
                let below = nest::way_below(input, &self.request_field);
                notes.extend(below.map(|way| Note::Below { message: message(), way }));
            }
            return Ok(Places::None);
        };
        Ok(match nest.top_only() {
            Some((number, layout)) => {
                let layout = Arc::clone(layout);
                Places::Top(Slot { number, layout, shape: Shape::of(input) })
            }
            None => Places::Nested(Box::new(nest)),
        })
    }

    /// The field of a message that holds the identity, if it has one.
    fn holder(
        &mut self,
        of: &MessageDescriptor,
        notes: &mut Vec<Note>,
    ) -> Result<Option<Holder>, RouteError> {
        let field = field_named(of, &self.request_field).filter(|_| !of.is_map_entry());
        let Some(field) = field else { return Ok(None) };
        let error = |reason| RouteError::Identity {
            message: of.full_name().to_owned(),
            field: field.name().to_owned(),
            reason,
        };
        let message = match field.kind() {
            _ if field.cardinality() == Cardinality::Repeated => {
                return Err(error("it is repeated"));
            }
            _ if field.containing_oneof().is_some_and(|oneof| oneof.fields().len() > 1) => {
                return Err(error("it is part of a oneof, whose other fields it would clear"));
            }
            Kind::Message(message) => message,
            _ => return Err(error("it is not a message")),
        };
        notes.extend(identity::unfilled(&message).into_iter().map(|unfilled| Note::StaysEmpty {
            message: message.full_name().to_owned(),
            field: unfilled.field,
            reason: unfilled.reason,
        }));
        let layout = Arc::new(Layout::of(&message));
        let layout = match self.layouts.get(&layout) {
            Some(known) => Arc::clone(known),
            None => {
                self.layouts.insert(Arc::clone(&layout));
                layout
            }
        };
        Ok(Some(Holder { number: field.number(), is_group: field.is_group(), layout }))
    }
}

fn is_unary(method: &MethodDescriptor) -> bool {
    !method.is_client_streaming() && !method.is_server_streaming()
}

/// Whether the method's descriptor says that executing it twice is harmless.
fn may_repeat(method: &MethodDescriptor) -> bool {
    let level = method
        .method_descriptor_proto()
        .options
        .as_ref()
        .map(prost_types::MethodOptions::idempotency_level);
    matches!(level, Some(IdempotencyLevel::NoSideEffects | IdempotencyLevel::Idempotent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::demo::FILE_DESCRIPTOR_SET;
    use crate::routing::Lookup;
    use bytes::Bytes;
    use prost::Message as _;

    fn builder(request_field: &str) -> TableBuilder<&'static str> {
        let public = PublicMethods::new(["**/white/**"]).unwrap();
        TableBuilder::new(request_field, "commonResp", public)
    }

    fn demo() -> Descriptors {
        Descriptors::from_sets([FILE_DESCRIPTOR_SET]).unwrap()
    }

    fn spec(name: &str, rpc: &str) -> RouteSpec {
        RouteSpec {
            name: name.into(),
            rpc: rpc.into(),
            timeout: Duration::from_secs(5),
            public: None,
            retry: false,
            validate: false,
            expose_errors: false,
            codes: StatusCodes::default(),
        }
    }

    /// The descriptors of `tests/proto/methods.proto`.
    fn methods() -> Descriptors {
        let set = protox::compile(["methods.proto"], ["tests/proto"]).unwrap();
        Descriptors::from_sets([&*set.encode_to_vec()]).unwrap()
    }

    /// A route to a method of the service `methods.Methods`.
    fn route_to(method: &str, change: impl FnOnce(&mut RouteSpec)) -> Arc<Route<&'static str>> {
        let mut builder = builder("commonReq");
        let mut spec = spec("/x", &format!("methods.Methods/{method}"));
        change(&mut spec);
        let name = spec.name.clone();
        builder.route("m", spec, &methods()).unwrap();
        let table = builder.build();
        let Lookup::Route(route) = table.lookup(&name) else { panic!("{name} is a route") };
        Arc::clone(route)
    }

    /// The number of the field that holds the identity.
    fn top(route: &Route<&'static str>) -> u32 {
        match &route.places {
            Places::Top(slot) => slot.number,
            other => panic!("{other:?}"),
        }
    }

    fn refused(name: &str, rpc: &str) -> RouteError {
        let mut builder = builder("commonReq");
        builder.route("msg", spec("/taken", "pb.userService/Login"), &demo()).unwrap();
        builder.route("msg", spec(name, rpc), &demo()).unwrap_err()
    }

    #[test]
    fn routes_share_the_layout_of_their_identity() {
        let mut builder = builder("commonReq");
        builder
            .route("user", spec("/v1/user/white/login", "pb.userService/Login"), &demo())
            .unwrap();
        builder.route("msg", spec("/send", "pb.msgService/SendMsgListAsync"), &demo()).unwrap();
        let table = builder.build();
        let [Lookup::Route(login), Lookup::Route(send)] =
            ["/v1/user/white/login", "/send"].map(|name| table.lookup(name))
        else {
            panic!("both are routes");
        };
        assert!(Arc::ptr_eq(&login.layouts()[0], &send.layouts()[0]));
        assert_eq!([top(login), top(send)], [1, 11]);
        assert!(login.public && !send.public);
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let login = "pb.userService/Login";
        assert_eq!(refused("/taken", login), RouteError::Duplicate("/taken".into()));
        assert_eq!(refused("v1/x", login), RouteError::NotAPath("v1/x".into()));
        for name in RESERVED {
            assert_eq!(refused(name, login), RouteError::Reserved(name.into()));
        }
        assert!(matches!(refused("/x", "pb.userService/Logn"), RouteError::Descriptor(_)));
    }

    #[test]
    fn an_identity_field_must_be_one_message() {
        let mut strings = builder("ids");
        let error = strings.route("u", spec("/x", "pb.relationService/GetFriendList"), &demo());
        assert!(error.is_ok(), "the request has no such field");
        let mut list = builder("msgDataList");
        let error = list.route("m", spec("/x", "pb.msgService/SendMsgListAsync"), &demo());
        assert!(error.unwrap_err().to_string().contains("it is repeated"));
        let mut text = builder("password");
        let error = text.route("u", spec("/x", "pb.userService/Login"), &demo());
        assert!(error.unwrap_err().to_string().contains("it is not a message"));
    }

    #[test]
    fn an_exposed_service_brings_its_methods_under_their_own_names() {
        let mut builder = builder("commonReq");
        assert_eq!(builder.expose(&"u", "pb.userService", &spec("", ""), &demo()), Ok(vec![]));
        let table = builder.build();
        assert!(matches!(table.lookup("/pb.userService/Login"), Lookup::Route(_)));
    }

    #[test]
    fn streaming_methods_are_no_routes_and_are_not_exposed() {
        for method in ["Upload", "Watch", "Chat"] {
            let rpc = format!("methods.Methods/{method}");
            let error = builder("commonReq").route("m", spec("/x", &rpc), &methods()).unwrap_err();
            assert_eq!(error, RouteError::NotUnary(rpc));
        }
        let mut builder = builder("commonReq");
        assert!(builder.expose(&"m", "methods.Methods", &spec("", ""), &methods()).is_ok());
        assert!(builder.expose(&"m", "methods.Streams", &spec("", ""), &methods()).is_ok());
        let table = builder.build();
        let names: Vec<_> = table.routes().map(|route| &*route.name).collect();
        assert_eq!(
            names,
            ["/methods.Methods/Get", "/methods.Methods/Plain", "/methods.Methods/Put"]
        );
    }

    #[test]
    fn a_call_may_be_executed_twice_where_the_route_or_the_descriptor_says_so() {
        assert!(!route_to("Plain", |_| ()).retry);
        assert!(route_to("Plain", |spec| spec.retry = true).retry);
        assert!(route_to("Get", |_| ()).retry);
        assert!(route_to("Put", |_| ()).retry);
    }

    #[test]
    fn a_route_may_be_public_or_not_whatever_the_patterns_say() {
        let public = |name: &str, public| {
            let change = |spec: &mut RouteSpec| (spec.name, spec.public) = (name.into(), public);
            route_to("Plain", change).public
        };
        assert!(public("/white/x", None) && !public("/x", None));
        assert!(!public("/white/x", Some(false)) && public("/x", Some(true)));
    }

    #[test]
    fn the_identity_field_may_be_called_by_its_json_name() {
        assert_eq!(top(&route_to("Plain", |_| ())), 3);
    }

    #[test]
    fn an_identity_field_in_a_map_or_a_oneof_is_refused() {
        for (method, field, reason) in [
            ("Mapped", "common_req", "it is repeated"),
            ("Chosen", "common_req", "it is part of a oneof, whose other fields it would clear"),
        ] {
            let spec = spec("/x", &format!("methods.Refused/{method}"));
            let refused = builder(field).route("m", spec, &methods());
            let message = format!("methods.{method}");
            let field = field.to_owned();
            assert_eq!(refused, Err(RouteError::Identity { message, field, reason }));
        }
    }

    #[test]
    fn data_is_passed_on_untouched_and_uncopied_where_there_is_no_identity_field() {
        let mut builder = builder("nobody");
        builder.route("m", spec("/x", "methods.Methods/Plain"), &methods()).unwrap();
        let table = builder.build();
        let Lookup::Route(route) = table.lookup("/x") else { panic!("it is a route") };
        let data = Bytes::from_static(b"\x08\x01");
        let prepared = route.prepare(&data, |_| b"", "r1").unwrap();
        assert_eq!((prepared.as_ptr(), prepared.len()), (data.as_ptr(), data.len()));
        assert!(route.prepare(&Bytes::from_static(b"\x08"), |_| b"", "r1").is_err());
    }

    #[test]
    fn data_is_held_against_its_descriptor_only_where_the_route_says_so() {
        let not_a_message = Bytes::from_static(b"\x1a\x01\xff"); // well-formed; its inside is not
        assert!(route_to("Plain", |_| ()).prepare(&not_a_message, |_| b"", "").is_ok());
        let strict = route_to("Plain", |spec| spec.validate = true);
        let error = strict.prepare(&not_a_message, |_| b"", "").unwrap_err().to_string();
        assert!(error.starts_with("data is no methods.Named: "), "{error}");
    }
}
