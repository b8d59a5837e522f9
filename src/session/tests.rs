//! Two protocols side by side: sessions of the first and of the one of tests
//! (`protocol/lines.rs`) make calls and get pushes through the same session,
//! delivery and upstream code, which know neither.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::run;
use crate::auth::Authenticator;
use crate::broker::{Broker, Lane, Push};
use crate::call::{Client, Context, Targets};
use crate::demo::{self, PushApi};
use crate::hooks::{Dispatcher, Hooks};
use crate::metrics::Metrics;
use crate::outbox::Confirm;
use crate::proto::demo::FILE_DESCRIPTOR_SET;
use crate::proto::session::{
    PushBody, RequestBody, ResponseBody, SetCxnParamsReq, SetUserParamsReq,
};
use crate::protocol::seed::methods::{SET_CXN_PARAMS, SET_USER_PARAMS};
use crate::protocol::{Protocol, Shared};
use crate::registry::{OneSessionPer, Registry, Target};
use crate::routing::{Descriptors, PublicMethods, RouteSpec, StatusCodes, TableBuilder};
use crate::session::sweeper::{Holding, Sweeper, Timeouts};
use crate::session::{Config, MAX_REVIEWS, Services, Socket, Worker};
use crate::upstream::{self, Destination, Upstream};

type ClientSocket = WebSocketStream<DuplexStream>;

const FRIENDS: &str = "/pb.relationService/GetFriendList";

/// A worker whose calls lead to the demo services.
async fn worker() -> Arc<Worker> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(demo::serve(listener, PushApi::default(), std::future::pending()));
    let config =
        upstream::Config { name: "demo".into(), address: vec![address], connections: 1, tls: None };
    let upstream = Arc::new(Upstream::new(config, 1).unwrap());
    let mut table = TableBuilder::new("commonReq", "commonResp", PublicMethods::default());
    let defaults = RouteSpec {
        name: String::new(),
        rpc: String::new(),
        timeout: Duration::from_secs(10),
        public: None,
        retry: false,
        validate: false,
        expose_errors: false,
        codes: StatusCodes::default(),
    };
    let descriptors = Descriptors::from_sets([FILE_DESCRIPTOR_SET]).unwrap();
    let destination = Destination { upstream: Arc::clone(&upstream), rules: None };
    table.expose(&destination, "pb.relationService", &defaults, &descriptors).unwrap();
    let services = Services {
        calls: Targets { routes: table.build(), each_request: None },
        auth: Authenticator::None,
        holding: Holding::default(),
        hooks: Hooks::default(),
        upstreams: vec![upstream],
    };
    let minute = Duration::from_mins(1);
    let timeouts =
        Timeouts { handshake: minute, login: minute, ping_interval: minute, pong: minute };
    Arc::new(Worker {
        calls: Context {
            worker: 0,
            require_encryption: false,
            metrics: Metrics::new(),
            refusals: Arc::default(),
            tracing: None,
        },
        config: Config {
            platforms: vec!["web".into()],
            device_is_package: false,
            require_encryption: false,
            max_in_flight: 8,
            outbox: 1 << 20,
            max_message: 1 << 20,
            timeouts: timeouts.clone(),
        },
        services: Arc::new(ArcSwap::from_pointee(services)),
        sweeper: Arc::new(Sweeper::new(timeouts)),
        doorbell: Arc::default(),
        traffic: Arc::default(),
        hooks: Dispatcher::default(),
        reviews: Arc::new(Semaphore::new(MAX_REVIEWS)),
        registry: Registry::new(OneSessionPer::Device),
        cluster: None,
        protocols: Shared::default(),
        keys: None,
    })
}

/// The client's side of a new session.
async fn connect(worker: &Arc<Worker>, protocol: Protocol) -> ClientSocket {
    let (near, far) = duplex(1 << 16);
    let client =
        Client { remote_ip: [127, 0, 0, 1].into(), user_agent: String::new(), trace_parent: None };
    let socket = Socket::new(near, &[], 1 << 20);
    tokio::spawn(run(socket, client, protocol, Arc::clone(worker), ()));
    WebSocketStream::from_raw_socket(far, Role::Client, None).await
}

async fn receive(socket: &mut ClientSocket) -> Vec<u8> {
    socket.next().await.unwrap().unwrap().into_data().to_vec()
}

async fn lines(socket: &mut ClientSocket, line: &str) -> String {
    socket.send(Message::Binary(line.to_owned().into())).await.unwrap();
    String::from_utf8_lossy(&receive(socket).await).into_owned()
}

async fn seed(socket: &mut ClientSocket, method: &str, data: Vec<u8>) -> ResponseBody {
    use prost::Message as _;
    let request = RequestBody { req_id: "7".into(), method: method.into(), data: data.into() };
    socket.send(Message::Binary(request.encode_to_vec().into())).await.unwrap();
    let body = PushBody::decode(&*receive(socket).await).unwrap();
    assert_eq!(body.event, 2);
    ResponseBody::decode(body.data).unwrap()
}

#[tokio::test]
async fn a_second_protocol_serves_calls_and_pushes_beside_the_first() {
    use prost::Message as _;
    let worker = worker().await;
    tokio::spawn({
        let worker = Arc::clone(&worker);
        async move { worker.doorbell.answer().await }
    });
    let mut other = connect(&worker, Protocol::Lines).await;
    assert_eq!(lines(&mut other, &format!("0 {FRIENDS} ")).await, "0 AuthError not logged in");
    assert_eq!(lines(&mut other, "1 describe d").await, "1 Success ");
    assert_eq!(lines(&mut other, "2 login alice").await, "2 Success ");
    let friends = lines(&mut other, &format!("3 {FRIENDS} ")).await;
    assert!(friends.starts_with("3 Success ") && friends.len() > 12, "{friends:?}");

    let mut first = connect(&worker, Protocol::Seed { server_iv: false }).await;
    assert_eq!(receive(&mut first).await, b"connected");
    let device =
        SetCxnParamsReq { platform: "web".into(), device_id: "e".into(), ..Default::default() };
    assert_eq!(seed(&mut first, SET_CXN_PARAMS, device.encode_to_vec()).await.code, 0);
    let user =
        SetUserParamsReq { user_id: "alice".into(), token: "t".into(), ..Default::default() };
    assert_eq!(seed(&mut first, SET_USER_PARAMS, user.encode_to_vec()).await.code, 0);
    let same = seed(&mut first, FRIENDS, Vec::new()).await;
    assert!(friends.contains(&*String::from_utf8_lossy(&same.data)), "the same response message");

    let broker = Broker::alone("n", Arc::clone(&worker.registry));
    let push = Push {
        target: Target::default().users(["alice"]),
        event: 5,
        data: "hello".into(),
        confirm: Confirm::Written,
        deadline: Duration::from_secs(5),
    };
    let receipts = broker.push(push, &mut Lane::default()).await;
    assert_eq!(receive(&mut other).await, b"push 5 hello");
    let body = PushBody::decode(&*receive(&mut first).await).unwrap();
    assert_eq!((body.event, &*body.data), (5, &b"hello"[..]));
    assert_eq!(receipts.count().await, 2);
}
