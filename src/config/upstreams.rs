//! The `upstreams` section: the gRPC services behind the gateway, and the
//! client methods that lead to them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::error_codes::ErrorCodes;
use super::forms::{self, Address, DomainName, FilePath, MethodName, ServiceName};
use super::units::{Interval, OptionalInterval};
use super::upstream_metadata::UpstreamMetadata;

/// One gRPC service (or several on one address) behind the gateway.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["address"]))]
pub struct UpstreamConfig {
    /// Where the service is: `http://host:port`, `https://host:port`,
    /// `dns:///name:port` (every address the name has, looked up again and
    /// again) or `unix:///path`; one, or a list.
    // Empty only in a model that was read from a file with errors.
    #[serde(deserialize_with = "Address::one_or_many")]
    #[schemars(with = "OneOrMany<Address>", extend("x-stand-in" = []))]
    pub address: Vec<String>,
    /// Where the service's descriptors come from.
    #[schemars(extend("default" = "reflection"))]
    pub descriptors: Descriptors,
    /// How long a call may take, unless its route says otherwise.
    #[serde(with = "Interval")]
    pub timeout: Duration,
    /// HTTP/2 connections to each endpoint, from each worker thread.
    #[schemars(range(min = 1, max = 64))]
    pub connections: u32,
    /// TLS settings for `https` and `dns` addresses. Absent: public roots, no
    /// client certificate.
    pub tls: Option<ClientTls>,
    /// Changes to the gRPC metadata of calls.
    pub metadata: UpstreamMetadata,
    /// Let clients see the text of the service's errors.
    pub expose_errors: bool,
    /// Rows that override the default mapping of gRPC statuses to client codes.
    pub error_codes: ErrorCodes,
    /// Client methods and the RPCs they lead to.
    #[schemars(extend("propertyNames" = forms::schema_of::<forms::ClientMethod>()))]
    pub routes: IndexMap<String, RouteConfig>,
    /// Services whose every unary method is a route of its own name, such as
    /// `/pb.userService/Login`.
    #[schemars(with = "Vec<ServiceName>")]
    pub expose: Vec<String>,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        UpstreamConfig {
            address: Vec::new(),
            descriptors: Descriptors::Reflection,
            timeout: Duration::from_secs(5),
            connections: 2,
            tls: None,
            metadata: UpstreamMetadata::default(),
            expose_errors: false,
            error_codes: BTreeMap::new(),
            routes: IndexMap::new(),
            expose: Vec::new(),
        }
    }
}

/// Where a service's descriptors come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "DescriptorsForm")]
#[schemars(inline)]
pub enum Descriptors {
    /// The service's own reflection.
    Reflection,
    /// Files, each a serialized `FileDescriptorSet`.
    Files(Vec<PathBuf>),
}

/// Descriptors as they are written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum DescriptorsForm {
    /// Ask the service itself.
    Keyword(DescriptorsKeyword),
    /// Serialized `FileDescriptorSet` files, as `buf build` and `protoc
    /// --include_imports --descriptor_set_out` write them.
    Files(#[schemars(with = "Vec<FilePath>", length(min = 1))] Vec<PathBuf>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum DescriptorsKeyword {
    Reflection,
}

impl From<DescriptorsForm> for Descriptors {
    fn from(form: DescriptorsForm) -> Self {
        match form {
            DescriptorsForm::Keyword(DescriptorsKeyword::Reflection) => Descriptors::Reflection,
            DescriptorsForm::Files(files) => Descriptors::Files(files),
        }
    }
}

/// The gateway's certificate for a service, and the authorities that it trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("dependentRequired" = {"cert": ["key"], "key": ["cert"]}))]
pub struct ClientTls {
    /// PEM file: the authorities that the service's certificate may come from.
    /// Absent: the public ones.
    #[schemars(with = "Option<FilePath>")]
    pub ca: Option<PathBuf>,
    /// PEM file: the gateway's own certificate, for mutual TLS.
    #[schemars(with = "Option<FilePath>")]
    pub cert: Option<PathBuf>,
    /// PEM file: the private key of `cert`.
    #[schemars(with = "Option<FilePath>")]
    pub key: Option<PathBuf>,
    /// The name that the service's certificate must bear. Absent: the host in
    /// the address.
    #[schemars(with = "Option<DomainName>")]
    pub domain: Option<String>,
}

/// Where one client method leads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "RouteForm")]
pub struct RouteConfig {
    /// The method that is called, as `package.Service/Method`.
    pub rpc: String,
    /// How long a call may take. Absent: the upstream's `timeout`.
    pub timeout: Option<Duration>,
    /// Whether the method may be called before login. Absent: `public_methods` decides.
    pub public: Option<bool>,
    /// Whether a call that may have reached the service is sent again after a failure.
    pub retry: bool,
    /// Whether requests are decoded against the method's descriptor before they are sent.
    pub validate: bool,
    /// Rows that override those of the upstream.
    pub error_codes: ErrorCodes,
}

/// A route as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, rename = "Route")]
enum RouteForm {
    /// The method that is called, as `package.Service/Method`.
    Rpc(#[schemars(with = "MethodName")] String),
    /// The method that is called, and how.
    Full(RouteObject),
}

/// The long form of a route.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct RouteObject {
    /// The method that is called, as `package.Service/Method`.
    #[schemars(with = "MethodName")]
    rpc: String,
    /// How long a call may take. Absent: the upstream's `timeout`.
    #[serde(default, deserialize_with = "OptionalInterval::deserialize")]
    #[schemars(with = "OptionalInterval")]
    timeout: Option<Duration>,
    /// Whether the method may be called before login. Absent: `public_methods` decides.
    public: Option<bool>,
    /// Send a call that may have reached the service again after a failure. Set this only
    /// where doing the work twice is harmless.
    #[serde(default)]
    retry: bool,
    /// Decode requests against the method's descriptor before they are sent.
    #[serde(default)]
    validate: bool,
    /// Rows that override those of the upstream.
    #[serde(default)]
    error_codes: ErrorCodes,
}

impl From<RouteForm> for RouteConfig {
    fn from(form: RouteForm) -> Self {
        match form {
            RouteForm::Rpc(rpc) => RouteConfig {
                rpc,
                timeout: None,
                public: None,
                retry: false,
                validate: false,
                error_codes: BTreeMap::new(),
            },
            RouteForm::Full(route) => RouteConfig {
                rpc: route.rpc,
                timeout: route.timeout,
                public: route.public,
                retry: route.retry,
                validate: route.validate,
                error_codes: route.error_codes,
            },
        }
    }
}

/// One value or a list of them; in the schema only.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "describes what `Address::one_or_many` reads")]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(#[schemars(length(min = 1))] Vec<T>),
}
