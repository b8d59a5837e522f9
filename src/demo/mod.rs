//! The demo services: users, friends and messages, all in memory.
//!
//! They are ordinary gRPC services that know nothing of WebSockets, and stand for
//! those that a team already has. Like those they read the caller from the
//! `commonReq` of the request, and report the outcome in the `commonResp` of the
//! response. They need the gateway only to reach the members of a conversation:
//! that goes through its Push API, as any service does it. Everything is forgotten
//! when the process ends.

mod conversations;
mod directory;
mod messages;
mod pusher;
mod services;

use std::future::Future;

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::proto::demo::FILE_DESCRIPTOR_SET;
use crate::proto::demo::msg_service_server::MsgServiceServer;
use crate::proto::demo::relation_service_server::RelationServiceServer;
use crate::proto::demo::user_service_server::UserServiceServer;
pub use pusher::PushApi;
use pusher::Pusher;
use services::Demo;

/// Why the demo services do not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors that were compiled in cannot be reflected.
    #[error("the demo services have no reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The listener failed.
    #[error("the demo services stopped: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves the demo services, with reflection (v1 and v1alpha) and health, until
/// `shutdown`; then finishes the calls in flight. Messages are pushed through
/// `push_api`; answers do not wait for that.
///
/// # Cancel safety
///
/// Dropping the future stops accepting and cuts nothing short: connections
/// that are open are served by tasks of their own.
pub async fn serve(
    listener: TcpListener,
    push_api: PushApi,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let demo = Demo::new(Pusher::start(push_api));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<UserServiceServer<Demo>>().await;
    health.set_serving::<RelationServiceServer<Demo>>().await;
    health.set_serving::<MsgServiceServer<Demo>>().await;

    Server::builder()
        .add_service(UserServiceServer::new(demo.clone()))
        .add_service(RelationServiceServer::new(demo.clone()))
        .add_service(MsgServiceServer::new(demo))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            shutdown,
        )
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyper::http::uri::PathAndQuery;
    use tokio::sync::oneshot;
    use tonic::client::Grpc;
    use tonic::transport::Channel;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_prost::ProstCodec;
    use tonic_reflection::pb::{v1, v1alpha};

    use super::*;
    use crate::proto::demo::{LoginReq, LoginResp};

    async fn start() -> (Channel, oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(serve(listener, PushApi::default(), async { drop(stopped.await) }));
        (Channel::from_shared(address).unwrap().connect().await.unwrap(), stop)
    }

    #[tokio::test]
    async fn a_service_answers_over_grpc() {
        let (channel, _stop) = start().await;
        let mut client = Grpc::new(channel);
        client.ready().await.unwrap();
        let login = LoginReq { id: "zoe".into(), password: "x".into(), common_req: None };
        let path = PathAndQuery::from_static("/pb.userService/Login");
        let codec = ProstCodec::<LoginReq, LoginResp>::default();
        let answer = client.unary(tonic::Request::new(login), path, codec).await.unwrap();
        assert_eq!(answer.into_inner().user_id, "zoe");
    }

    #[tokio::test]
    async fn each_service_says_that_it_is_healthy() {
        let (channel, _stop) = start().await;
        for service in ["", "pb.userService", "pb.relationService", "pb.msgService"] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let answer = HealthClient::new(channel.clone()).check(request).await.unwrap();
            assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
        }
    }

    #[tokio::test]
    async fn both_versions_of_reflection_list_the_services() {
        let (channel, _stop) = start().await;

        let request = v1::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
                String::new(),
            )),
        };
        let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
        let answers = client.server_reflection_info(futures_util::stream::iter([request])).await;
        let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
        assert!(format!("{answer:?}").contains("pb.relationService"), "{answer:?}");

        let request = v1alpha::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(
                v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
            ),
        };
        let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
        let answers = client.server_reflection_info(futures_util::stream::iter([request])).await;
        let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
        assert!(format!("{answer:?}").contains("pb.relationService"), "{answer:?}");
    }

    #[tokio::test]
    async fn it_ends_when_it_is_told_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        serve(listener, PushApi::default(), std::future::ready(())).await.unwrap();
    }
}
