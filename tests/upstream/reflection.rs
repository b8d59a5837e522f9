//! Descriptors come from the server, in any form of its answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use crate::support::grpc::{Server, Setup, handler, upstream};
use bridgehead::proto::demo::FILE_DESCRIPTOR_SET;
use bridgehead::routing::{DescriptorError, Descriptors};
use bridgehead::upstream::reflection::{Reflected, ReflectionError, fetch};
use futures_util::{Stream, StreamExt};
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};
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
async fn a_refusal_counts_whatever_its_message_is_like() {
    for message in [&b"caf%E9"[..], b"caf\xe9", b"100%"] {
        let address = crate::support::raw::serve(move |mut exchange| async move {
            let head = http::Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", "12")
                .header("grpc-message", http::HeaderValue::from_bytes(message).unwrap());
            exchange.respond.send_response(head.body(()).unwrap(), true).unwrap();
        })
        .await;
        let error = ask(address, &["pb.msgService"]).await.unwrap_err();
        assert!(matches!(error, ReflectionError::NotImplemented { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_peer_that_does_not_speak_http2_is_told_for_what_it_is() {
    for (says, told) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "but HTTP/1: it answered"),
        (b"\x15\x03\x03\0\x02\x02\x28", "but TLS: write https://"),
        (b"", "closed the connection before it sent any data"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(says).await;
            }
        });
        let error = ask(address, &["pb.msgService"]).await.unwrap_err();
        assert!(matches!(error, ReflectionError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
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
async fn imports_that_go_in_a_circle_or_into_the_void_come_to_an_end() {
    let address = serve(Routes::new(reflection(Kind::NoWellKnown))).await;
    let reflected = ask(address, &["test.Void"]).await.unwrap();
    let [missing] = &*reflected.missing else { panic!("{reflected:?}") };
    assert_eq!((&*missing.import, &*missing.answer), ("void.proto", "NOT_FOUND: no such thing"));
    assert_eq!(reflected.roots, ["lost.proto"]);
    // Refusing a circle is up to the reader of the set; the fetch must only end.
    let reflected = ask(address, &["test.Circle"]).await.unwrap();
    assert_eq!(FileDescriptorSet::decode(reflected.file_descriptor_set).unwrap().file.len(), 2);
}

/// Codes that servers answer with when they do not have a file.
const REFUSALS: [Code; 9] = [
    Code::NotFound,
    Code::Unknown,
    Code::Internal,
    Code::Unimplemented,
    Code::InvalidArgument,
    Code::PermissionDenied,
    Code::Unauthenticated,
    Code::FailedPrecondition,
    Code::Unavailable,
];

/// A service whose file imports a file for options, a well-known file and, with
/// `needs_money`, a file with a message.
fn shop(needs_money: bool) -> FileDescriptorProto {
    let field = |name: &str, number, type_name: &str| FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(1),
        r#type: Some(11),
        type_name: Some(type_name.into()),
        ..Default::default()
    };
    let mut fields = vec![field("at", 1, ".google.protobuf.Timestamp")];
    let mut dependency = vec![
        "google/api/annotations.proto".to_owned(),
        "validate/validate.proto".to_owned(),
        "google/protobuf/timestamp.proto".to_owned(),
    ];
    if needs_money {
        fields.push(field("price", 2, ".shop.Money"));
        dependency.push("shop/money.proto".to_owned());
    }
    let method = MethodDescriptorProto {
        name: Some("Buy".into()),
        input_type: Some(".shop.Order".into()),
        output_type: Some(".shop.Order".into()),
        ..Default::default()
    };
    FileDescriptorProto {
        name: Some("shop/shop.proto".into()),
        package: Some("shop".into()),
        syntax: Some("proto3".into()),
        dependency,
        message_type: vec![DescriptorProto {
            name: Some("Order".into()),
            field: fields,
            ..Default::default()
        }],
        service: vec![ServiceDescriptorProto {
            name: Some("Shop".into()),
            method: vec![method],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn shop_service(how: How, code: Code, needs_money: bool) -> ServerReflectionServer<Reflection> {
    let file = shop(needs_money);
    let files = HashMap::from([(file.name().to_owned(), file)]);
    ServerReflectionServer::new(Reflection { kind: Kind::Lacking(how, code), files })
}

#[tokio::test]
async fn what_is_imported_for_options_only_may_be_missing_whatever_the_server_says() {
    for how in [How::Answer, How::End, How::Nonsense] {
        for code in REFUSALS {
            let address = serve(Routes::new(shop_service(how, code, false))).await;
            let reflected = ask(address, &["shop.Shop"]).await;
            let reflected = reflected.unwrap_or_else(|error| panic!("{how:?} {code:?}: {error}"));
            let missing: Vec<_> = reflected.missing.iter().map(|one| &*one.import).collect();
            assert_eq!(missing, ["google/api/annotations.proto", "validate/validate.proto"]);
            let made = Descriptors::from_files(&reflected.file_descriptor_set, &reflected.roots);
            let made = made.unwrap();
            let input = made.method("shop.Shop/Buy").unwrap().input();
            let at = input.get_field_by_name("at").unwrap();
            assert_eq!(at.kind().as_message().unwrap().full_name(), "google.protobuf.Timestamp");
        }
    }
}

#[tokio::test]
async fn what_a_message_needs_and_the_server_does_not_have_is_told_with_its_answer() {
    for code in REFUSALS {
        let address = serve(Routes::new(shop_service(How::Answer, code, true))).await;
        let reflected = ask(address, &["shop.Shop"]).await.unwrap();
        let made = Descriptors::from_files(&reflected.file_descriptor_set, &reflected.roots);
        let Err(DescriptorError::MissingImport { file, import, needs }) = made else {
            panic!("{code:?}");
        };
        let names = (&*file, &*import, &*needs);
        assert_eq!(names, ("shop/shop.proto", "shop/money.proto", "shop.Money"));
        let missing = reflected.missing.iter().find(|one| one.import == import).unwrap();
        let name = bridgehead::metrics::status_label(code as i32);
        assert_eq!(missing.answer, format!("{name}: no such file"));
        assert_eq!(missing.may_pass, code == Code::Unavailable);
    }
}

#[tokio::test]
async fn a_symbol_that_is_not_listed_is_unknown_whatever_the_server_says() {
    for code in REFUSALS {
        let address = serve(Routes::new(shop_service(How::Answer, code, false))).await;
        match ask(address, &["shop.Shopp"]).await {
            Err(ReflectionError::UnknownSymbol { services, .. }) => {
                assert_eq!(services, ["shop.Shop"], "{code:?}");
            }
            other => panic!("{code:?}: {other:?}"),
        }
    }
}

/// A server whose version 1 answers everything, or everything but the list of
/// services, with a status. Its version 1alpha works.
#[derive(Clone)]
struct Refusing {
    code: Code,
    lists: bool,
}

#[tonic::async_trait]
impl ServerReflection for Refusing {
    type ServerReflectionInfoStream =
        Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let Self { code, lists } = *self;
        if !lists {
            return Err(Status::new(code, "not this one"));
        }
        let answers = request.into_inner().map(move |request| {
            let message_response = match request?.message_request {
                Some(MessageRequest::ListServices(_)) => {
                    let service = vec![ServiceResponse { name: "pb.msgService".into() }];
                    MessageResponse::ListServicesResponse(ListServiceResponse { service })
                }
                _ => return Err(Status::new(code, "not this one")),
            };
            let message_response = Some(message_response);
            Ok(ServerReflectionResponse { message_response, ..Default::default() })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tokio::test]
async fn a_version_that_is_refused_with_any_code_leads_to_the_other() {
    for lists in [false, true] {
        for code in REFUSALS {
            let routes = Routes::new(ServerReflectionServer::new(Refusing { code, lists }));
            let address =
                serve(routes.add_service(demo_reflection().build_v1alpha().unwrap())).await;
            let reflected = ask(address, &["pb.msgService"]).await;
            assert_is_demo(&reflected.unwrap_or_else(|error| panic!("{code:?} {lists}: {error}")));
        }
    }
}

#[tokio::test]
async fn where_no_version_works_the_refusal_is_told() {
    let refusing = Refusing { code: Code::PermissionDenied, lists: false };
    let address = serve(Routes::new(ServerReflectionServer::new(refusing))).await;
    match ask(address, &["pb.msgService"]).await {
        Err(ReflectionError::Failed { status, .. }) => {
            assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "not this one"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_names_ever_new_imports_comes_to_an_end() {
    let service = Reflection { kind: Kind::Endless, files: HashMap::new() };
    let address = serve(Routes::new(ServerReflectionServer::new(service))).await;
    let upstream = upstream(&[&format!("http://{address}")]);
    match fetch(&upstream, None, &["test.Chain"], Duration::from_secs(120)).await {
        Err(ReflectionError::Failed { status, .. }) => {
            assert_eq!(status.message(), "too many files");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_server_says_is_told_in_bounds() {
    let service = Reflection { kind: Kind::Wordy, files: HashMap::new() };
    let address = serve(Routes::new(ServerReflectionServer::new(service))).await;
    let error = ask(address, &["test.Clock"]).await.unwrap_err().to_string();
    assert!(error.len() < 10_000, "{}", error.len());
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
    /// Refuses files that it does not have, in this way and with this code.
    Lacking(How, Code),
    /// Has every file, and each imports another.
    Endless,
    /// Lists more services, and sends longer texts, than are useful.
    Wordy,
}

/// How a server reports that it has no such file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// By an answer, as grpc-go does.
    Answer,
    /// By the end of the stream.
    End,
    /// By other files.
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
        Kind::Lacking(..) | Kind::Endless | Kind::Wordy => vec![],
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
    fn answer(&self, request: MessageRequest) -> Result<MessageResponse, Status> {
        let file = match &request {
            MessageRequest::ListServices(_) => {
                let names = match self.kind {
                    Kind::Lacking(..) => vec!["shop.Shop".to_owned()],
                    Kind::Wordy => (0..100_000).map(|n| format!("test.S{n}")).collect(),
                    _ => vec!["pb.msgService".to_owned()],
                };
                let service = names.into_iter().map(|name| ServiceResponse { name }).collect();
                return Ok(MessageResponse::ListServicesResponse(ListServiceResponse { service }));
            }
            MessageRequest::FileByFilename(name) => self.files.get(name),
            MessageRequest::FileContainingSymbol(symbol) => self.files.values().find(|file| {
                let services = file.service.iter().map(ServiceDescriptorProto::name);
                let names = services.chain(file.message_type.iter().map(DescriptorProto::name));
                names.map(|name| format!("{}.{name}", file.package())).any(|name| name == *symbol)
            }),
            _ => None,
        };
        let files = |files: Vec<Vec<u8>>| {
            let file_descriptor_proto = files;
            MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                file_descriptor_proto,
            })
        };
        let error = |code: Code, message: &str| {
            let (error_code, error_message) = (code as i32, message.to_owned());
            MessageResponse::ErrorResponse(ErrorResponse { error_code, error_message })
        };
        Ok(match (self.kind, file) {
            (Kind::Endless, _) => {
                let name = match request {
                    MessageRequest::FileByFilename(name) => name,
                    _ => "0".to_owned(),
                };
                let next = name.parse::<u64>().unwrap() + 1;
                let file = FileDescriptorProto {
                    name: Some(name),
                    dependency: vec![next.to_string()],
                    ..Default::default()
                };
                files(vec![file.encode_to_vec()])
            }
            (Kind::Wordy, _) => error(Code::Internal, &"no\n".repeat(1 << 20)),
            (Kind::Lacking(How::End, code), None) => return Err(Status::new(code, "no such file")),
            (Kind::Lacking(How::Nonsense, _), None)
                if matches!(request, MessageRequest::FileByFilename(_)) =>
            {
                files(self.files.values().map(Message::encode_to_vec).collect())
            }
            (Kind::Lacking(_, code), None) => error(code, "no such file"),
            (_, None) => error(Code::NotFound, "no such thing"),
            (Kind::Closure, Some(_)) => {
                files(self.files.values().map(Message::encode_to_vec).collect())
            }
            (Kind::NoWellKnown | Kind::Lacking(..), Some(file)) => {
                files(vec![file.encode_to_vec()])
            }
            (Kind::Nonsense, Some(_)) => files(vec![b"\xff\xff\xff".to_vec()]),
        })
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
            let request = request?.message_request;
            let message_response = request.map(|request| this.answer(request)).transpose()?;
            Ok(ServerReflectionResponse { message_response, ..Default::default() })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
