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

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use prost::Message as _;
    use prost_reflect::{DescriptorPool, MessageDescriptor};
    use serde_json::json;

    use super::*;

    /// A service that could exist: nothing of it is made for the gateway.
    const PROTO: &str = r#"
        syntax = "proto3";
        package im;
        service imService { rpc BeforeConnect(BeforeConnectReq) returns (BeforeConnectResp); }
        message ConnParam {
          string userId = 1; string token = 2; string platform = 3; string device_id = 4; string ips = 5;
        }
        enum Os { UNKNOWN = 0; IOS = 1; }
        message BeforeConnectReq {
          ConnParam connParam = 1;
          int64 uid = 2;
          repeated string tags = 3;
          map<string, string> labels = 4;
          repeated ConnParam others = 5;
          Os os = 6;
          bytes blob = 7;
          oneof proof { string ticket = 8; bool trusted = 9; }
          bool flag = 10;
        }
        message BeforeConnectResp {
          enum Code { Success = 0; Denied = 1; }
          message Detail { string text = 1; int64 until = 2; }
          int32 code = 1;
          string msg = 2;
          Code status = 3;
          int64 level = 4;
          Detail detail = 5;
          repeated string roles = 6;
          map<string, int64> limits = 7;
        }"#;

    pub(super) fn method() -> MethodDescriptor {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("im.proto"), PROTO).unwrap();
        let set = protox::compile(["im.proto"], [folder.path()]).unwrap();
        let pool = DescriptorPool::decode(set.encode_to_vec().as_slice()).unwrap();
        let service = pool.get_service_by_name("im.imService").unwrap();
        service.methods().next().unwrap()
    }

    pub(super) fn object(json: Json) -> Map<String, Json> {
        match json {
            Json::Object(map) => map,
            other => panic!("{other}"),
        }
    }

    fn config() -> Config {
        Config {
            method: method(),
            request: object(json!({"connParam": {"userId": "{user_id}", "token": "{token}"}})),
            accept_when: object(json!({"code": 0})),
            reason: Some("msg".to_owned()),
        }
    }

    fn message(descriptor: MessageDescriptor, json: Json) -> Bytes {
        DynamicMessage::deserialize(descriptor, json).unwrap().encode_to_vec().into()
    }

    fn answers(answer: Result<Json, Status>) -> Call {
        let answer = answer.map(|json| message(method().output(), json));
        Arc::new(move |_, _| Box::pin(ready(answer.clone())))
    }

    async fn judge(config: Config, answer: Result<Json, Status>) -> Verdict {
        let login = Login { user_id: "zoe", token: "t0ken", ..Login::default() };
        Rpc::new(config, answers(answer)).unwrap().judge(&login).await
    }

    #[tokio::test]
    async fn the_request_says_who_wants_in() {
        let seen = Arc::new(Mutex::new(Bytes::new()));
        let call: Call = {
            let seen = Arc::clone(&seen);
            Arc::new(move |worker, request| {
                assert_eq!(worker, 3);
                *seen.lock() = request;
                Box::pin(ready(Ok(Bytes::new())))
            })
        };
        let login = Login { user_id: "zoe", token: "t0ken", worker: 3, ..Login::default() };
        Rpc::new(config(), call).unwrap().judge(&login).await;
        let expected = json!({"connParam": {"userId": "zoe", "token": "t0ken"}});
        assert_eq!(*seen.lock(), message(method().input(), expected));
    }

    #[tokio::test]
    async fn a_response_that_matches_accepts() {
        let accepted = Verdict::Accepted { expires_at: None };
        assert_eq!(judge(config(), Ok(json!({"code": 0, "msg": "hello"}))).await, accepted);
        assert_eq!(judge(config(), Ok(json!({}))).await, accepted);
    }

    #[tokio::test]
    async fn a_response_that_does_not_match_refuses_with_its_reason() {
        let answer = json!({"code": 7, "msg": "banned until Monday"});
        let refused = Verdict::refused("banned until Monday");
        assert_eq!(judge(config(), Ok(answer)).await, refused);
        let silent = Verdict::refused("login refused");
        assert_eq!(judge(config(), Ok(json!({"code": 7}))).await, silent);
        let without_reason = Config { reason: None, ..config() };
        assert_eq!(judge(without_reason, Ok(json!({"code": 7, "msg": "x"}))).await, silent);
    }

    #[tokio::test]
    async fn the_reason_may_be_inside_a_message_and_of_any_simple_type() {
        for (reason, text) in [
            ("detail.text", "inside"),
            ("detail.until", "5000000000"),
            ("status", "Denied"),
            ("code", "7"),
        ] {
            let config = Config { reason: Some(reason.to_owned()), ..config() };
            let answer = json!({"code": 7, "status": 1, "detail": {"text": "inside", "until": "5000000000"}});
            assert_eq!(judge(config, Ok(answer)).await, Verdict::refused(text), "{reason}");
        }
    }

    #[tokio::test]
    async fn a_status_that_judges_the_caller_refuses_and_others_pass() {
        for code in 1..=16 {
            let code = Code::from_i32(code);
            let verdict = judge(config(), Err(Status::new(code, "internal secrets"))).await;
            let judges_the_caller = matches!(
                code,
                Code::Unauthenticated
                    | Code::PermissionDenied
                    | Code::NotFound
                    | Code::InvalidArgument
                    | Code::FailedPrecondition
            );
            if judges_the_caller {
                assert_eq!(verdict, Verdict::refused("login refused"), "{code:?}");
            } else {
                assert!(matches!(verdict, Verdict::Unavailable { .. }), "{code:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_response_that_is_none_is_a_passing_failure() {
        let call: Call = Arc::new(|_, _| Box::pin(ready(Ok(Bytes::from_static(b"\xff")))));
        let login = Login { user_id: "zoe", ..Login::default() };
        let verdict = Rpc::new(config(), call).unwrap().judge(&login).await;
        assert!(matches!(verdict, Verdict::Unavailable { .. }), "{verdict:?}");
    }

    #[tokio::test]
    async fn a_login_that_does_not_fit_the_request_is_refused_without_a_call() {
        let call: Call = Arc::new(|_, _| panic!("called"));
        let config = Config { request: object(json!({"uid": "{user_id}"})), ..config() };
        let login = Login { user_id: "zoe", ..Login::default() };
        let verdict = Rpc::new(config, call).unwrap().judge(&login).await;
        assert_eq!(verdict, Verdict::refused("login refused"));
    }

    #[test]
    fn every_mistake_is_reported_with_its_place() {
        let config = Config {
            method: method(),
            request: object(json!({"connParam": {"userid": "x"}, "uid": "{usr_id}"})),
            accept_when: object(json!({"cod": 0})),
            reason: Some("detail.txt".to_owned()),
        };
        let errors = Rpc::new(config, answers(Ok(json!({})))).err().unwrap();
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "request.connParam.userid: im.ConnParam has no field `userid`; did you mean `userId`?",
                "request.uid: `{usr_id}` stands for nothing; did you mean `user_id`?",
                "accept_when.cod: im.BeforeConnectResp has no field `cod`; did you mean `code`?",
                "reason: im.BeforeConnectResp.Detail has no field `txt`; did you mean `text`?",
            ]
        );
    }

    #[test]
    fn a_reason_that_is_no_text_is_a_mistake() {
        for (reason, says) in [
            ("detail", "is a im.BeforeConnectResp.Detail"),
            ("roles", "is a repeated string"),
            ("msg.x", "`x` has nothing to be a field of"),
            ("limits", "is a map"),
        ] {
            let config = Config { reason: Some(reason.to_owned()), ..config() };
            let errors = Rpc::new(config, answers(Ok(json!({})))).err().unwrap();
            assert!(errors[0].to_string().contains(says), "{errors:?}");
        }
    }
}
