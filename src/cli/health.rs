//! `bridgehead health`: asks a running gateway how it is.
//!
//! For images without a shell or curl: what a container engine's health check
//! runs. What healthy means is decided by the listener that is asked, not here.

use std::time::Duration;

use clap::Args;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::failure::Failure;
use super::output::{Output, print};
use super::runtime;

/// How much of an answer is shown, in bytes.
const ANSWER: usize = 16 * 1024;

/// Ask a running gateway whether it is ready: exit code 0 or 1.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// What to ask: `/readyz` (may clients be sent here?) or `/healthz` (is it
    /// alive?) of the admin listener.
    #[arg(
        long,
        value_name = "URL",
        env = "BRIDGEHEAD_HEALTH_URL",
        default_value = "http://127.0.0.1:9901/readyz"
    )]
    url: Uri,
    /// How long the whole answer may take, such as 500ms or 2s.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// How the answer is printed.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Text)]
    output: Output,
}

/// The outcome as JSON. Keys may be added; those that there are stay what they are.
#[derive(Debug, Serialize)]
struct Report {
    url: String,
    healthy: bool,
    /// Absent where there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// As JSON where it is that, else as a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Health {
    /// Prints what came of it as JSON.
    fn report(&self, place: &Place) -> Result<(), Failure> {
        let answered = runtime::block_on(async {
            Ok(match timeout(self.timeout, answer(place, &self.url)).await {
                Ok(answered) => answered,
                Err(_) => {
                    let limit = humantime::format_duration(self.timeout);
                    Err(format!("no answer within {limit}"))
                }
            })
        })?;
        let url = self.url.to_string();
        let report = match answered {
            Ok((status, text)) => {
                let json = serde_json::from_str(&text);
                let answer = json.unwrap_or_else(|_| text.trim_end().into());
                let healthy = status.is_success();
                let (status, answer) = (Some(status.as_u16()), Some(answer));
                Report { url, healthy, status, answer, error: None }
            }
            Err(error) => {
                Report { url, healthy: false, status: None, answer: None, error: Some(error) }
            }
        };
        print(&serde_json::to_string_pretty(&report).map_err(Failure::failed)?)?;
        if report.healthy { Ok(()) } else { Err(Failure::failed("")) }
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        let place = Place::of(&self.url)?;
        if self.output == Output::Json {
            return self.report(&place);
        }
        let answer = runtime::block_on(async {
            match timeout(self.timeout, ask(&place, &self.url)).await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::failed(format!(
                    "{}: no answer within {}",
                    self.url,
                    humantime::format_duration(self.timeout)
                ))),
            }
        })?;
        print(answer.trim_end())
    }
}

/// Where to connect to.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
}

impl Place {
    fn of(url: &Uri) -> Result<Self, Failure> {
        let (Some("http"), Some(host)) = (url.scheme_str(), url.host()) else {
            return Err(Failure::usage(format!("`{url}` is not the URL of an admin listener"))
                .help("write it as `http://127.0.0.1:9901/readyz`; it speaks plain HTTP"));
        };
        // An IPv6 address is in brackets in a URL, and only there.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: url.port_u16().unwrap_or(80) })
    }
}

/// What the listener answers, if it is good news.
async fn ask(place: &Place, url: &Uri) -> Result<String, Failure> {
    let (status, text) =
        answer(place, url).await.map_err(|why| Failure::failed(why).of(&url.to_string()))?;
    if status.is_success() {
        return Ok(text);
    }
    let text = text.trim();
    let what = if text.is_empty() { String::new() } else { format!(": {text}") };
    Err(Failure::failed(format!("{url}: {status}{what}")))
}

/// Makes one request over a connection of its own. Dropping the future closes it.
async fn answer(place: &Place, url: &Uri) -> Result<(StatusCode, String), String> {
    let stream = TcpStream::connect((place.host.as_str(), place.port))
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    let exchange = async {
        let response = sender.send_request(request(url)?).await;
        read(response.map_err(|error| format!("no answer: {error}"))?).await
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection may end right behind the answer, which is then there.
        _ = connection => exchange.await,
    }
}

fn request(url: &Uri) -> Result<Request<Empty<Bytes>>, String> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let host = url.authority().map_or("", |authority| authority.as_str());
    Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("bridgehead-health/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| error.to_string())
}

async fn read(response: Response<Incoming>) -> Result<(StatusCode, String), String> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER)
        .collect()
        .await
        .map_err(|error| format!("{}, but its text cannot be read: {error}", head.status))?;
    Ok((head.status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// A listener that reads a request, says `answer` and holds on for a while;
    /// the request comes back from the thread.
    fn listener(answer: &'static str, hold: Duration) -> (Uri, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap()).parse().unwrap();
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "the request ended early");
                request.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            thread::sleep(hold);
            String::from_utf8(request).unwrap()
        });
        (url, served)
    }

    fn health(url: Uri) -> Result<(), Failure> {
        Health { url, timeout: Duration::from_secs(10), output: Output::Text }.run()
    }

    #[test]
    fn good_news_is_no_failure() {
        let (url, served) =
            listener("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n", Duration::ZERO);
        let host = url.authority().unwrap().to_string();
        health(url).unwrap();
        let request = served.join().unwrap();
        assert!(request.starts_with("GET /readyz HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {host}\r\n")), "{request}");
    }

    #[test]
    fn an_answer_that_ends_with_its_connection_is_read_whole() {
        let (url, served) = listener("HTTP/1.1 204 No Content\r\n\r\n", Duration::ZERO);
        health(url).unwrap();
        served.join().unwrap();
        let (url, served) = listener("HTTP/1.0 200 OK\r\n\r\nyes", Duration::ZERO);
        let answer = runtime::block_on(ask(&Place::of(&url).unwrap(), &url)).unwrap();
        assert_eq!(answer, "yes");
        served.join().unwrap();
    }

    #[test]
    fn bad_news_fails_and_says_why() {
        let (url, served) = listener(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 12\r\n\r\n{\"nats\":\"x\"}",
            Duration::ZERO,
        );
        let (text, usage) = health(url).unwrap_err().text();
        assert!(text.contains("503 Service Unavailable: {\"nats\":\"x\"}"), "{text}");
        assert!(!usage);
        served.join().unwrap();
    }

    #[test]
    fn nobody_there_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let (text, usage) = health(url).unwrap_err().text();
        assert!(text.contains("cannot connect"), "{text}");
        assert!(!usage);
    }

    #[test]
    fn silence_ends_with_the_timeout() {
        let (url, served) = listener("HTTP/1.1 200 OK\r\n", Duration::from_secs(2));
        let began = Instant::now();
        let silent = Health { url, timeout: Duration::from_millis(200), output: Output::Text };
        let (text, _) = silent.run().unwrap_err().text();
        assert!(text.contains("no answer within 200ms"), "{text}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        served.join().unwrap();
    }

    #[test]
    fn an_endless_answer_is_not_swallowed() {
        let long: &str = Box::leak(
            format!("HTTP/1.1 200 OK\r\ncontent-length: 20000\r\n\r\n{:20000}", "")
                .into_boxed_str(),
        );
        let (url, served) = listener(long, Duration::ZERO);
        let (text, _) = health(url).unwrap_err().text();
        assert!(text.contains("cannot be read"), "{text}");
        drop(served);
    }

    #[test]
    fn something_else_is_no_http() {
        let (url, served) = listener("SSH-2.0-x\r\n", Duration::ZERO);
        let (text, _) = health(url).unwrap_err().text();
        assert!(text.contains("no answer"), "{text}");
        served.join().unwrap();
    }

    #[test]
    fn urls_are_taken_apart() {
        let place = |url: &str| Place::of(&url.parse().unwrap());
        let is = |host: &str, port| Place { host: host.to_owned(), port };
        assert_eq!(place("http://[::1]:9901/readyz").unwrap(), is("::1", 9901));
        assert_eq!(place("http://gateway/healthz").unwrap(), is("gateway", 80));
        for wrong in ["https://127.0.0.1:9901/readyz", "127.0.0.1:9901", "/readyz"] {
            let (text, usage) = place(wrong).unwrap_err().text();
            assert!(usage && text.contains("http://127.0.0.1:9901/readyz"), "{wrong}: {text}");
        }
    }
}
