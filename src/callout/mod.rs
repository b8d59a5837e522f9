//! RPCs of existing services that the configuration has the gateway call, with
//! a message of the user's own making.
//!
//! The request message is made from a JSON [`Template`] whose gaps are filled
//! when it is called; the answer is a yes when the response message matches a
//! [`Pattern`], and if not, a [`TextField`] may say why. All three are checked
//! against the method's descriptors when they are made, so that a field that
//! does not exist is found before the first call is.
//!
//! How the call travels is not known here ([`Call`] is given by others), nor what
//! a yes or a no does.

mod fields;
mod pattern;
mod placeholders;
mod template;
mod text;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Map, Value as Json};
use tonic::Status;

pub use fields::FieldProblem;
pub use pattern::Pattern;
pub use template::{NoFit, Template};
pub use text::TextField;

/// A callout as it is configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// The RPC: unary.
    pub method: MethodDescriptor,
    /// The request message in JSON, with placeholders; see [`Template`].
    pub request: Map<String, Json>,
    /// What the response must have in it; see [`Pattern`].
    pub accept_when: Map<String, Json>,
    /// The response's field that tells why it is a no: a field of text, a
    /// number or an enum; `a.b` is field `b` of message `a`.
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

/// Calls the RPC: request message in, response message out, both serialized.
/// The number is the worker whose connections are used.
///
/// What is returned must end by itself, with an error if need be: nothing here
/// puts an end to a call.
pub type Call =
    Arc<dyn Fn(usize, Bytes) -> BoxFuture<'static, Result<Bytes, Status>> + Send + Sync>;

/// A callout that fits its method.
#[derive(Debug)]
pub struct Callout {
    method: MethodDescriptor,
    request: Template,
    accept_when: Pattern,
    reason: Option<TextField>,
}

/// What a response says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has in it what it must.
    Yes,
    /// It has not.
    No {
        /// Why, where the response says so.
        reason: Option<String>,
    },
}

/// A response that cannot be read as the method's.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the response is no {message}: {source}")]
pub struct NoResponse {
    message: String,
    source: prost::DecodeError,
}

impl Callout {
    /// Checks the configuration against the method's messages. `placeholders`
    /// are the names that templates may use. Reports every mistake, in the
    /// order in which they stand there.
    pub fn new(config: Config, placeholders: &[&str]) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut keep = |error: Vec<ConfigError>| errors.extend(error);
        let Config { method, request, accept_when, reason } = config;
        let request = Template::new(request, method.input(), placeholders, "request");
        let request = request.map_err(&mut keep);
        let accept_when = Pattern::new(&accept_when, &method.output(), "accept_when");
        let accept_when = accept_when.map_err(&mut keep);
        let reason = reason.map(|path| TextField::new(&path, method.output(), "reason"));
        let reason = reason.transpose().map_err(|error| keep(vec![error]));
        match (request, accept_when, reason) {
            (Ok(request), Ok(accept_when), Ok(reason)) => {
                Ok(Self { method, request, accept_when, reason })
            }
            _ => Err(errors),
        }
    }

    /// The method's full name.
    pub fn rpc(&self) -> &str {
        self.method.full_name()
    }

    /// The serialized request message. `value` gives what stands for a
    /// placeholder.
    pub fn request<'v>(&self, value: impl Fn(&str) -> &'v str) -> Result<Bytes, NoFit> {
        self.request.render(value)
    }

    /// What a serialized response message says.
    pub fn read(&self, response: Bytes) -> Result<Answer, NoResponse> {
        let output = self.method.output();
        let message = DynamicMessage::decode(output.clone(), response)
            .map_err(|source| NoResponse { message: output.full_name().to_owned(), source })?;
        if self.accept_when.matches(&message) {
            return Ok(Answer::Yes);
        }
        let reason = self.reason.as_ref().and_then(|field| field.text(&message));
        Ok(Answer::No { reason })
    }
}

#[cfg(test)]
pub(crate) use tests::{method, object};

#[cfg(test)]
mod tests {
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

    pub(crate) fn method() -> MethodDescriptor {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("im.proto"), PROTO).unwrap();
        let set = protox::compile(["im.proto"], [folder.path()]).unwrap();
        let pool = DescriptorPool::decode(set.encode_to_vec().as_slice()).unwrap();
        let service = pool.get_service_by_name("im.imService").unwrap();
        service.methods().next().unwrap()
    }

    pub(crate) fn object(json: Json) -> Map<String, Json> {
        match json {
            Json::Object(map) => map,
            other => panic!("{other}"),
        }
    }

    const NAMES: &[&str] = &["user_id", "token"];

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

    fn read(config: Config, response: Json) -> Answer {
        let callout = Callout::new(config, NAMES).unwrap();
        callout.read(message(method().output(), response)).unwrap()
    }

    fn no(reason: &str) -> Answer {
        Answer::No { reason: Some(reason.to_owned()) }
    }

    #[test]
    fn the_request_is_filled_with_what_stands_for_its_placeholders() {
        let callout = Callout::new(config(), NAMES).unwrap();
        let request = callout.request(|name| if name == "token" { "t0ken" } else { "zoe" });
        let expected = json!({"connParam": {"userId": "zoe", "token": "t0ken"}});
        assert_eq!(request, Ok(message(method().input(), expected)));
    }

    #[test]
    fn a_response_that_matches_is_a_yes() {
        assert_eq!(read(config(), json!({"code": 0, "msg": "hello"})), Answer::Yes);
        assert_eq!(read(config(), json!({})), Answer::Yes);
    }

    #[test]
    fn a_response_that_does_not_match_is_a_no_with_its_reason() {
        assert_eq!(read(config(), json!({"code": 7, "msg": "banned"})), no("banned"));
        let silent = Answer::No { reason: None };
        assert_eq!(read(config(), json!({"code": 7})), silent);
        let without_reason = Config { reason: None, ..config() };
        assert_eq!(read(without_reason, json!({"code": 7, "msg": "x"})), silent);
    }

    #[test]
    fn the_reason_may_be_inside_a_message_and_of_any_simple_type() {
        for (reason, text) in [
            ("detail.text", "inside"),
            ("detail.until", "5000000000"),
            ("status", "Denied"),
            ("code", "7"),
        ] {
            let config = Config { reason: Some(reason.to_owned()), ..config() };
            let response = json!({"code": 7, "status": 1, "detail": {"text": "inside", "until": "5000000000"}});
            assert_eq!(read(config, response), no(text), "{reason}");
        }
    }

    #[test]
    fn a_response_that_is_none_is_an_error() {
        let callout = Callout::new(config(), NAMES).unwrap();
        let error = callout.read(Bytes::from_static(b"\xff")).unwrap_err();
        assert!(error.to_string().starts_with("the response is no im.BeforeConnectResp"));
    }

    #[test]
    fn every_mistake_is_reported_with_its_place() {
        let config = Config {
            method: method(),
            request: object(json!({"connParam": {"userid": "x"}, "uid": "{usr_id}"})),
            accept_when: object(json!({"cod": 0})),
            reason: Some("detail.txt".to_owned()),
        };
        let errors = Callout::new(config, NAMES).unwrap_err();
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
            let errors = Callout::new(config, NAMES).unwrap_err();
            assert!(errors[0].to_string().contains(says), "{errors:?}");
        }
    }
}
