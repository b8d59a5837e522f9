//! One route: all that a request needs to know, looked up once.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::uri::PathAndQuery;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::identity::Layout;
use super::places::Places;
use super::response::VerdictField;
use super::splice::{SpliceError, check, splice};
use super::status::StatusCodes;
use crate::metrics;
use crate::wire::Malformed;

/// A client method and the gRPC method that it leads to.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own in the configuration"
)]
pub struct Route<U> {
    /// The client's name for the method, such as `/v1/msg/sendMsgList`.
    pub name: Arc<str>,
    /// Where the call goes.
    pub upstream: U,
    /// The method as it is written in the configuration: `pb.msgService/SendMsgListAsync`.
    pub rpc: Arc<str>,
    /// The method as HTTP/2 wants it: `/pb.msgService/SendMsgListAsync`.
    pub path: PathAndQuery,
    /// Whether the method may be called before login.
    pub public: bool,
    /// How long a call may take, retries included.
    pub timeout: Duration,
    /// Whether a call may be executed twice.
    pub retry: bool,
    /// Whether requests are decoded against their descriptor.
    pub validate: bool,
    /// Whether clients see the service's own error texts.
    pub expose_errors: bool,
    /// The client's code for each gRPC status.
    pub codes: StatusCodes,
    /// The request message.
    pub input: MessageDescriptor,
    /// The response message.
    pub output: MessageDescriptor,
    /// Its request metrics, set by the code that makes the calls.
    pub counted: OnceLock<Arc<metrics::Route>>,
    /// The client's name for the method as calls carry it in their metadata, set
    /// by the code that makes the calls.
    pub header: OnceLock<HeaderValue>,
    pub(super) places: Places,
    pub(super) verdict: Option<VerdictField>,
}

/// Data that is not the method's request message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadData {
    /// Not protobuf at all.
    #[error("data is {0}")]
    Malformed(#[from] Malformed),
    /// Protobuf, but not this message.
    #[error("data is no {message}: {reason}")]
    NotTheMessage {
        /// The request message's full name.
        message: String,
        /// The mismatch.
        reason: String,
    },
}

impl<U> Route<U> {
    /// Whether this route's requests have the caller's identity.
    pub fn has_identity(&self) -> bool {
        !matches!(self.places, Places::None)
    }

    /// How the identity is laid out in this route's requests: each layout once.
    /// Empty if they have none.
    pub fn layouts(&self) -> &[Arc<Layout>] {
        match &self.places {
            Places::None => &[],
            Places::Top(slot) => std::slice::from_ref(&slot.layout),
            Places::Nested(nest) => nest.layouts(),
        }
    }

    /// The request message as the service gets it: checked, and with the
    /// caller's identity. `of_session` gives the output of [`Layout::encode`] for
    /// one of [`Self::layouts`].
    pub fn prepare<B: AsRef<[u8]>>(
        &self,
        data: &Bytes,
        mut of_session: impl FnMut(&Arc<Layout>) -> B,
        req_id: &str,
    ) -> Result<Bytes, BadData> {
        if self.validate {
            DynamicMessage::decode(self.input.clone(), data.clone())
                .map_err(|error| self.not_the_message(&error))?;
        }
        let spliced = match &self.places {
            Places::Top(slot) => splice(data, slot, of_session(&slot.layout).as_ref(), req_id),
            Places::None => {
                check(data)?;
                return Ok(data.clone());
            }
            Places::Nested(nest) => {
                let of_session: Vec<B> = nest.layouts().iter().map(of_session).collect();
                nest.splice(data, &of_session, req_id)
            }
        };
        spliced.map_err(|error| match error {
            SpliceError::Malformed(error) => error.into(),
            error => self.not_the_message(&error),
        })
    }

    /// The code in the response's `commonResp` and its bytes, if the code is not 0.
    pub fn verdict<'r>(&self, response: &'r [u8]) -> Option<(i32, Cow<'r, [u8]>)> {
        self.verdict?.read(response)
    }

    fn not_the_message(&self, reason: &impl ToString) -> BadData {
        let message = self.input.full_name().to_owned();
        BadData::NotTheMessage { message, reason: reason.to_string() }
    }
}
