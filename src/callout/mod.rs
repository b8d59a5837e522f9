//! RPCs of existing services that the configuration has the gateway call, with
//! a message of the user's own making.
//!
//! The request message is made from a JSON [`Template`] whose gaps are filled
//! when it is called; the answer is a yes when the response message matches one
//! [`Pattern`] and does not match another, and if not, a [`TextField`] may say
//! why. All are checked against the method's descriptors when they are made, so
//! that a field that does not exist is found before the first call is.
//!
//! Neither the transport of the call ([`Call`] comes from outside) nor the effect
//! of a yes or a no is known here.

mod canonical;
mod doubt;
mod fields;
mod pattern;
mod placeholders;
mod samples;
mod template;
mod text;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use serde_json::{Map, Value as Json};
use tonic::Status;

pub use doubt::Doubt;
use fields::Place;
pub use fields::{ConfigError, FieldProblem};
pub use pattern::Pattern;
use placeholders::has_placeholders;
pub use template::{NoFit, Template};
pub use text::TextField;

/// A callout as it is configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// The RPC: unary.
    pub method: MethodDescriptor,
    /// The request message in JSON, with placeholders; see [`Template`].
    pub request: Map<String, Json>,
    /// The pattern that a response must match for a yes; see [`Pattern`]. Empty:
    /// anything.
    pub accept_when: Map<String, Json>,
    /// The pattern that a response must not match for a yes; see [`Pattern`]. It
    /// must name a field.
    pub reject_when: Option<Map<String, Json>>,
    /// The response's field with the reason of a no: a field of text, a
    /// number or an enum; `a.b` is field `b` of message `a`.
    pub reason: Option<String>,
}

/// Calls the RPC: request message in, response message out, both serialized.
/// The number is the worker whose connections are used.
///
/// The returned future must end by itself, with an error if need be: nothing here
/// ends a call.
pub type Call =
    Arc<dyn Fn(usize, Bytes) -> BoxFuture<'static, Result<Bytes, Status>> + Send + Sync>;

/// A callout that fits its method.
#[derive(Debug)]
pub struct Callout {
    method: MethodDescriptor,
    request: Template,
    accept_when: Pattern,
    reject_when: Option<Pattern>,
    reason: Option<TextField>,
}

/// The verdict of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It matches `accept_when` and does not match `reject_when`.
    Yes,
    /// Any other response.
    No {
        /// The pattern that decided.
        because: Because,
        /// The reason, where the response has one.
        reason: Option<String>,
    },
}

/// The pattern that makes a response a no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It does not match `accept_when`.
    NotAccepted,
    /// It matches `reject_when`.
    Rejected,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAccepted => "does not match accept_when",
            Self::Rejected => "matches reject_when",
        })
    }
}

/// A response that cannot be read as the method's.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the response is not a valid {message}: {source}")]
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
        let Config { method, request, accept_when, reject_when, reason } = config;
        let request = Template::new(request, method.input(), placeholders, "request");
        let request = request.map_err(&mut keep);
        let accept_when = literal(&accept_when, placeholders, "accept_when")
            .and_then(|()| Pattern::new(&accept_when, &method.output(), "accept_when"));
        let accept_when = accept_when.map_err(&mut keep);
        let reject_when = reject_when
            .map(|json| {
                literal(&json, placeholders, "reject_when")?;
                refusals(&json, &method.output())
            })
            .transpose()
            .map_err(&mut keep);
        let reason = reason.map(|path| TextField::new(&path, method.output(), "reason"));
        let reason = reason.transpose().map_err(|error| keep(vec![error]));
        match (request, accept_when, reject_when, reason) {
            (Ok(request), Ok(accept_when), Ok(reject_when), Ok(reason)) => {
                Ok(Self { method, request, accept_when, reject_when, reason })
            }
            _ => Err(errors),
        }
    }

    /// The method's full name.
    pub fn rpc(&self) -> &str {
        self.method.full_name()
    }

    /// The serialized request message. `value` gives the value of a placeholder.
    pub fn request<'v>(&self, value: impl Fn(&str) -> &'v str) -> Result<Bytes, NoFit> {
        self.request.render(value)
    }

    /// The verdict of a serialized response message.
    pub fn read(&self, response: Bytes) -> Result<Answer, NoResponse> {
        let output = self.method.output();
        let message = DynamicMessage::decode(output.clone(), response)
            .map_err(|source| NoResponse { message: output.full_name().to_owned(), source })?;
        let rejected = self.reject_when.as_ref().is_some_and(|pattern| pattern.matches(&message));
        let because = match self.accept_when.matches(&message) {
            true if !rejected => return Ok(Answer::Yes),
            true => Because::Rejected,
            false => Because::NotAccepted,
        };
        let reason = self.reason.as_ref().and_then(|field| field.text(&message));
        Ok(Answer::No { because, reason })
    }

    /// A valid setting that is probably not meant.
    pub fn doubt(&self) -> Option<Doubt> {
        let output = self.method.output();
        doubt::of(&output, &self.accept_when, self.reject_when.as_ref(), self.reason.as_ref())
    }
}

/// Sees that a pattern has no placeholders, which nothing would fill.
fn literal(
    json: &Map<String, Json>,
    placeholders: &[&str],
    root: &str,
) -> Result<(), Vec<ConfigError>> {
    let mut errors = Vec::new();
    let at = Place::root(root);
    for (name, value) in json {
        find_placeholders(value, placeholders, at.member(name), &mut errors);
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn find_placeholders(json: &Json, known: &[&str], at: Place<'_>, errors: &mut Vec<ConfigError>) {
    match json {
        Json::String(text) if has_placeholders(text, known) == Ok(true) => {
            errors.push(at.error(FieldProblem::PlaceholderInPattern));
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_placeholders(item, known, at.element(index), errors);
            }
        }
        Json::Object(members) => {
            for (name, value) in members {
                find_placeholders(value, known, at.member(name), errors);
            }
        }
        _ => {}
    }
}

/// Reads `reject_when`.
fn refusals(
    json: &Map<String, Json>,
    output: &MessageDescriptor,
) -> Result<Pattern, Vec<ConfigError>> {
    let pattern = Pattern::new(json, output, "reject_when")?;
    if pattern.is_empty() {
        let path = "reject_when".to_owned();
        return Err(vec![ConfigError { path, problem: FieldProblem::RefusesAll }]);
    }
    Ok(pattern)
}

#[cfg(test)]
pub(crate) use tests::{method, object};

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_reflect::DescriptorPool;
    use serde_json::json;

    use super::*;

    /// A service that could exist: nothing of it is made for the gateway.
    const PROTO: &str = r#"
        syntax = "proto3";
        package im;
        import "google/protobuf/any.proto";
        import "google/protobuf/struct.proto";
        import "google/protobuf/timestamp.proto";
        import "google/protobuf/wrappers.proto";
        service imService { rpc BeforeConnect(BeforeConnectReq) returns (BeforeConnectResp); }
        message ConnParam {
          string userId = 1; string token = 2; string platform = 3; string device_id = 4; string ips = 5;
        }
        enum Os { option allow_alias = true; UNKNOWN = 0; IOS = 1; IPHONE = 1; }
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
          map<string, BeforeConnectReq> nested = 11;
          repeated int64 uids = 12;
          map<string, int64> numbers = 13;
          google.protobuf.Int64Value wrapped = 14;
          google.protobuf.Any any = 15;
          google.protobuf.Struct free = 16;
          google.protobuf.BytesValue bytes = 17;
          google.protobuf.Timestamp at = 18;
          double weight = 19;
          uint32 port = 20;
        }
        message BeforeConnectResp {
          enum Code { Success = 0; Denied = 1; }
          message Detail { string text = 1; int64 until = 2; Detail inner = 3; }
          int32 code = 1;
          string msg = 2;
          Code status = 3;
          int64 level = 4;
          Detail detail = 5;
          repeated string roles = 6;
          map<string, int64> limits = 7;
          optional string note = 8;
          optional int64 count = 9;
          google.protobuf.StringValue wrapped = 10;
          google.protobuf.BoolValue flagged = 11;
          google.protobuf.Timestamp at = 12;
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
            accept_when: object(json!({"code": 0, "msg": ""})),
            reject_when: None,
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
        Answer::No { because: Because::NotAccepted, reason: Some(reason.to_owned()) }
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
        assert_eq!(read(config(), json!({"code": 0, "roles": ["x"]})), Answer::Yes);
        assert_eq!(read(config(), json!({})), Answer::Yes);
    }

    #[test]
    fn a_response_that_does_not_match_is_a_no_with_its_reason() {
        assert_eq!(read(config(), json!({"code": 7, "msg": "banned"})), no("banned"));
        assert_eq!(read(config(), json!({"msg": "banned"})), no("banned"), "with code 0");
        let silent = Answer::No { because: Because::NotAccepted, reason: None };
        assert_eq!(read(config(), json!({"code": 7})), silent);
        let without_reason = Config { reason: None, ..config() };
        assert_eq!(read(without_reason, json!({"code": 7, "msg": "x"})), silent);
    }

    #[test]
    fn a_response_that_matches_what_refuses_is_a_no() {
        let rejecting = |accept_when, reject_when| Config {
            accept_when: object(accept_when),
            reject_when: Some(object(reject_when)),
            ..config()
        };
        let no = |reason: &str| Answer::No {
            because: Because::Rejected,
            reason: Some(reason.to_owned()),
        };
        let reason_given = || rejecting(json!({}), json!({"msg": {"not": ""}}));
        assert_eq!(read(reason_given(), json!({"msg": "banned"})), no("banned"));
        assert_eq!(read(reason_given(), json!({"code": 7})), Answer::Yes);
        assert_eq!(read(reason_given(), json!({})), Answer::Yes);
        // Both fields must match for a refusal.
        let both = || rejecting(json!({}), json!({"code": 7, "status": "Denied"}));
        assert_eq!(read(both(), json!({"code": 7})), Answer::Yes);
        assert_eq!(read(both(), json!({"code": 7, "status": 1, "msg": "x"})), no("x"));
        // With both patterns, both must allow it.
        let two = || rejecting(json!({"code": 0}), json!({"status": "Denied"}));
        assert_eq!(read(two(), json!({})), Answer::Yes);
        assert_eq!(read(two(), json!({"status": 1, "msg": "x"})), no("x"));
        assert_ne!(read(two(), json!({"code": 7})), Answer::Yes);
        // A default is a value like others.
        let unnamed = || rejecting(json!({}), json!({"msg": ""}));
        assert_ne!(read(unnamed(), json!({})), Answer::Yes);
        assert_eq!(read(unnamed(), json!({"msg": "welcome"})), Answer::Yes);
    }

    #[test]
    fn what_refuses_every_response_is_a_mistake() {
        let config = Config { reject_when: Some(Map::new()), ..config() };
        let errors = Callout::new(config, NAMES).unwrap_err();
        assert!(errors[0].to_string().starts_with("reject_when: names no field"), "{errors:?}");
    }

    #[test]
    fn the_reason_may_be_inside_a_message_and_of_any_simple_type() {
        for (reason, text) in [
            ("detail.text", "inside"),
            ("detail.until", "5000000000"),
            ("status", "Denied"),
            ("code", "7"),
            ("wrapped", "held"),
        ] {
            let config = Config { reason: Some(reason.to_owned()), ..config() };
            let response = json!({"code": 7, "status": 1, "wrapped": "held", "detail": {"text": "inside", "until": "5000000000"}});
            assert_eq!(read(config, response), no(text), "{reason}");
        }
    }

    #[test]
    fn a_response_that_is_none_is_an_error() {
        let callout = Callout::new(config(), NAMES).unwrap();
        let error = callout.read(Bytes::from_static(b"\xff")).unwrap_err();
        assert!(error.to_string().starts_with("the response is not a valid im.BeforeConnectResp"));
    }

    #[test]
    fn every_mistake_is_reported_with_its_place() {
        let config = Config {
            method: method(),
            request: object(json!({"connParam": {"userid": "x"}, "uid": "{usr_id}"})),
            accept_when: object(json!({"cod": 0})),
            reject_when: Some(object(json!({"msgg": ""}))),
            reason: Some("detail.txt".to_owned()),
        };
        let errors = Callout::new(config, NAMES).unwrap_err();
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "request.connParam.userid: im.ConnParam has no field `userid`; did you mean `userId`?",
                "request.uid: `{usr_id}` is not a placeholder; did you mean `user_id`?",
                "accept_when.cod: im.BeforeConnectResp has no field `cod`; did you mean `code`?",
                "reject_when.msgg: im.BeforeConnectResp has no field `msgg`; did you mean `msg`?",
                "reason: im.BeforeConnectResp.Detail has no field `txt`; did you mean `text`?",
            ]
        );
    }

    #[test]
    fn a_placeholder_in_a_pattern_is_one_mistake() {
        let config = Config {
            method: method(),
            request: object(json!({})),
            accept_when: object(json!({"msg": "{user_id}"})),
            reject_when: Some(object(json!({"msg": {"not": "{user_id}"}}))),
            reason: None,
        };
        let errors = Callout::new(config, NAMES).unwrap_err();
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with("accept_when.msg: placeholders are filled in `request`"));
        assert!(errors[1].starts_with("reject_when.msg.not: placeholders"), "{errors:?}");
    }

    #[test]
    fn a_reason_that_is_no_text_is_a_mistake() {
        for (reason, says) in [
            ("detail", "is a im.BeforeConnectResp.Detail"),
            ("roles", "is a repeated string"),
            ("msg.x", "`x` cannot be a field"),
            ("limits", "is a map"),
        ] {
            let config = Config { reason: Some(reason.to_owned()), ..config() };
            let errors = Callout::new(config, NAMES).unwrap_err();
            assert!(errors[0].to_string().contains(says), "{errors:?}");
        }
    }
}
