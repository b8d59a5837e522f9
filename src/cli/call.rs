//! `bridgehead call`: a real client, for one call or for listening.
//!
//! Everything that can be wrong with the command line is found before
//! anything is sent.

pub(super) mod explain;
mod pushed;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use hyper::http::{HeaderName, HeaderValue};
use prost_reflect::MessageDescriptor;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::catalogue::{self, Catalogue};
use super::failure::Failure;
use super::files::{file, unusable};
use super::output::{note, print};
use super::{json, limits, runtime};
use crate::client::{Options, Pushes, Session, Tls};
use crate::protocol::seed::PublicKey;
use pushed::Events;

/// Call a method as a client does, and print the answer.
#[derive(Debug, Args)]
pub(super) struct Call {
    /// The method, as clients name it: /v1/user/white/login.
    #[arg(required_unless_present = "listen")]
    method: Option<String>,
    /// The request in JSON; `-`: standard input, `@FILE`: a file.
    #[arg(default_value = "{}")]
    json: String,
    /// The gateway's URL.
    #[arg(long, env = "BRIDGEHEAD_URL", default_value = "ws://127.0.0.1:8080/ws")]
    url: String,
    /// Log in as this user before the call.
    #[arg(long)]
    user: Option<String>,
    /// The token of that user.
    #[arg(
        long,
        env = "BRIDGEHEAD_TOKEN",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    token: String,
    /// Encrypt the session, with the gateway's public key.
    #[arg(long, value_name = "PUBLIC_KEY.pem")]
    encrypt: Option<PathBuf>,
    /// A header of the upgrade request, as 'Name: value'. May be repeated.
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Stay connected and print each push as a line of JSON, until Ctrl-C.
    #[arg(long, help_heading = "Listening")]
    listen: bool,
    /// The message type of pushed data, such as pb.MsgDataList.
    ///
    /// The data of each event is decoded as that message, and printed as hex if it
    /// cannot be, or not completely. Without this option, events with number 0 are decoded as
    /// pb.MsgDataList if the descriptors have it.
    #[arg(long = "type", value_name = "MESSAGE", requires = "listen", help_heading = "Listening")]
    message: Option<String>,
    /// The platform of this client.
    #[arg(long, default_value = "web")]
    platform: String,
    /// The device id of this client [default: a new one].
    #[arg(long)]
    device: Option<String>,
    /// How long connecting and calling may take, each.
    #[arg(long, default_value = "10s", value_parser = limits::time_limit)]
    timeout: Duration,
    #[command(flatten)]
    source: catalogue::Source,
    /// The RPC of the method, in those descriptors: package.Service/Method.
    #[arg(long, requires = "descriptors", help_heading = "Descriptors")]
    rpc: Option<String>,
    /// Trust only certificates of these authorities (wss).
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    ca: Option<PathBuf>,
    /// Accept any certificate (wss): for tests only.
    #[arg(long, conflicts_with = "ca", help_heading = "TLS")]
    insecure: bool,
}

/// A call with its request ready.
struct Request {
    method: String,
    data: Bytes,
    response: MessageDescriptor,
}

impl Call {
    pub(super) fn run(self) -> Result<(), Failure> {
        let options = self.options()?;
        runtime::block_on(async {
            let catalogue = self.catalogue().await?;
            let request = self.request(&catalogue)?;
            let events = match &self.message {
                Some(name) => {
                    Events::Of(catalogue.message(name).map_err(explain::unknown_message)?)
                }
                None => Events::Known(&catalogue),
            };
            self.converse(options, request, &events).await
        })
    }

    fn options(&self) -> Result<Options, Failure> {
        let mut options = Options::new(&self.url);
        options.headers.clone_from(&self.headers);
        options.timeout = self.timeout;
        if let Some(device) = &mut options.device {
            device.platform.clone_from(&self.platform);
            if let Some(id) = &self.device {
                device.device_id.clone_from(id);
            }
        }
        if let Some(path) = &self.encrypt {
            let key = PublicKey::from_pem(file(path)?).map_err(|error| unusable(path, &error))?;
            options.encrypt = Some(Arc::new(key));
        }
        options.tls = match (&self.ca, self.insecure) {
            (Some(path), _) => {
                let tls = Tls::with_authorities(&file(path)?);
                Some(tls.map_err(|error| unusable(path, &error))?)
            }
            (None, true) => Some(Tls::insecure().map_err(Failure::failed)?),
            (None, false) => None,
        };
        Ok(options)
    }

    /// The catalogue with the messages that the method takes and returns.
    async fn catalogue(&self) -> Result<Catalogue, Failure> {
        let mut catalogue = self.source.catalogue().await?;
        if let (Some(method), Some(rpc)) = (&self.method, &self.rpc) {
            catalogue.add(method, rpc).map_err(explain::unknown)?;
        }
        Ok(catalogue)
    }

    fn request(&self, catalogue: &Catalogue) -> Result<Option<Request>, Failure> {
        let Some(method) = &self.method else { return Ok(None) };
        let messages = catalogue.messages_for(method).map_err(explain::unknown)?;
        let data = json::to_message(&json::text(&self.json)?, &messages.request)?;
        Ok(Some(Request { method: method.clone(), data, response: messages.response }))
    }

    async fn converse(
        &self,
        options: Options,
        request: Option<Request>,
        events: &Events<'_>,
    ) -> Result<(), Failure> {
        let session = Session::connect(options).await.map_err(explain::connecting)?;
        // From here on Ctrl-C means the end of listening, not that of the process.
        let interrupt = self.listen.then(|| signal(SignalKind::interrupt())).transpose();
        let interrupt = interrupt.map_err(Failure::failed)?;
        let pushes = self.listen.then(|| session.pushes());
        if let Some(user) = &self.user {
            session.login(user, &self.token).await.map_err(|error| explain::login(&error))?;
        }
        if let Some(Request { method, data, response }) = request {
            let is_logged_in = self.user.is_some();
            let answer = session.call(&method, data).await;
            let answer = answer.map_err(|error| explain::calling(error, is_logged_in))?;
            print(&format!("{:#}", json::from_message(answer, response)?))?;
        }
        if let (Some(pushes), Some(interrupt)) = (pushes, interrupt) {
            return self.listen(session, pushes, interrupt, events).await;
        }
        session.close().await;
        Ok(())
    }

    /// Prints pushes until Ctrl-C, or until the session is over.
    async fn listen(
        &self,
        session: Session,
        mut pushes: Pushes,
        mut interrupt: Signal,
        events: &Events<'_>,
    ) -> Result<(), Failure> {
        let is_logged_in = self.user.is_some();
        if !is_logged_in {
            note("no push will come: pushes reach logged-in sessions only; log in with --user");
        }
        note("listening; Ctrl-C ends it");
        loop {
            tokio::select! {
                push = pushes.next() => match push {
                    Some(push) => print(&pushed::line(&push, events))?,
                    None => {
                        return Err(explain::closed(&session.closed().await, is_logged_in));
                    }
                },
                _ = interrupt.recv() => {
                    session.close().await;
                    return Ok(());
                }
            }
        }
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("it has no colon: expected 'Name: value'")?;
    let name = name
        .trim()
        .parse()
        .map_err(|_| format!("`{}` is not the name of a header", name.trim()))?;
    let value =
        value.trim().parse().map_err(|_| "the value of a header must be visible ASCII text")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_a_name_and_a_value() {
        let (name, value) = header("X-Trace:  a:b ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-trace", "a:b"));
        for text in ["X-Trace", "a b: c", ": c", "a: \u{7f}"] {
            assert!(header(text).is_err(), "{text}");
        }
    }
}
