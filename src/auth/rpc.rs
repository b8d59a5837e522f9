//! Logins that an existing RPC judges.
//!
//! Its request message is made from a JSON [`Template`]; the login is accepted
//! when the response message matches a [`Pattern`]. Both are checked against
//! the method's descriptors when they are made, so that a field that does not
//! exist is found before the first login is.
//!
//! How the call travels is not known here: whoever makes an [`Rpc`] gives it a
//! [`Call`].

mod fields;
mod pattern;
mod placeholders;
mod template;

use std::future::{Future, ready};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, Value};
use serde_json::{Map, Value as Json};
use tonic::{Code, Status};

pub use fields::FieldProblem;
pub use pattern::Pattern;
pub use template::{NoFit, Template};

use super::{Login, Verdict};
use fields::Place;

/// What a client is told when the service gives no reason of its own.
const REFUSED: &str = "login refused";

/// Calls the RPC: request message in, response message out, both serialized.
/// The number is the [worker](Login::worker) that the session lives on.
///
/// What is returned must end by itself, with an error if need be: nothing here
/// puts an end to a call.
pub type Call =
    Arc<dyn Fn(usize, Bytes) -> BoxFuture<'static, Result<Bytes, Status>> + Send + Sync>;

/// How an RPC judges logins.
#[derive(Debug, Clone)]
pub struct Config {
    /// The RPC: unary.
    pub method: MethodDescriptor,
    /// The request message in JSON, with placeholders; see [`Template`].
    pub request: Map<String, Json>,
    /// What the response must have in it; see [`Pattern`].
    pub accept_when: Map<String, Json>,
    /// The response's field that tells a client why it is refused: a field of
    /// text, a number or an enum; `a.b` is field `b` of message `a`.
    pub reason: Option<String>,
}

/// What is wrong with a [`Config`]: which part of it, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ConfigError {
    /// Where in the configuration: `request.connParam.userid`, `reason`.
    pub path: String,
    /// What is wrong there.
    #[source]
    pub problem: FieldProblem,
}

/// Judges logins by an RPC. A clone is cheap and shares everything.
#[derive(Clone)]
pub struct Rpc {
    judge: Arc<Judge>,
    call: Call,
}

struct Judge {
    method: MethodDescriptor,
    request: Template,
    accept_when: Pattern,
    reason: Option<Vec<FieldDescriptor>>,
}

impl Rpc {
    /// Checks the configuration against the method's messages. Reports every
    /// mistake, in the order in which they stand there.
    pub fn new(config: Config, call: Call) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut keep = |error: Vec<ConfigError>| errors.extend(error);
        let method = config.method;
        let request = Template::new(config.request, method.input(), "request").map_err(&mut keep);
        let accept_when =
            Pattern::new(&config.accept_when, &method.output(), "accept_when").map_err(&mut keep);
        let reason = config.reason.map(|path| reason_field(&path, &method)).transpose();
        let reason = reason.map_err(|error| keep(vec![error]));
        match (request, accept_when, reason) {
            (Ok(request), Ok(accept_when), Ok(reason)) => {
                let judge = Arc::new(Judge { method, request, accept_when, reason });
                Ok(Self { judge, call })
            }
            _ => Err(errors),
        }
    }

    /// The same judge over other connections.
    #[must_use]
    pub fn with_call(&self, call: Call) -> Self {
        Self { judge: Arc::clone(&self.judge), call }
    }

    /// Judges a login. The future may be dropped at any time, and the call with it.
    pub(super) fn judge(&self, login: &Login<'_>) -> impl Future<Output = Verdict> + Send + use<> {
        let request = match self.judge.request.render(login) {
            Ok(request) => request,
            Err(error) => {
                tracing::info!(%error, rpc = self.judge.method.full_name(), "login refused");
                return Either::Left(ready(Verdict::refused(REFUSED)));
            }
        };
        let answer = (self.call)(login.worker, request);
        let judge = Arc::clone(&self.judge);
        Either::Right(async move {
            match answer.await {
                Ok(response) => judge.response(response),
                Err(status) => judge.status(&status),
            }
        })
    }
}

impl Judge {
    fn response(&self, response: Bytes) -> Verdict {
        let message = match DynamicMessage::decode(self.method.output(), response) {
            Ok(message) => message,
            Err(error) => {
                let cause =
                    format!("the response is no {}: {error}", self.method.output().full_name());
                return Verdict::Unavailable { cause };
            }
        };
        if self.accept_when.matches(&message) {
            return Verdict::Accepted { expires_at: None };
        }
        let reason = self.reason.as_deref().and_then(|path| text_at(&message, path));
        Verdict::refused(reason.unwrap_or_else(|| REFUSED.to_owned()))
    }

    fn status(&self, status: &Status) -> Verdict {
        match status.code() {
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::NotFound
            | Code::InvalidArgument
            | Code::FailedPrecondition => {
                let rpc = self.method.full_name();
                tracing::info!(code = ?status.code(), error = status.message(), rpc, "login refused");
                Verdict::refused(REFUSED)
            }
            code => Verdict::Unavailable { cause: format!("{code:?}: {}", status.message()) },
        }
    }
}

/// The fields on the way to the reason, from the response message on.
fn reason_field(
    path: &str,
    method: &MethodDescriptor,
) -> Result<Vec<FieldDescriptor>, ConfigError> {
    let place = Place::root("reason");
    let mut message = Some(method.output());
    let mut fields = Vec::new();
    for name in path.split('.') {
        let Some(parent) = message else {
            return Err(place.error(FieldProblem::NoMessage { before: name.to_owned() }));
        };
        let field = fields::find(&parent, name).map_err(|problem| place.error(problem))?;
        message =
            field.kind().as_message().filter(|_| !field.is_list() && !field.is_map()).cloned();
        fields.push(field);
    }
    let is_text = fields.last().is_some_and(|field| {
        !field.is_list() && !matches!(field.kind(), Kind::Message(_) | Kind::Bytes)
    });
    let found = fields.last().map(fields::type_name).unwrap_or_default();
    is_text.then_some(fields).ok_or_else(|| place.error(FieldProblem::NoText { found }))
}

/// The text of the field at the end of `path`; none when that is empty.
fn text_at(message: &DynamicMessage, path: &[FieldDescriptor]) -> Option<String> {
    let (field, rest) = path.split_first()?;
    let value = message.get_field(field);
    if let (Value::Message(inner), false) = (&*value, rest.is_empty()) {
        return text_at(inner, rest);
    }
    let text = match &*value {
        Value::String(text) => text.clone(),
        Value::EnumNumber(number) => {
            let names = field.kind();
            let name = names.as_enum().and_then(|names| names.get_value(*number));
            name.map_or_else(|| number.to_string(), |name| name.name().to_owned())
        }
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::Bytes(_) | Value::Message(_) | Value::List(_) | Value::Map(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}
