//! Where the Push API is, as arguments; and calls that fail in words.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;
use tonic::{Response, Status, Streaming};

use super::explain;
use crate::cli::failure::Failure;
use crate::cli::files::{file, unusable};
use crate::cli::limits;
use crate::client::push::{self, Bearer, PushClient, PushOptions};
use crate::client::{DialError, Tls, TlsError};

/// How to reach the Push API.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(in crate::cli) struct Connection {
    /// The URL of the Push API: http://… or https://…
    #[arg(
        long,
        value_name = "URL",
        env = "BRIDGEHEAD_PUSH_URL",
        default_value = "http://127.0.0.1:9090"
    )]
    push_url: String,
    /// One of the gateway's push.tokens, if it has any.
    ///
    /// The environment variable is safer: other users of the machine can see command
    /// lines.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "BRIDGEHEAD_PUSH_TOKEN",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    push_token: String,
    /// Trust only certificates of these authorities (https).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The client certificate (https), if the gateway asks for one.
    #[arg(long, value_name = "FILE", requires = "key", hide_short_help = true)]
    cert: Option<PathBuf>,
    /// The private key of that certificate.
    #[arg(long, value_name = "FILE", requires = "cert", hide_short_help = true)]
    key: Option<PathBuf>,
    /// How long connecting may take, and each answer.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        value_parser = limits::time_limit
    )]
    timeout: Duration,
}

/// A gateway's Push API that answers.
#[derive(Debug)]
pub(in crate::cli) struct Gateway {
    pub(in crate::cli) client: PushClient,
    pub(in crate::cli) timeout: Duration,
    has_token: bool,
    security: explain::Security,
    url: String,
    tls: Option<Tls>,
}

impl Connection {
    /// How long connecting may take, and each answer.
    pub(in crate::cli) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(in crate::cli) async fn open(self) -> Result<Gateway, Failure> {
        let options = self.options()?;
        let (timeout, has_token) = (self.timeout, !options.bearer.is_empty());
        let security = match (self.is_plain(), &self.cert) {
            (true, _) => explain::Security::Plain,
            (false, None) => explain::Security::Tls,
            (false, Some(_)) => explain::Security::MutualTls,
        };
        let (url, tls) = (options.url.clone(), options.tls.clone());
        let client = match push::connect(options).await {
            Ok(client) => client,
            Err(error @ DialError::Http2 { .. }) => {
                let failure = explain::dialling(&error);
                return Err(explain::stranger(failure, push::recognise(&url, tls.as_ref()).await));
            }
            Err(error) => return Err(explain::dialling(&error)),
        };
        Ok(Gateway { client, timeout, has_token, security, url, tls })
    }

    fn options(&self) -> Result<PushOptions, Failure> {
        let bearer = Bearer::new(&self.push_token).map_err(Failure::usage)?;
        let tls = self.tls()?;
        Ok(PushOptions { url: self.push_url.clone(), bearer, tls, timeout: self.timeout })
    }

    fn is_plain(&self) -> bool {
        self.push_url.starts_with("http://")
    }

    fn tls(&self) -> Result<Option<Tls>, Failure> {
        let is_plain = self.is_plain();
        let given = [("--ca", &self.ca), ("--cert", &self.cert)];
        if let Some((flag, _)) = given.iter().find(|(_, path)| is_plain && path.is_some()) {
            // Else one would believe to be safe, and send the token in plain text.
            let wrong = format!("{flag} is for https://, but the URL is {}", self.push_url);
            return Err(Failure::usage(wrong).help("name an https:// URL with --push-url"));
        }
        let roots = match &self.ca {
            Some(path) => {
                Tls::with_authorities(&file(path)?).map_err(|error| unusable(path, &error))
            }
            None => Tls::public().map_err(Failure::failed),
        };
        match (&self.cert, &self.key) {
            _ if is_plain => Ok(None),
            (Some(cert), Some(key)) => {
                let shown = roots?.with_identity(&file(cert)?, &file(key)?);
                shown.map(Some).map_err(|error| match &error {
                    TlsError::Certificate(_) => unusable(cert, &error),
                    TlsError::Key(_) => unusable(key, &error),
                    _ => {
                        let named = format!("{} with {}", cert.display(), key.display());
                        unusable(named.as_ref(), &error)
                    }
                })
            }
            _ => roots.map(Some),
        }
    }
}

impl Gateway {
    /// Waits for the answer to a call.
    pub(in crate::cli) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match timeout(self.timeout, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.refused(&status).await),
            Err(_) => {
                let limit = humantime::format_duration(self.timeout);
                Err(Failure::failed(format!("the gateway did not answer within {limit}"))
                    .help("a longer --timeout may help, if the network is slow"))
            }
        }
    }

    /// The next message of an answer; none at its end.
    pub(in crate::cli) async fn next<T>(
        &self,
        answers: &mut Streaming<T>,
    ) -> Result<Option<T>, Failure> {
        answers.message().await.map_err(|status| match explain::lost(&status) {
            Some(lost) => lost,
            None => explain::status(&status, self.has_token),
        })
    }

    /// There is no answer: a connection that breaks at the first call was to
    /// another kind of server, or lacked the security that it wants.
    async fn refused(&self, status: &Status) -> Failure {
        match explain::lost(status) {
            Some(lost) => {
                let stranger = push::recognise(&self.url, self.tls.as_ref()).await;
                explain::stranger(explain::unfit(lost, self.security), stranger)
            }
            None => explain::status(status, self.has_token),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        connection: Connection,
    }

    fn failure(arguments: &[&str]) -> (String, bool) {
        let command = [&["x"], arguments].concat();
        Command::parse_from(command).connection.options().unwrap_err().text()
    }

    #[test]
    fn a_certificate_without_tls_is_refused() {
        let (text, is_usage) = failure(&["--push-url", "http://x", "--ca", "ca.pem"]);
        assert!(is_usage && text.contains("--ca is for https://"), "{text}");
        let identity = ["--push-url", "http://x", "--cert", "c.pem", "--key", "k.pem"];
        assert!(failure(&identity).0.contains("--cert is for https://"));
    }

    #[test]
    fn a_certificate_needs_its_key() {
        assert!(Command::try_parse_from(["x", "--cert", "c.pem"]).is_err());
        assert!(Command::try_parse_from(["x", "--key", "k.pem"]).is_err());
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let empty = empty.to_str().unwrap();
        let url = ["--push-url", "https://x"];
        for (arguments, says) in [
            (&["--ca", "/nowhere"][..], "cannot read /nowhere"),
            (&["--ca", empty], "empty.pem: the file is empty; a certificate"),
            (&["--cert", empty, "--key", empty], "empty.pem: the file is empty; a certificate"),
        ] {
            let (text, is_usage) = failure(&[&url, arguments].concat());
            assert!(is_usage && text.contains(says), "{text}");
        }
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        let (text, is_usage) = failure(&["--push-token", "a\nb"]);
        assert!(is_usage && text.contains("the token has a character"), "{text}");
    }
}
