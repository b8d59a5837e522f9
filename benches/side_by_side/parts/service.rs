//! The service behind everything: tonic, with messages made by prost. It does
//! nothing but answer.

use std::sync::OnceLock;

use bridgehead::proto::demo::msg_service_server::{MsgService, MsgServiceServer};
use bridgehead::proto::demo::relation_service_server::{RelationService, RelationServiceServer};
use bridgehead::proto::demo::{
    CommonResp, GetFriendListReq, GetFriendListResp, SendMsgListReq, SendMsgListResp,
};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::{say, spread};
use crate::failure::Failure;

/// The first request that came: a client's, as the gateway passes it on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The message, in hexadecimal.
    pub(crate) request: String,
}

/// An id in an answer: 18 bytes with its tag and length.
const ID: &str = "bench-friend-000";

#[derive(Clone, Copy)]
struct Service;

pub(super) fn run() -> Result<(), Failure> {
    spread::run(|connections| async {
        let server = Server::builder()
            .add_service(RelationServiceServer::new(Service))
            .add_service(MsgServiceServer::new(Service));
        if let Err(error) = server.serve_with_incoming(spread::incoming(connections)).await {
            eprintln!("the service has ended: {error}");
        }
    })
}

/// Reports the first request to the table.
fn note(request: &GetFriendListReq) {
    static TOLD: OnceLock<()> = OnceLock::new();
    TOLD.get_or_init(|| {
        let request = base16ct::lower::encode_string(&request.encode_to_vec());
        if let Err(error) = say(&Seen { request }) {
            eprintln!("{error}");
        }
    });
}

#[tonic::async_trait]
impl RelationService for Service {
    /// As many ids as the page has room for.
    async fn get_friend_list(
        &self,
        request: Request<GetFriendListReq>,
    ) -> Result<Response<GetFriendListResp>, Status> {
        let request = request.into_inner();
        note(&request);
        let size = request.page.map_or(0, |page| page.size);
        let ids = vec![ID.to_owned(); usize::try_from(size).unwrap_or_default()];
        Ok(Response::new(GetFriendListResp { common_resp: Some(CommonResp::default()), ids }))
    }
}

#[tonic::async_trait]
impl MsgService for Service {
    /// Takes anything: the method for large requests.
    async fn send_msg_list_async(
        &self,
        _: Request<SendMsgListReq>,
    ) -> Result<Response<SendMsgListResp>, Status> {
        Ok(Response::new(SendMsgListResp { common_resp: Some(CommonResp::default()) }))
    }
}
