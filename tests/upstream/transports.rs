//! Calls work over every kind of address.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::support::grpc::{
    Handler, Server, Setup, ask, bind, config, echo, handler, try_bind, upstream,
};
use bridgehead::upstream::{Address, Config, Lookup, Origin, Pem, Resolver, TlsConfig, Upstream};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tonic::Code;

#[tokio::test]
async fn http_reaches_one_endpoint_by_address_or_name() {
    let server = Server::start(Setup::new(echo()));
    let port = server.address.port();
    for address in [server.url(), format!("http://localhost:{port}")] {
        let upstream = upstream(&[&address]);
        assert_eq!(ask(&upstream, "hello").await.unwrap(), "hello", "{address}");
    }
}

#[tokio::test]
async fn a_unix_socket_is_reached_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grpc.sock");
    let _server = Server::start_unix(&path, Setup::new(echo()));
    let upstream = upstream(&[&format!("unix://{}", path.display())]);
    assert_eq!(ask(&upstream, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_dns_name_is_resolved_by_the_operating_system() {
    let server = Server::start(Setup::new(echo()));
    let upstream = upstream(&[&format!("dns:///localhost:{}", server.address.port())]);
    assert_eq!(ask(&upstream, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_dns_name_is_one_endpoint_for_each_of_its_addresses() {
    let (v4, v6) = both_loopbacks();
    let port = v4.local_addr().unwrap().port();
    let _v4 = Server::start_on(v4, Setup::new(says("v4")));
    let _v6 = Server::start_on(v6, Setup::new(says("v6")));
    let config = config(&[&format!("dns:///both:{port}")]);
    let resolver: Arc<dyn Resolver> = Arc::new(Loopbacks);
    let upstream = Arc::new(Upstream::with_resolver(config, 1, &resolver).unwrap());
    assert_eq!(who_answers(&upstream).await, BTreeSet::from(["v4".into(), "v6".into()]));
    let addresses: Vec<_> =
        upstream.status().iter().map(|status| status.address.to_string()).collect();
    assert_eq!(
        addresses,
        [
            format!("dns:///both:{port} (127.0.0.1:{port})"),
            format!("dns:///both:{port} ([::1]:{port})"),
        ]
    );
}

#[tokio::test]
async fn a_list_spreads_calls_over_all_of_its_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grpc.sock");
    let one = Server::start(Setup::new(says("tcp")));
    let _two = Server::start_unix(&path, Setup::new(says("unix")));
    let upstream = upstream(&[&one.url(), &format!("unix://{}", path.display())]);
    assert_eq!(who_answers(&upstream).await, BTreeSet::from(["tcp".into(), "unix".into()]));
}

#[tokio::test]
async fn https_proves_both_sides_when_both_have_certificates() {
    let authority = Authority::new();
    let server = Server::start(authority.server("localhost", echo()));
    let address = format!("https://localhost:{}", server.address.port());
    let client = authority.issue("gateway");
    let tls = TlsConfig {
        ca: Some(authority.ca()),
        cert: Some(Pem::new("cert", client.0)),
        key: Some(Pem::new("key", client.1)),
        domain: None,
    };
    let upstream = secure_upstream(&address, tls);
    assert_eq!(ask(&upstream, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_dns_name_is_secured_when_tls_is_set() {
    let authority = Authority::new();
    let server = Server::start(authority.open_server("localhost", echo()));
    let tls = TlsConfig { ca: Some(authority.ca()), ..TlsConfig::default() };
    let address = format!("dns:///localhost:{}", server.address.port());
    assert_eq!(ask(&secure_upstream(&address, tls), "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_gateway_without_the_certificate_the_service_demands_is_refused() {
    let authority = Authority::new();
    let server = Server::start(authority.server("localhost", echo()));
    let address = format!("https://localhost:{}", server.address.port());
    let tls = TlsConfig { ca: Some(authority.ca()), ..TlsConfig::default() };
    let error = ask(&secure_upstream(&address, tls), "hello").await.unwrap_err();
    assert_eq!(error.status.code(), Code::Unavailable);
    assert_eq!(error.origin, Origin::Gateway);
}

#[tokio::test]
async fn the_name_in_the_certificate_must_be_the_one_expected() {
    let authority = Authority::new();
    let server = Server::start(authority.open_server("msg.internal", echo()));
    let address = format!("https://localhost:{}", server.address.port());
    let tls = |domain: Option<&str>| TlsConfig {
        ca: Some(authority.ca()),
        domain: domain.map(Into::into),
        ..TlsConfig::default()
    };
    let right = secure_upstream(&address, tls(Some("msg.internal")));
    assert_eq!(ask(&right, "hello").await.unwrap(), "hello");
    let error = ask(&secure_upstream(&address, tls(None)), "hello").await.unwrap_err();
    assert_eq!(error.status.code(), Code::Unavailable);
    assert!(error.status.message().contains("certificate"), "{}", error.status.message());
}

#[tokio::test]
async fn a_certificate_nobody_trusted_signed_is_refused() {
    let server = Server::start(Authority::new().open_server("localhost", echo()));
    let address = format!("https://localhost:{}", server.address.port());
    for ca in [None, Some(Authority::new().ca())] {
        let tls = TlsConfig { ca, ..TlsConfig::default() };
        let error = ask(&secure_upstream(&address, tls), "hello").await.unwrap_err();
        assert_eq!(error.status.code(), Code::Unavailable);
        assert!(error.status.message().contains("TLS"), "{}", error.status.message());
    }
}

#[tokio::test]
async fn a_plain_port_behind_https_is_said_to_be_one() {
    let server = Server::start(Setup::new(says("plain")));
    let tls = TlsConfig { ca: Some(Authority::new().ca()), ..TlsConfig::default() };
    let address = format!("https://{}", server.address);
    let error = ask(&secure_upstream(&address, tls), "hello").await.unwrap_err();
    assert_eq!(error.status.code(), Code::Unavailable);
    assert!(error.status.message().contains("write http:// instead of https://"), "{error}");
}

#[tokio::test]
async fn a_peer_that_is_no_http2_server_is_named_in_the_error() {
    let listener = bind("127.0.0.1:0".parse().unwrap());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 24]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let error = ask(&upstream(&[&format!("http://{address}")]), "hello").await.unwrap_err();
    assert_eq!(error.status.code(), Code::Unavailable);
    assert!(error.status.message().contains("does not speak HTTP/2"), "{error}");
}

fn says(name: &'static str) -> Handler {
    handler(move |_| async move { Ok(name.into()) })
}

/// The answers to enough calls to reach every endpoint, but for chance.
async fn who_answers(upstream: &Arc<Upstream>) -> BTreeSet<String> {
    upstream.warm(0);
    let expected = 2 * 2;
    crate::support::grpc::eventually("all connections are up", || {
        upstream.status().iter().map(|status| status.connections).sum::<usize>() == expected
    })
    .await;
    let mut answers = BTreeSet::new();
    for _ in 0..100 {
        let answer = ask(upstream, "who?").await.unwrap();
        answers.insert(String::from_utf8(answer.to_vec()).unwrap());
    }
    answers
}

/// A name with an address of either kind, which few machines have at hand.
struct Loopbacks;

impl Resolver for Loopbacks {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> Lookup<'a> {
        let v4 = SocketAddr::from(([127, 0, 0, 1], port));
        let v6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
        Box::pin(async move { Ok(vec![v4, v6, v4]) })
    }
}

/// The same free port on both loopback addresses.
fn both_loopbacks() -> (std::net::TcpListener, std::net::TcpListener) {
    for _ in 0..100 {
        let v4 = bind("127.0.0.1:0".parse().unwrap());
        let port = v4.local_addr().unwrap().port();
        if let Ok(v6) = try_bind(format!("[::1]:{port}").parse().unwrap()) {
            return (v4, v6);
        }
    }
    panic!("no port is free on both");
}

fn secure_upstream(address: &str, tls: TlsConfig) -> Arc<Upstream> {
    let address = vec![Address::parse(address).unwrap()];
    let config = Config { address, tls: Some(tls), ..config(&[]) };
    Arc::new(Upstream::new(config, 1).unwrap())
}

/// A certificate authority of the test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn ca(&self) -> Pem {
        Pem::new("ca", self.0.pem())
    }

    /// A certificate and its key.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// A server that demands a certificate of its clients.
    fn server(&self, name: &str, handler: Handler) -> Setup {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
        let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
        self.set_up(name, handler, builder)
    }

    /// A server that does not.
    fn open_server(&self, name: &str, handler: Handler) -> Setup {
        self.set_up(name, handler, ServerConfig::builder().with_no_client_auth())
    }

    fn set_up(
        &self,
        name: &str,
        handler: Handler,
        builder: tokio_rustls::rustls::ConfigBuilder<
            ServerConfig,
            tokio_rustls::rustls::server::WantsServerCert,
        >,
    ) -> Setup {
        use rustls_pki_types::pem::PemObject;
        use rustls_pki_types::{CertificateDer, PrivateKeyDer};
        let (cert, key) = self.issue(name);
        let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut tls = builder.with_single_cert(vec![cert], key).unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Setup { tls: Some(Arc::new(tls)), ..Setup::new(handler) }
    }
}
