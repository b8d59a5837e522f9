//! The vocabulary between the protocols and the rest: a client's messages and
//! the gateway's replies, without a byte of any protocol.

use std::borrow::Cow;

use bytes::Bytes;
use tonic::Code as Status;

use super::Code;
use super::seed::KeyOffer;

/// UTF-8 text that shares its frame's bytes: a clone copies nothing.
pub use bytestring::ByteString as Text;

/// Data up to this size may share its frame with the head of a pending request.
const MAX_FRAME_KEPT: usize = 4 * 1024;
/// Bytes of a request's id in a log line.
const MAX_LOGGED_ID: usize = 128;
/// Bytes of a method in a log line. It may be the name of no method at all.
const MAX_LOGGED_METHOD: usize = 128;

/// A message of a client.
#[derive(Debug)]
pub enum Incoming {
    /// Calls a method of a service.
    Call(Request),
    /// A request that the gateway itself answers.
    Control(RequestHead, Control),
}

/// A request that the gateway itself answers.
#[derive(Debug)]
pub enum Control {
    /// The client describes its device, and may offer a key.
    Describe(Result<Box<Description>, Malformed>),
    /// The client logs in.
    LogIn(Result<Box<Credentials>, Malformed>),
    /// A sign of life.
    KeepAlive,
}

/// Data that is not the message of its method, in words for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// A call of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the client, returned unchanged.
    pub req_id: Text,
    /// Looks like an HTTP path: `/v1/msg/sendMsgList`.
    pub method: Text,
    /// The serialized request message of that method, not decoded.
    pub data: Bytes,
}

/// The part of a request that its reply needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// Chosen by the client, returned unchanged.
    pub req_id: Text,
    /// The method as the client named it.
    pub method: Text,
}

impl RequestHead {
    /// The head of a request. It shares the request's frame, unless that is too
    /// large to be kept until the reply.
    pub fn of(request: &Request) -> Self {
        let keep = |text: &Text| {
            if request.data.len() > MAX_FRAME_KEPT { Text::from(&**text) } else { text.clone() }
        };
        Self { req_id: keep(&request.req_id), method: keep(&request.method) }
    }

    /// The request's id for the log: its first 128 bytes.
    pub fn logged_id(&self) -> &str {
        let end = self.req_id.floor_char_boundary(MAX_LOGGED_ID);
        self.req_id.get(..end).unwrap_or_default()
    }

    /// The method for the log: its first 128 bytes.
    pub fn logged_method(&self) -> &str {
        let end = self.method.floor_char_boundary(MAX_LOGGED_METHOD);
        self.method.get(..end).unwrap_or_default()
    }
}

/// A client's description of its device. Unknown fields are empty.
#[derive(Debug, Default)]
pub struct Description {
    /// Changes with every install.
    pub package_id: String,
    /// `ios`, `web`, …
    pub platform: String,
    /// The device, as the client names it.
    pub device_id: String,
    /// The device's model.
    pub device_model: String,
    /// The version of the device's operating system.
    pub os_version: String,
    /// The version of the client application.
    pub app_version: String,
    /// The client's language.
    pub language: String,
    /// The client's network, in its own words.
    pub network_used: String,
    /// The key for later frames, where the protocol encrypts them itself.
    pub key: KeyOffer,
}

/// The credentials of a login.
#[derive(Debug, Default)]
pub struct Credentials {
    /// The claimed user.
    pub user_id: String,
    /// The proof. A secret.
    pub token: String,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Reply {
    /// The answered request.
    pub head: RequestHead,
    /// The result.
    pub outcome: Outcome,
}

impl Reply {
    /// The reply's size in an outbox, about the size of its frame.
    pub fn len(&self) -> usize {
        self.head.req_id.len() + self.head.method.len() + self.outcome.len()
    }

    /// Copies the bytes that the reply shares with larger buffers, so that it can
    /// wait without keeping them.
    pub fn detach(&mut self) {
        let RequestHead { req_id, method } = &mut self.head;
        for text in [req_id, method] {
            *text = Text::from(&**text);
        }
        match &mut self.outcome {
            Outcome::Response(message) => *message = Bytes::copy_from_slice(message),
            Outcome::Verdict(verdict) => {
                verdict.field = Bytes::copy_from_slice(&verdict.field);
                verdict.response = Bytes::copy_from_slice(&verdict.response);
            }
            Outcome::Failure(_) => {}
        }
    }

    /// Whether the reply has no bytes of its own.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The response message as the service sent it. Empty for a request that
    /// the gateway answers itself.
    Response(Bytes),
    /// A response message that carries an error code of the service.
    Verdict(Box<Verdict>),
    /// There is no response message.
    Failure(Failure),
}

/// A response message that carries an error code of the service, in the field
/// that `identity.response_field` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The error code; never [`Code::SUCCESS`].
    pub code: Code,
    /// The bytes of that field.
    pub field: Bytes,
    /// The response message.
    pub response: Bytes,
}

/// The reason why there is no response message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code for clients of the seed's protocol, for metrics and the log.
    pub code: Code,
    /// The gRPC status.
    pub status: Status,
    /// For the client, as far as its protocol has room for it, and for the log.
    pub text: Cow<'static, str>,
    /// The author of the text.
    pub author: Author,
}

/// The author of a failure's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The gateway.
    Gateway,
    /// The service, whose route exposes its errors.
    Service,
}

impl Outcome {
    /// Success without a response message.
    pub const EMPTY: Self = Self::Response(Bytes::new());

    /// The code for clients of the seed's protocol, for metrics and the log.
    pub fn code(&self) -> Code {
        match self {
            Self::Response(_) => Code::SUCCESS,
            Self::Verdict(verdict) => verdict.code,
            Self::Failure(failure) => failure.code,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Response(message) => message.len(),
            Self::Verdict(verdict) => verdict.field.len() + verdict.response.len(),
            Self::Failure(failure) => failure.text.len(),
        }
    }
}

impl Failure {
    /// A failure in the gateway's own words.
    pub fn new(code: Code, status: Status, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status, text: text.into(), author: Author::Gateway }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}
