//! Logins that an existing RPC judges.
//!
//! The request and the condition for acceptance are a [`Callout`]. The transport
//! is not known here: the creator of an [`Rpc`] passes it a [`Call`].

use std::future::{Future, ready};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::Either;
use tonic::{Code, Status};

use super::{Login, Verdict};
use crate::callout::{Answer, Call, Callout};
use crate::metrics::{status_label, status_text};

/// The reason in the client's reply when the service gives none.
pub(super) const REFUSED: &str = "login refused";

/// Judges logins by an RPC. A clone is cheap and shares everything.
#[derive(Clone)]
pub struct Rpc {
    callout: Arc<Callout>,
    call: Call,
}

impl Rpc {
    /// Sends the request of `callout` through `call`. Its placeholders must be
    /// [those of a login](Login::placeholders).
    pub fn new(callout: Callout, call: Call) -> Self {
        Self { callout: Arc::new(callout), call }
    }

    /// Judges a login. The future may be dropped at any time, and the call with it.
    pub(super) fn judge(&self, login: &Login<'_>) -> impl Future<Output = Verdict> + Send + use<> {
        match self.request(|name| login.value(name)) {
            Some(request) => Either::Right(self.ask(login.worker, request)),
            None => Either::Left(ready(Verdict::refused(REFUSED))),
        }
    }

    /// Whether the RPC would be asked the same about both.
    pub(super) fn asks_the_same(&self, one: &Login<'_>, other: &Login<'_>) -> bool {
        let request = |login: &Login<'_>| self.callout.request(|name| login.value(name)).ok();
        request(one) == request(other)
    }

    /// The serialized request message. `None`: the values do not fit it, and
    /// are refused.
    pub(super) fn request<'v>(&self, value: impl Fn(&str) -> &'v str) -> Option<Bytes> {
        let request = self.callout.request(value);
        request
            .inspect_err(|error| tracing::info!(%error, rpc = self.callout.rpc(), "login refused"))
            .ok()
    }

    /// Asks the RPC over the connections of `worker`. Nothing happens before
    /// the future is polled; it may be dropped at any time, and the call with it.
    pub(super) fn ask(
        &self,
        worker: usize,
        request: Bytes,
    ) -> impl Future<Output = Verdict> + Send + use<> {
        let response = (self.call)(worker, request);
        let callout = Arc::clone(&self.callout);
        async move {
            match response.await {
                Ok(response) => match callout.read(response) {
                    Ok(Answer::Yes) => Verdict::Accepted { expires_at: None },
                    Ok(Answer::No { reason, .. }) => {
                        Verdict::refused(reason.unwrap_or_else(|| REFUSED.to_owned()))
                    }
                    Err(error) => Verdict::Unavailable { cause: error.to_string() },
                },
                Err(status) => judge_status(&status, callout.rpc()),
            }
        }
    }
}

fn judge_status(status: &Status, rpc: &str) -> Verdict {
    match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::NotFound
        | Code::InvalidArgument
        | Code::FailedPrecondition => {
            let code = status_label(status.code() as i32);
            tracing::info!(code, error = status.message(), rpc, "login refused");
            Verdict::refused(REFUSED)
        }
        _ => Verdict::Unavailable { cause: status_text(status) },
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use prost::Message as _;
    use prost_reflect::{DynamicMessage, MessageDescriptor};
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::callout::{Config, method, object};

    fn config() -> Config {
        Config {
            method: method(),
            request: object(json!({"connParam": {"userId": "{user_id}", "token": "{token}"}})),
            accept_when: object(json!({"code": 0, "msg": ""})),
            reject_when: None,
            reason: Some("msg".to_owned()),
        }
    }

    fn rpc(config: Config, call: Call) -> Rpc {
        let names: Vec<_> = Login::placeholders().collect();
        Rpc::new(Callout::new(config, &names).unwrap(), call)
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
        rpc(config, answers(answer)).judge(&login).await
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
        rpc(config(), call).judge(&login).await;
        let expected = json!({"connParam": {"userId": "zoe", "token": "t0ken"}});
        assert_eq!(*seen.lock(), message(method().input(), expected));
    }

    #[tokio::test]
    async fn a_response_that_matches_accepts() {
        let accepted = Verdict::Accepted { expires_at: None };
        assert_eq!(judge(config(), Ok(json!({"code": 0, "roles": ["x"]}))).await, accepted);
        assert_eq!(judge(config(), Ok(json!({}))).await, accepted);
    }

    #[tokio::test]
    async fn a_response_that_does_not_match_refuses_with_its_reason() {
        let answer = json!({"code": 7, "msg": "banned until Monday"});
        let refused = Verdict::refused("banned until Monday");
        assert_eq!(judge(config(), Ok(answer)).await, refused);
        let with_code_0 = json!({"msg": "banned until Monday"});
        assert_eq!(judge(config(), Ok(with_code_0)).await, refused);
        let silent = Verdict::refused("login refused");
        assert_eq!(judge(config(), Ok(json!({"code": 7}))).await, silent);
        let without_reason = Config { reason: None, ..config() };
        assert_eq!(judge(without_reason, Ok(json!({"code": 7, "msg": "x"}))).await, silent);
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
        let verdict = rpc(config(), call).judge(&login).await;
        assert!(matches!(verdict, Verdict::Unavailable { .. }), "{verdict:?}");
    }

    #[tokio::test]
    async fn a_login_that_does_not_fit_the_request_is_refused_without_a_call() {
        let call: Call = Arc::new(|_, _| panic!("called"));
        let config = Config { request: object(json!({"uid": "{user_id}"})), ..config() };
        let login = Login { user_id: "zoe", ..Login::default() };
        let verdict = rpc(config, call).judge(&login).await;
        assert_eq!(verdict, Verdict::refused("login refused"));
    }
}
