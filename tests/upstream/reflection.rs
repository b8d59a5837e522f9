//! Descriptors come from the server, however it tells them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use crate::support::grpc::{Server, Setup, handler, upstream};
use bridgehead::proto::demo::FILE_DESCRIPTOR_SET;
use bridgehead::upstream::reflection::{Reflected, ReflectionError, fetch};
use futures_util::{Stream, StreamExt};
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::{
    DescriptorProto, FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::server_reflection_server::{
    ServerReflection, ServerReflectionServer,
};
use tonic_reflection::pb::v1::{
    ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest,
    ServerReflectionResponse, ServiceResponse,
};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Serves in the test's own runtime.
async fn serve(routes: Routes) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = futures_util::stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(|(stream, _)| stream), listener))
    });
    tokio::spawn(
        tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(incoming),
    );
    address
}

fn demo_reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
}

async fn ask(address: SocketAddr, symbols: &[&str]) -> Result<Reflected, ReflectionError> {
    fetch(&upstream(&[&format!("http://{address}")]), None, symbols, TIMEOUT).await
}

/// A pool of the files as they came: fails unless imports come first.
fn pool(reflected: &Reflected) -> DescriptorPool {
    let set = FileDescriptorSet::decode(reflected.file_descriptor_set.clone()).unwrap();
    let mut pool = DescriptorPool::new();
    for file in set.file {
        pool.add_file_descriptor_proto(file).unwrap();
    }
    pool
}

fn assert_is_demo(reflected: &Reflected) {
    let pool = pool(reflected);
    let service = pool.get_service_by_name("pb.msgService").unwrap();
    assert!(service.methods().any(|method| method.name() == "SendMsgListAsync"));
    assert!(pool.get_message_by_name("pb.CommonReq").is_some(), "imports came along");
    assert!(reflected.services.contains(&"pb.msgService".to_owned()));
    assert!(reflected.services.is_sorted());
}

#[tokio::test]
async fn version_1_is_spoken() {
    let address = serve(Routes::new(demo_reflection().build_v1().unwrap())).await;
    assert_is_demo(&ask(address, &["pb.msgService", "pb.userService"]).await.unwrap());
}

#[tokio::test]
async fn version_1alpha_is_spoken_where_there_is_no_1() {
    let address = serve(Routes::new(demo_reflection().build_v1alpha().unwrap())).await;
    assert_is_demo(&ask(address, &["pb.msgService"]).await.unwrap());
}

#[tokio::test]
async fn without_symbols_there_are_only_the_names_of_services() {
    let address = serve(Routes::new(demo_reflection().build_v1().unwrap())).await;
    let reflected = ask(address, &[]).await.unwrap();
    assert!(reflected.services.contains(&"pb.relationService".to_owned()));
    assert!(reflected.file_descriptor_set.is_empty());
}

#[tokio::test]
async fn a_symbol_the_server_does_not_know_comes_with_those_it_does() {
    let address = serve(Routes::new(demo_reflection().build_v1().unwrap())).await;
    match ask(address, &["pb.msgService", "pb.mgsService"]).await {
        Err(ReflectionError::UnknownSymbol { symbol, services, .. }) => {
            assert_eq!(symbol, "pb.mgsService");
            assert!(services.contains(&"pb.msgService".to_owned()));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_without_reflection_is_a_mistake_of_the_configuration() {
    let address = serve(Routes::default()).await;
    match ask(address, &["pb.msgService"]).await {
        Err(error @ ReflectionError::NotImplemented { .. }) => {
            assert!(error.to_string().contains("descriptors"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_worth_another_try() {
    let address = crate::support::grpc::bind("127.0.0.1:0".parse().unwrap()).local_addr().unwrap();
    match ask(address, &["pb.msgService"]).await {
        Err(ReflectionError::Unreachable { reason, .. }) => {
            assert!(reason.contains("refused"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_worth_another_try_when_the_time_is_over() {
    let silent = Server::start(Setup::new(handler(|_| std::future::pending())));
    let result =
        fetch(&upstream(&[&silent.url()]), None, &["pb.msgService"], Duration::from_millis(200))
            .await;
    assert!(matches!(result, Err(ReflectionError::Unreachable { .. })), "{result:?}");
}

#[tokio::test]
async fn a_server_that_breaks_off_is_worth_another_try() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let result = ask(address, &["pb.msgService"]).await;
    assert!(matches!(result, Err(ReflectionError::Unreachable { .. })), "{result:?}");
}

#[tokio::test]
async fn a_list_is_asked_until_one_of_it_answers() {
    let dead = crate::support::grpc::bind("127.0.0.1:0".parse().unwrap()).local_addr().unwrap();
    let address = serve(Routes::new(demo_reflection().build_v1().unwrap())).await;
    let upstream = upstream(&[&format!("http://{dead}"), &format!("http://{address}")]);
    assert_is_demo(&fetch(&upstream, None, &["pb.msgService"], TIMEOUT).await.unwrap());
}

#[tokio::test]
async fn a_server_may_send_a_file_with_all_of_its_imports() {
    let address = serve(Routes::new(reflection(Kind::Closure))).await;
    assert_is_demo(&ask(address, &["pb.msgService"]).await.unwrap());
}

#[tokio::test]
async fn a_server_may_leave_out_the_well_known_files() {
    let address = serve(Routes::new(reflection(Kind::NoWellKnown))).await;
    let reflected = ask(address, &["test.Clock"]).await.unwrap();
    assert!(pool(&reflected).get_message_by_name("google.protobuf.Timestamp").is_some());
}

#[tokio::test]
async fn imports_that_go_in_a_circle_or_into_the_void_are_an_error() {
    let address = serve(Routes::new(reflection(Kind::NoWellKnown))).await;
    let result = ask(address, &["test.Void"]).await;
    match result {
        Err(ReflectionError::Failed { status, .. }) => {
            assert!(status.message().contains("void.proto"), "{status}");
        }
        other => panic!("{other:?}"),
    }
    // A circle is for whoever reads the set to refuse; it must only end.
    let reflected = ask(address, &["test.Circle"]).await.unwrap();
    assert_eq!(FileDescriptorSet::decode(reflected.file_descriptor_set).unwrap().file.len(), 2);
}

#[tokio::test]
async fn a_service_that_is_no_reflection_at_all_fails_without_a_panic() {
    let address = serve(Routes::new(reflection(Kind::Nonsense))).await;
    let result = ask(address, &["test.Clock"]).await;
    assert!(matches!(result, Err(ReflectionError::Failed { .. })), "{result:?}");
    // tonic panics over such details.
    let address = crate::support::raw::serve(|exchange| async {
        let trailers = [("grpc-status", "3"), ("grpc-status-details-bin", "%%%")];
        exchange.answer(
            crate::support::raw::grpc_head(),
            b"",
            crate::support::raw::headers(&trailers),
        );
    })
    .await;
    let result = ask(address, &["test.Clock"]).await;
    assert!(matches!(result, Err(ReflectionError::Failed { .. })), "{result:?}");
}

/// A server with habits that tonic-reflection does not have.
#[derive(Clone, Copy)]
enum Kind {
    /// Sends each file with everything it imports, as grpcio does.
    Closure,
    /// Has files that import others it does not have. Says so in an answer and
    /// goes on, as grpc-go does.
    NoWellKnown,
    /// Answers with bytes that are no descriptors.
    Nonsense,
}

struct Reflection {
    kind: Kind,
    files: HashMap<String, FileDescriptorProto>,
}

fn reflection(kind: Kind) -> ServerReflectionServer<Reflection> {
    let own = |name: &str, import: &str, message: &str| FileDescriptorProto {
        name: Some(name.into()),
        package: Some("test".into()),
        dependency: vec![import.into()],
        message_type: vec![DescriptorProto { name: Some(message.into()), ..Default::default() }],
        ..Default::default()
    };
    let files = match kind {
        Kind::Closure => FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file,
        Kind::NoWellKnown | Kind::Nonsense => vec![
            own("clock.proto", "google/protobuf/timestamp.proto", "Clock"),
            own("lost.proto", "void.proto", "Void"),
            own("circle.proto", "circle2.proto", "Circle"),
            own("circle2.proto", "circle.proto", "Circle2"),
        ],
    };
    let files = files.into_iter().map(|file| (file.name().to_owned(), file)).collect();
    ServerReflectionServer::new(Reflection { kind, files })
}

impl Reflection {
    fn answer(&self, request: MessageRequest) -> MessageResponse {
        let file = match request {
            MessageRequest::ListServices(_) => {
                let service = vec![ServiceResponse { name: "pb.msgService".into() }];
                return MessageResponse::ListServicesResponse(ListServiceResponse { service });
            }
            MessageRequest::FileByFilename(name) => self.files.get(&name),
            MessageRequest::FileContainingSymbol(symbol) => self.files.values().find(|file| {
                let services = file.service.iter().map(ServiceDescriptorProto::name);
                let names = services.chain(file.message_type.iter().map(DescriptorProto::name));
                names.map(|name| format!("{}.{name}", file.package())).any(|name| name == symbol)
            }),
            _ => None,
        };
        let Some(file) = file else {
            return MessageResponse::ErrorResponse(ErrorResponse {
                error_code: 5,
                error_message: "no such thing".into(),
            });
        };
        let file_descriptor_proto = match self.kind {
            Kind::Closure => self.files.values().map(Message::encode_to_vec).collect(),
            Kind::NoWellKnown => vec![file.encode_to_vec()],
            Kind::Nonsense => vec![b"\xff\xff\xff".to_vec()],
        };
        MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto })
    }
}

#[tonic::async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream =
        Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let this = Reflection { kind: self.kind, files: self.files.clone() };
        let answers = request.into_inner().map(move |request| {
            let message_response = request?.message_request.map(|request| this.answer(request));
            Ok(ServerReflectionResponse { message_response, ..Default::default() })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
