//! `bridgehead health`: asks a running gateway how it is.
//!
//! The command of a container engine's health check, for images without a shell or
//! curl. The listener that is asked, not this command, decides on health.

use std::fmt::Display;
use std::io;
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
use super::output::{Output, print, print_with_verdict};
use super::{limits, runtime};

/// How much of an answer is shown, in bytes.
const ANSWER: usize = 16 * 1024;
/// The path that is asked where the URL has none.
const READINESS: &str = "/readyz";

const NOT_RUNNING: &str = "is the gateway running (`bridgehead serve`), and does its configuration \
     have an `admin` section? Its address is admin.listen; name it with --url";
const NO_SUCH_HOST: &str = "is the host's name right? Name the address of the admin listener \
     (admin.listen of `bridgehead serve`) with --url";
const NOT_HTTP: &str = "something that does not speak plain HTTP/1.1 listens there: name the admin \
     listener (admin.listen of `bridgehead serve`, by default port 9901) with --url";
const ANOTHER_SERVER: &str = "is it the admin listener (admin.listen of `bridgehead serve`, by \
     default port 9901)? It answers at /readyz and /healthz; name it with --url";
const SLOW: &str = "a longer --timeout may help; is it the admin listener (admin.listen of \
     `bridgehead serve`)? Name it with --url";

/// Ask a running gateway whether it is ready: exit code 0 or 1.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// The admin listener, with `/readyz` (may clients be sent here?) or `/healthz`
    /// (is it alive?); without a path, `/readyz` is meant.
    #[arg(
        long,
        value_name = "URL",
        env = "BRIDGEHEAD_HEALTH_URL",
        default_value = "http://127.0.0.1:9901/readyz"
    )]
    url: Uri,
    /// How long the whole answer may take, such as 500ms or 2s.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = limits::time_limit)]
    timeout: Duration,
    /// How the answer is printed.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Text)]
    output: Output,
}

/// The outcome as JSON. Keys may be added; existing ones do not change.
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
    /// A possible remedy, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'static str>,
}

/// The response.
struct Answer {
    status: StatusCode,
    text: String,
}

/// There is no answer.
#[derive(Debug)]
struct NoAnswer {
    reason: String,
    help: &'static str,
}

impl NoAnswer {
    fn unreachable(error: &io::Error) -> Self {
        let help = match error.kind() {
            io::ErrorKind::ConnectionRefused => NOT_RUNNING,
            _ => NO_SUCH_HOST,
        };
        Self { reason: format!("cannot connect: {error}"), help }
    }

    fn not_http(error: &dyn Display) -> Self {
        Self { reason: format!("no answer: {error}"), help: NOT_HTTP }
    }
}

impl Answer {
    /// A gateway that is not ready says why. Other statuses are those of other servers.
    fn help(&self) -> Option<&'static str> {
        let is_gateways = self.status.is_success() || self.status.as_u16() == 503;
        (!is_gateways).then_some(ANOTHER_SERVER)
    }
}

impl Health {
    pub(super) fn run(mut self) -> Result<(), Failure> {
        self.url = with_path(self.url);
        let place = Place::of(&self.url)?;
        let answered = runtime::block_on(async {
            let limit = humantime::format_duration(self.timeout);
            let silence = || NoAnswer { reason: format!("no answer within {limit}"), help: SLOW };
            let asked = timeout(self.timeout, ask(&place, &self.url)).await;
            Ok(asked.unwrap_or_else(|_| Err(silence())))
        })?;
        match self.output {
            Output::Json => self.report(answered),
            Output::Text => print(self.good_news(answered)?.trim_end()),
        }
    }

    /// The text of an answer that is good news.
    fn good_news(&self, answered: Result<Answer, NoAnswer>) -> Result<String, Failure> {
        let url = &self.url;
        let answer = answered.map_err(|NoAnswer { reason, help }| {
            Failure::failed(format!("{url}: {reason}")).help(help)
        })?;
        if answer.status.is_success() {
            return Ok(answer.text);
        }
        let help = answer.help();
        let text = match answer.text.trim() {
            "" => String::new(),
            text => format!(": {text}"),
        };
        let failure = Failure::failed(format!("{url}: {}{text}", answer.status));
        Err(help.into_iter().fold(failure, Failure::help))
    }

    /// Prints the outcome as JSON.
    fn report(&self, answered: Result<Answer, NoAnswer>) -> Result<(), Failure> {
        let url = self.url.to_string();
        let report = match answered {
            Ok(answer) => Report {
                url,
                healthy: answer.status.is_success(),
                status: Some(answer.status.as_u16()),
                help: answer.help(),
                answer: Some(
                    serde_json::from_str(&answer.text)
                        .unwrap_or_else(|_| answer.text.trim_end().into()),
                ),
                error: None,
            },
            Err(NoAnswer { reason, help }) => Report {
                url,
                healthy: false,
                status: None,
                answer: None,
                error: Some(reason),
                help: Some(help),
            },
        };
        let verdict = if report.healthy { Ok(()) } else { Err(Failure::failed("")) };
        let text = serde_json::to_string_pretty(&report).map_err(Failure::failed)?;
        print_with_verdict(&text, verdict)
    }
}

/// The URL to ask: without a path, that of readiness.
fn with_path(url: Uri) -> Uri {
    if url.path() != "/" {
        return url;
    }
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = url.clone().into_parts();
    parts.path_and_query = format!("{READINESS}{query}").parse().ok();
    Uri::from_parts(parts).unwrap_or(url)
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

/// Makes one request over a connection of its own. Dropping the future closes it.
async fn ask(place: &Place, url: &Uri) -> Result<Answer, NoAnswer> {
    let stream = TcpStream::connect((place.host.as_str(), place.port))
        .await
        .map_err(|error| NoAnswer::unreachable(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| NoAnswer::not_http(&error))?;
    let exchange = async {
        let request = request(url).map_err(|error| NoAnswer::not_http(&error))?;
        let response = sender.send_request(request).await;
        read(response.map_err(|error| NoAnswer::not_http(&error))?).await
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection may end right behind the answer, which is then there.
        _ = connection => exchange.await,
    }
}

fn request(url: &Uri) -> Result<Request<Empty<Bytes>>, http::Error> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let host = url.authority().map_or("", |authority| authority.as_str());
    Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("bridgehead-health/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::new())
}

async fn read(response: Response<Incoming>) -> Result<Answer, NoAnswer> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER).collect().await.map_err(|error| NoAnswer {
        reason: format!("{}, but its text cannot be read: {error}", head.status),
        help: ANOTHER_SERVER,
    })?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok(Answer { status: head.status, text })
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
        let answer =
            runtime::block_on(async { Ok(ask(&Place::of(&url).unwrap(), &url).await.unwrap()) });
        assert_eq!(answer.unwrap().text, "yes");
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
        assert!(text.contains("`bridgehead serve`") && text.contains("--url"), "{text}");
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
        assert!(text.contains("no answer") && text.contains("--url"), "{text}");
        served.join().unwrap();
    }

    #[test]
    fn without_a_path_readiness_is_asked_for() {
        let url = |text: &str| with_path(text.parse().unwrap()).to_string();
        assert_eq!(url("http://a:9901"), "http://a:9901/readyz");
        assert_eq!(url("http://a:9901/"), "http://a:9901/readyz");
        assert_eq!(url("http://a:9901/?x"), "http://a:9901/readyz?x");
        assert_eq!(url("http://a:9901/healthz"), "http://a:9901/healthz");
        assert_eq!(url("a:9901"), "a:9901", "not a URL; refused later");
    }

    #[test]
    fn another_server_is_recognised_by_its_status() {
        let (url, served) =
            listener("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno", Duration::ZERO);
        let (text, _) = health(url).unwrap_err().text();
        assert!(text.contains("404 Not Found: no") && text.contains("--url"), "{text}");
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
