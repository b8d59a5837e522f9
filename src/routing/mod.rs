//! Which client method leads to which gRPC method, and the changes to messages on
//! the way.
//!
//! - [`Descriptors`]: descriptions of services' methods and messages.
//! - [`RouteTable`]: the methods that clients may call, made by a
//!   [`TableBuilder`] that turns every mistake into an error.
//! - [`identity`] and [`splice`]: the caller's identity, put into requests on
//!   the wire format; `nest` does so below the top level.
//! - [`shape`]: the wire types of fields, which decoders must not disagree on.
//! - [`canonical`]: numbers that have one spelling only.
//! - [`StatusCodes`]: a client's code for each gRPC status.
//!
//! All of it is pure. Upstreams are unknown here: tables are generic over
//! them.

mod builder;
pub mod canonical;
mod descriptors;
mod field;
mod form;
pub mod identity;
mod nest;
mod pattern;
mod places;
mod response;
mod route;
pub mod shape;
pub mod splice;
mod status;
pub mod suggest;
mod table;
#[cfg(test)]
mod testing;

pub use builder::{Depth, Note, RouteError, RouteSpec, TableBuilder};
pub use descriptors::{DescriptorError, Descriptors};
pub use pattern::{PatternError, PublicMethods};
pub use route::{BadData, Route};
pub use status::StatusCodes;
pub use table::{Lookup, RouteTable};
