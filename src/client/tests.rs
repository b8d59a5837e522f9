//! The client against a gateway scripted by each test, on the envelope's own codec.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::*;
use crate::proto::session::{AfterConnectBody, PushEvent, SetCxnParamsReq};
use crate::protocol::seed::rsa::generate_key;
use crate::protocol::seed::{Cipher, PrivateKey, PublicKey, codec};
use crate::protocol::{Code, Request};

/// The gateway's end of one session.
struct Peer {
    socket: WebSocketStream<TcpStream>,
    cipher: Option<Cipher>,
}

impl Peer {
    async fn accept(listener: TcpListener) -> Self {
        let (tcp, _) = listener.accept().await.unwrap();
        Self { socket: accept_async(tcp).await.unwrap(), cipher: None }
    }

    async fn greet(&mut self) {
        self.socket.send(Message::text("connected")).await.unwrap();
    }

    async fn request(&mut self) -> Request {
        loop {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Binary(frame) => {
                    let plain = match &self.cipher {
                        Some(cipher) => cipher.open(frame).unwrap(),
                        None => frame,
                    };
                    return codec::open(&plain).unwrap();
                }
                Message::Close(_) => panic!("closed"),
                _ => {}
            }
        }
    }

    async fn send(&mut self, frame: bytes::BytesMut) {
        let frame = match &self.cipher {
            Some(cipher) => cipher.seal(frame),
            None => frame.freeze(),
        };
        self.socket.send(Message::Binary(frame)).await.unwrap();
    }

    async fn answer(&mut self, request: &Request, code: Code, data: &[u8]) {
        self.send(codec::answer(&request.req_id, &request.method, code, data)).await;
    }

    /// Greets, and is content with any device.
    async fn shake_hands(&mut self) -> SetCxnParamsReq {
        self.greet().await;
        let request = self.request().await;
        assert_eq!(request.method, "/v1/conn/white/setCxnParams");
        self.answer(&request, Code::SUCCESS, &[]).await;
        SetCxnParamsReq::decode(request.data).unwrap()
    }

    async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.socket.close(Some(frame)).await.unwrap();
        while self.socket.next().await.is_some_and(|frame| frame.is_ok()) {}
    }
}

/// Starts a gateway for one session, which behaves as `behave` does.
async fn gateway<F>(behave: impl FnOnce(Peer) -> F + Send + 'static) -> (Options, JoinHandle<()>)
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let peer = tokio::spawn(async { behave(Peer::accept(listener).await).await });
    (Options::new(url), peer)
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn a_session_says_what_device_and_user_it_is() {
    let (mut options, peer) = gateway(|mut peer| async move {
        let device = peer.shake_hands().await;
        assert_eq!((&*device.platform, &*device.device_id), ("ios", "d1"));
        assert_eq!((device.aes_key, device.aes_iv), (None, None));
        let request = peer.request().await;
        assert_eq!(request.method, "/v1/conn/white/setUserParams");
        // SetUserParamsReq { userId = 1, token = 2 }
        assert_eq!(&*request.data, b"\x0a\x03zoe\x12\x05t0ken");
        peer.answer(&request, Code::SUCCESS, &[]).await;
    })
    .await;
    let device = options.device.as_mut().unwrap();
    device.platform = "ios".to_owned();
    device.device_id = "d1".to_owned();
    let session = Session::connect(options).await.unwrap();
    session.login("zoe", "t0ken").await.unwrap();
    peer.await.unwrap();
}

#[tokio::test]
async fn a_session_without_a_device_sends_nothing_by_itself() {
    let (options, peer) = gateway(|mut peer| async move {
        peer.greet().await;
        let request = peer.request().await;
        assert_eq!(request.method, "/first");
        peer.answer(&request, Code::SUCCESS, &[]).await;
    })
    .await;
    let session = Session::connect(Options { device: None, ..options }).await.unwrap();
    session.call("/first", Bytes::new()).await.unwrap();
    peer.await.unwrap();
}

#[tokio::test]
async fn answers_find_their_calls_in_whatever_order_they_come() {
    let (options, peer) = gateway(|mut peer| async move {
        peer.shake_hands().await;
        let mut requests = Vec::new();
        for _ in 0..200 {
            requests.push(peer.request().await);
        }
        for request in requests.iter().rev() {
            peer.answer(request, Code::SUCCESS, &request.data).await;
        }
    })
    .await;
    let session = Session::connect(options).await.unwrap();
    let calls = (0..200_u32).map(|number| {
        let session = session.clone();
        async move {
            let data = Bytes::copy_from_slice(&number.to_be_bytes());
            assert_eq!(session.call("/echo", data.clone()).await.unwrap(), data);
        }
    });
    futures_util::future::join_all(calls).await;
    peer.await.unwrap();
}

#[tokio::test]
async fn a_refusal_carries_code_and_message() {
    let (options, _peer) = gateway(|mut peer| async move {
        peer.shake_hands().await;
        let request = peer.request().await;
        let common_resp = codec::refusal(Code::TOAST_ERROR, Some("too many friends"));
        peer.answer(&request, Code::TOAST_ERROR, &common_resp).await;
    })
    .await;
    let session = Session::connect(options).await.unwrap();
    let error = session.call("/x", Bytes::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "ToastError: too many friends");
    let CallError::Refused(refusal) = error else { panic!("{error:?}") };
    assert_eq!(refusal.code, Code::TOAST_ERROR);
    assert_eq!(refusal.common_resp, codec::refusal(Code::TOAST_ERROR, Some("too many friends")));
}

#[tokio::test]
async fn pushes_come_in_order_and_end_with_the_session() {
    let (options, _peer) = gateway(|mut peer| async move {
        peer.shake_hands().await;
        let request = peer.request().await;
        peer.send(codec::push(0, b"one")).await;
        peer.answer(&request, Code::SUCCESS, &[]).await;
        peer.send(codec::push(77, b"two")).await;
        peer.close(1001, "").await;
    })
    .await;
    let session = Session::connect(options).await.unwrap();
    let pushes = session.pushes();
    session.call("/x", Bytes::new()).await.unwrap();
    let pushes: Vec<_> = pushes.collect().await;
    assert_eq!(
        pushes,
        [Push { event: 0, data: bytes("one") }, Push { event: 77, data: bytes("two") }]
    );
}

#[tokio::test]
async fn a_close_fails_every_call_with_its_code_and_reason() {
    let (options, _peer) = gateway(|mut peer| async move {
        peer.shake_hands().await;
        peer.request().await;
        peer.request().await;
        peer.close(3005, "you know why").await;
    })
    .await;
    let session = Session::connect(options).await.unwrap();
    let call = || session.call("/x", Bytes::new());
    let (one, two) = tokio::join!(call(), call());
    let late = call().await;
    let closed = Closed::ByGateway { code: Some(3005), reason: "you know why".to_owned() };
    for outcome in [one, two, late] {
        match outcome.unwrap_err() {
            CallError::Closed(why) => assert_eq!(why, closed),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(session.closed().await, closed);
}

#[tokio::test]
async fn a_gateway_that_vanishes_is_a_lost_connection() {
    let (options, peer) = gateway(|mut peer| async move {
        peer.shake_hands().await;
        peer.request().await;
    })
    .await;
    let session = Session::connect(options).await.unwrap();
    let error = session.call("/x", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, CallError::Closed(Closed::Lost(_))), "{error:?}");
    peer.await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_dropped_harms_no_other() {
    let (options, peer) = gateway(|mut peer| async move {
        peer.shake_hands().await;
        let dropped = peer.request().await;
        let other = peer.request().await;
        peer.answer(&dropped, Code::SUCCESS, b"late").await;
        peer.answer(&other, Code::SUCCESS, b"right").await;
    })
    .await;
    let session = Session::connect(options).await.unwrap();
    tokio::select! {
        biased;
        _ = session.call("/x", Bytes::new()) => panic!("answered"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(session.call("/y", Bytes::new()).await.unwrap(), bytes("right"));
    peer.await.unwrap();
}

#[tokio::test]
async fn a_call_without_an_answer_times_out_and_the_session_goes_on() {
    let (options, peer) = gateway(|mut peer| async move {
        peer.shake_hands().await;
        peer.request().await;
        let second = peer.request().await;
        peer.answer(&second, Code::SUCCESS, &[]).await;
    })
    .await;
    let options = Options { timeout: Duration::from_millis(300), ..options };
    let session = Session::connect(options).await.unwrap();
    let error = session.call("/x", Bytes::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer within 300ms");
    session.call("/y", Bytes::new()).await.unwrap();
    peer.await.unwrap();
}

#[tokio::test]
async fn closing_says_goodbye() {
    let (options, peer) = gateway(|mut peer| async move {
        peer.shake_hands().await;
        match peer.socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1000),
            other => panic!("{other:?}"),
        }
        while peer.socket.next().await.is_some_and(|frame| frame.is_ok()) {}
    })
    .await;
    let session = Session::connect(options).await.unwrap();
    assert_eq!(session.close().await, Closed::ByClient);
    peer.await.unwrap();
}

#[tokio::test]
async fn dropping_the_last_handle_says_goodbye() {
    let (options, peer) = gateway(|mut peer| async move {
        peer.shake_hands().await;
        assert!(matches!(peer.socket.next().await, Some(Ok(Message::Close(_)))));
    })
    .await;
    drop(Session::connect(options).await.unwrap());
    peer.await.unwrap();
}

/// Does the gateway's half of encryption, with `private` as its key.
async fn encrypting_gateway(private: PrivateKey) -> (Options, JoinHandle<()>) {
    gateway_that_chooses(private, None).await
}

/// The same; with `server_iv` it chooses the IV.
async fn gateway_that_chooses(
    private: PrivateKey,
    server_iv: Option<&'static str>,
) -> (Options, JoinHandle<()>) {
    gateway(move |mut peer| async move {
        peer.greet().await;
        if let Some(text) = server_iv {
            let body = AfterConnectBody { aes_iv: text.to_owned() };
            let frame = codec::push(PushEvent::AfterConnect as i32, &body.encode_to_vec());
            peer.socket.send(Message::Binary(frame.freeze())).await.unwrap();
        }
        let request = peer.request().await;
        let device = SetCxnParamsReq::decode(request.data.clone()).unwrap();
        let secret = |sealed: Option<Bytes>| private.unwrap_secret(&sealed.unwrap()).unwrap();
        let (key, iv) = (secret(device.aes_key), secret(device.aes_iv));
        assert!(key.as_bytes() != iv.as_bytes());
        let iv = server_iv.map_or(iv.as_bytes(), str::as_bytes);
        peer.cipher = Some(Cipher::derive(key.as_bytes(), iv));
        // The answer is encrypted already.
        peer.answer(&request, Code::SUCCESS, &[]).await;
        while let Some(Ok(Message::Binary(frame))) = peer.socket.next().await {
            let plain = peer.cipher.as_ref().unwrap().open(frame).unwrap();
            let request = codec::open(&plain).unwrap();
            peer.answer(&request, Code::SUCCESS, &request.data).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_encrypted_session_works_like_a_plain_one() {
    let key = generate_key(2048).unwrap();
    let private = PrivateKey::from_pem(key.private_pem.as_bytes()).unwrap();
    let (options, _peer) = encrypting_gateway(private).await;
    let public = PublicKey::from_pem(&key.public_pem).unwrap();
    let options = Options { encrypt: Some(Arc::new(public)), ..options };
    let session = Session::connect(options).await.unwrap();
    assert_eq!(session.call("/echo", bytes("secret")).await.unwrap(), bytes("secret"));
}

#[tokio::test]
async fn a_gateway_that_chooses_the_iv_is_understood() {
    let key = generate_key(2048).unwrap();
    let private = || PrivateKey::from_pem(key.private_pem.as_bytes()).unwrap();
    let public = Arc::new(PublicKey::from_pem(&key.public_pem).unwrap());
    let (options, _peer) = gateway_that_chooses(private(), Some("chosen there")).await;
    let options = Options { encrypt: Some(Arc::clone(&public)), ..options };
    let session = Session::connect(options).await.unwrap();
    assert_eq!(session.call("/echo", bytes("secret")).await.unwrap(), bytes("secret"));
    let (options, _peer) = gateway_that_chooses(private(), Some("chosen there")).await;
    let options = Options { encrypt: Some(public), ..options };
    raw::open(&options, "zoe", "token").await.unwrap();
}

#[tokio::test]
async fn a_key_of_another_gateway_is_told_from_other_failures() {
    let [private, other] = [(); 2].map(|()| generate_key(2048).unwrap());
    let private = PrivateKey::from_pem(private.private_pem.as_bytes()).unwrap();
    let (options, _peer) = encrypting_gateway(private).await;
    let public = PublicKey::from_pem(&other.public_pem).unwrap();
    let options = Options { encrypt: Some(Arc::new(public)), ..options };
    let error = Session::connect(options).await.err().unwrap();
    assert!(
        matches!(error, ConnectError::Device(CallError::Closed(Closed::Undecryptable))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_device_that_is_refused_opens_no_session() {
    let (options, _peer) = gateway(|mut peer| async move {
        peer.greet().await;
        peer.request().await;
        peer.close(3002, "").await;
    })
    .await;
    let error = Session::connect(options).await.err().unwrap();
    assert!(error.to_string().contains("the platform is missing or none"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_no_gateway_is_told_by_its_greeting() {
    let (options, _peer) = gateway(|mut peer| async move {
        peer.socket.send(Message::text("welcome to the chat")).await.unwrap();
        peer.socket.next().await;
    })
    .await;
    let error = Session::connect(options).await.err().unwrap();
    assert!(error.to_string().contains("its first message is `welcome to the chat`"), "{error}");
}

#[tokio::test]
async fn a_gateway_that_says_nothing_is_not_waited_for_forever() {
    let (options, _peer) = gateway(|mut peer| async move {
        peer.socket.next().await;
    })
    .await;
    let options = Options { timeout: Duration::from_millis(100), ..options };
    let error = Session::connect(options).await.err().unwrap();
    assert_eq!(error.to_string(), "no session within 100ms");
}

#[tokio::test]
async fn nobody_there_and_no_websocket_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Session::connect(Options::new(format!("ws://{address}/ws"))).await.err().unwrap();
    assert!(matches!(error, ConnectError::Dial(DialError::Unreachable { .. })), "{error:?}");

    for url in ["http://127.0.0.1/ws", "127.0.0.1:8080/ws", "ws:///ws", "nonsense", "ws://a b/"] {
        let error = Session::connect(Options::new(url)).await.err().unwrap();
        assert!(matches!(error, ConnectError::Dial(DialError::Url { .. })), "{url}: {error:?}");
    }
}

mod tls {
    use rcgen::CertifiedKey;
    use rustls_pki_types::PrivateKeyDer;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::aws_lc_rs;

    use super::*;

    /// A wss gateway that greets, and the certificate that it shows.
    async fn secure_gateway() -> (String, String) {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://localhost:{}/ws", listener.local_addr().unwrap().port());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(tcp).await {
                    let mut socket = accept_async(stream).await.unwrap();
                    socket.send(Message::text("connected")).await.unwrap();
                    socket.next().await;
                }
            }
        });
        (url, cert.pem())
    }

    async fn connect(url: &str, tls: Option<Tls>) -> Result<Session, ConnectError> {
        Session::connect(Options { tls, device: None, ..Options::new(url) }).await
    }

    #[tokio::test]
    async fn a_certificate_is_believed_by_its_authority_or_by_the_credulous() {
        let (url, pem) = secure_gateway().await;
        let tls = Tls::with_authorities(pem.as_bytes()).unwrap();
        connect(&url, Some(tls)).await.unwrap();
        connect(&url, Some(Tls::insecure().unwrap())).await.unwrap();
    }

    #[tokio::test]
    async fn a_certificate_that_nobody_vouches_for_is_not_believed() {
        let (url, _) = secure_gateway().await;
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert;
        for tls in [None, Some(Tls::with_authorities(other.pem().as_bytes()).unwrap())] {
            let error = connect(&url, tls).await.err().unwrap();
            assert!(matches!(error, ConnectError::Dial(DialError::Tls { .. })), "{error:?}");
        }
    }

    #[test]
    fn authorities_must_be_certificates() {
        assert!(matches!(Tls::with_authorities(b"x"), Err(TlsError::Authorities(_))));
    }
}
