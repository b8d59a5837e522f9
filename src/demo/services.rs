//! The three services, as their protos declare them.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::conversations;
use super::directory::Directory;
use super::messages::Messages;
use super::pusher::Pusher;
use crate::proto::demo::common_resp::Code;
use crate::proto::demo::msg_service_server::MsgService;
use crate::proto::demo::relation_service_server::RelationService;
use crate::proto::demo::user_service_server::UserService;
use crate::proto::demo::{
    CommonReq, CommonResp, GetFriendListReq, GetFriendListResp, LoginReq, LoginResp, Page,
    SendMsgListReq, SendMsgListResp,
};

/// All three services over one state; clones share it.
#[derive(Clone)]
pub(super) struct Demo {
    directory: Arc<Directory>,
    messages: Arc<Messages>,
    pusher: Pusher,
}

impl Demo {
    /// Without users yet.
    pub(super) fn new(pusher: Pusher) -> Self {
        Self { directory: Arc::default(), messages: Arc::default(), pusher }
    }
}

#[tonic::async_trait]
impl UserService for Demo {
    /// Welcomes any id with any password.
    async fn login(&self, request: Request<LoginReq>) -> Result<Response<LoginResp>, Status> {
        let LoginReq { id, password, .. } = request.into_inner();
        let refusal = if id.is_empty() {
            failure(Code::RequestError, None)
        } else if password.is_empty() {
            failure(Code::ToastError, Some("Enter a password: any will do."))
        } else {
            return Ok(Response::new(LoginResp {
                common_resp: Some(CommonResp::default()),
                is_new_user: self.directory.register(&id),
                token: format!("demo-{:032x}", rand::random::<u128>()),
                user_id: id,
            }));
        };
        Ok(Response::new(LoginResp { common_resp: Some(refusal), ..LoginResp::default() }))
    }
}

#[tonic::async_trait]
impl RelationService for Demo {
    /// Everybody else, page by page.
    async fn get_friend_list(
        &self,
        request: Request<GetFriendListReq>,
    ) -> Result<Response<GetFriendListResp>, Status> {
        let GetFriendListReq { common_req, page: wanted, .. } = request.into_inner();
        let refused = |refusal| GetFriendListResp { common_resp: Some(refusal), ids: Vec::new() };
        let answer = match caller(common_req) {
            None => refused(not_logged_in()),
            Some(user) => match page(&self.directory.friends(&user), wanted.unwrap_or_default()) {
                Some(ids) => GetFriendListResp { common_resp: Some(CommonResp::default()), ids },
                None => refused(failure(Code::RequestError, None)),
            },
        };
        Ok(Response::new(answer))
    }
}

#[tonic::async_trait]
impl MsgService for Demo {
    /// Accepts all of the messages or none, and pushes them to the members of
    /// their conversations. `deliverAfter` is passed over.
    async fn send_msg_list_async(
        &self,
        request: Request<SendMsgListReq>,
    ) -> Result<Response<SendMsgListResp>, Status> {
        let session = request.metadata().get("x-session-id").cloned();
        let session = session.as_ref().and_then(|id| id.to_str().ok());
        let SendMsgListReq { common_req, msg_data_list, .. } = request.into_inner();
        let homeless = msg_data_list.iter().any(|message| message.conv_id.is_empty());
        let common_resp = match caller(common_req) {
            None => not_logged_in(),
            Some(_) if homeless || msg_data_list.is_empty() => failure(Code::RequestError, None),
            Some(user) => {
                let accepted = self.messages.accept(&user, msg_data_list);
                tracing::debug!(user, messages = accepted.len(), "the demo accepted messages");
                for push in conversations::pushes(accepted, &user, session) {
                    self.pusher.push(push);
                }
                CommonResp::default()
            }
        };
        Ok(Response::new(SendMsgListResp { common_resp: Some(common_resp) }))
    }
}

/// The caller, as the gateway names it.
fn caller(common_req: Option<CommonReq>) -> Option<String> {
    common_req.map(|common| common.user_id).filter(|user| !user.is_empty())
}

/// The asked part of a list: pages count from 1, and a size of 0 is everything.
fn page(list: &[String], wanted: Page) -> Option<Vec<String>> {
    let size = usize::try_from(wanted.size).ok()?;
    let number = usize::try_from(wanted.page).ok()?.max(1);
    if size == 0 {
        return Some(if number == 1 { list.to_vec() } else { Vec::new() });
    }
    let skipped = size.saturating_mul(number - 1);
    Some(list.iter().skip(skipped).take(size).cloned().collect())
}

fn not_logged_in() -> CommonResp {
    failure(Code::AuthError, Some("not logged in"))
}

fn failure(code: Code, msg: Option<&str>) -> CommonResp {
    CommonResp { code: code.into(), msg: msg.map(str::to_owned), data: Vec::new() }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::proto::demo::MsgData;
    use crate::proto::push::PushRequest;

    /// The services, and their pushes.
    fn demo() -> (Demo, mpsc::Receiver<PushRequest>) {
        let (pusher, queue) = Pusher::queue();
        (Demo::new(pusher), queue)
    }

    #[expect(clippy::unnecessary_wraps, reason = "as messages have it")]
    fn as_user(user: &str) -> Option<CommonReq> {
        Some(CommonReq { user_id: user.to_owned(), ..CommonReq::default() })
    }

    fn code(common_resp: Option<CommonResp>) -> Code {
        common_resp.unwrap().code()
    }

    async fn log_in(demo: &Demo, id: &str, password: &str) -> LoginResp {
        let (id, password) = (id.to_owned(), password.to_owned());
        let request = LoginReq { id, password, common_req: None };
        demo.login(Request::new(request)).await.unwrap().into_inner()
    }

    async fn friends(demo: &Demo, user: &str, page: i32, size: i32) -> GetFriendListResp {
        let request = GetFriendListReq {
            common_req: as_user(user),
            page: Some(Page { page, size }),
            ..GetFriendListReq::default()
        };
        demo.get_friend_list(Request::new(request)).await.unwrap().into_inner()
    }

    async fn send(demo: &Demo, user: &str, conv_ids: &[&str]) -> Code {
        let message =
            |conv_id: &&str| MsgData { conv_id: (*conv_id).to_owned(), ..MsgData::default() };
        let request = SendMsgListReq {
            msg_data_list: conv_ids.iter().map(message).collect(),
            common_req: as_user(user),
            ..SendMsgListReq::default()
        };
        let response = demo.send_msg_list_async(Request::new(request)).await.unwrap();
        code(response.into_inner().common_resp)
    }

    #[tokio::test]
    async fn any_password_will_do_but_there_must_be_one() {
        let demo = demo().0;
        let first = log_in(&demo, "zoe", "x").await;
        assert!(first.is_new_user && !first.token.is_empty());
        assert_eq!(first.user_id, "zoe");
        assert!(!log_in(&demo, "zoe", "another").await.is_new_user);
        assert_eq!(code(log_in(&demo, "zoe", "").await.common_resp), Code::ToastError);
        assert_eq!(code(log_in(&demo, "", "x").await.common_resp), Code::RequestError);
    }

    #[tokio::test]
    async fn friends_come_page_by_page() {
        let demo = demo().0;
        assert_eq!(friends(&demo, "bob", 1, 3).await.ids, ["alice", "carol", "dave"]);
        assert_eq!(friends(&demo, "bob", 2, 3).await.ids, ["erin"]);
        assert!(friends(&demo, "bob", 3, 3).await.ids.is_empty());
        assert_eq!(friends(&demo, "bob", 0, 0).await.ids.len(), 4);
        assert!(friends(&demo, "bob", i32::MAX, i32::MAX).await.ids.is_empty());
        assert_eq!(code(friends(&demo, "bob", -1, 3).await.common_resp), Code::RequestError);
    }

    #[tokio::test]
    async fn who_is_nobody_has_no_friends_and_sends_nothing() {
        let demo = demo().0;
        let answer = friends(&demo, "", 1, 3).await;
        assert_eq!(code(answer.common_resp), Code::AuthError);
        assert!(answer.ids.is_empty());
        assert_eq!(send(&demo, "", &["c1"]).await, Code::AuthError);
    }

    #[tokio::test]
    async fn messages_need_a_conversation() {
        let demo = demo().0;
        assert_eq!(send(&demo, "bob", &["c1", "c2"]).await, Code::Success);
        assert_eq!(send(&demo, "bob", &["c1", ""]).await, Code::RequestError);
        assert_eq!(send(&demo, "bob", &[]).await, Code::RequestError);
    }

    #[tokio::test]
    async fn what_is_accepted_is_pushed_but_not_to_the_session_that_sent_it() {
        let (demo, mut pushed) = demo();
        let message = MsgData { conv_id: "alice:bob".to_owned(), ..MsgData::default() };
        let mut request = Request::new(SendMsgListReq {
            msg_data_list: vec![message],
            common_req: as_user("bob"),
            ..SendMsgListReq::default()
        });
        request.metadata_mut().insert("x-session-id", "s1".parse().unwrap());
        demo.send_msg_list_async(request).await.unwrap();
        let target = pushed.try_recv().unwrap().target.unwrap();
        assert_eq!(target.user_ids, ["alice", "bob"]);
        assert_eq!(target.except_session_ids, ["s1"]);
    }

    #[tokio::test]
    async fn what_is_refused_is_not_pushed() {
        let (demo, mut pushed) = demo();
        assert_eq!(send(&demo, "bob", &["c1", ""]).await, Code::RequestError);
        assert!(pushed.try_recv().is_err());
    }

    #[tokio::test]
    async fn messages_are_accepted_while_nothing_takes_pushes() {
        let (demo, _pushed) = demo();
        for _ in 0..2000 {
            assert_eq!(send(&demo, "bob", &["lobby"]).await, Code::Success);
        }
    }
}
