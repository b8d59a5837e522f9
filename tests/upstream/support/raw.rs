//! An HTTP/2 server below gRPC, for peers that break its rules.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;

/// One request, and the way to answer it.
pub struct Exchange {
    /// How many requests came before it, on any connection.
    pub number: usize,
    pub request: Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
}

impl Exchange {
    /// Reads the request to its end, as most servers do before they answer.
    pub async fn read(&mut self) {
        let body = self.request.body_mut();
        while let Some(Ok(chunk)) = body.data().await {
            let _ = body.flow_control().release_capacity(chunk.len());
        }
    }

    /// Answers with a head, a body and trailers.
    pub fn answer(mut self, head: Response<()>, body: &'static [u8], trailers: HeaderMap) {
        let mut stream = self.respond.send_response(head, false).unwrap();
        stream.send_data(Bytes::from_static(body), false).unwrap();
        stream.send_trailers(trailers).unwrap();
    }

    /// Answers with a head alone.
    pub fn answer_head(mut self, head: Response<()>) {
        self.respond.send_response(head, true).unwrap();
    }

    /// Answers properly, with a message.
    pub fn answer_well(self, body: &'static [u8]) {
        self.answer(grpc_head(), body, headers(&[("grpc-status", "0")]));
    }
}

/// The head of a proper answer.
pub fn grpc_head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

pub fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// Serves in the test's own runtime until it ends.
pub async fn serve<F, A>(answer: F) -> SocketAddr
where
    F: Fn(Exchange) -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    let numbers = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (answer, numbers) = (Arc::clone(&answer), Arc::clone(&numbers));
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    let number = numbers.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(answer(Exchange { number, request, respond }));
                }
            });
        }
    });
    address
}
