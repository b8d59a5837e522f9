//! A gRPC service that answers calls with their own text.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::path::PathBuf;
use std::task::{Context, Poll};

use http::{Request, Response};
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_prost::ProstCodec;

const PROTO: &str = r#"
    syntax = "proto3";
    package soak;
    message Text { string text = 1; }
    service Echo { rpc Say(Text) returns (Text); }
"#;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Text {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

pub(crate) struct Services {
    pub(crate) address: String,
    pub(crate) descriptors: PathBuf,
    _folder: tempfile::TempDir,
}

pub(crate) async fn start() -> Services {
    start_taking(16 * 1024).await
}

/// The same, where a call's headers may be so many bytes.
pub(crate) async fn start_taking(headers: u32) -> Services {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("soak.proto"), PROTO).unwrap();
    let set = protox::compile(["soak.proto"], [folder.path()]).unwrap();
    let descriptors = folder.path().join("soak.binpb");
    std::fs::write(&descriptors, set.encode_to_vec()).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let mut server = Server::builder().http2_max_header_list_size(headers);
    tokio::spawn(server.add_service(Echo).serve_with_incoming(incoming));
    Services { address, descriptors, _folder: folder }
}

#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "soak.Echo";
}

impl tower_service::Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async {
            let mut grpc = Grpc::new(ProstCodec::<Text, Text>::default());
            Ok(grpc.unary(Say, request).await)
        })
    }
}

struct Say;

impl UnaryService<Text> for Say {
    type Response = Text;
    type Future = Ready<Result<tonic::Response<Text>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<Text>) -> Self::Future {
        ready(Ok(tonic::Response::new(request.into_inner())))
    }
}
