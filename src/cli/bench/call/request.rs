//! The request to send, as arguments: a message in JSON, or bytes.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;

use crate::cli::call::explain;
use crate::cli::catalogue;
use crate::cli::failure::Failure;
use crate::cli::files::file_or_stdin;
use crate::cli::{hex, json};
use crate::client::raw::message::Template;

/// What is sent again and again.
#[derive(Debug, Args)]
#[command(next_help_heading = "Request")]
pub(super) struct RequestArgs {
    /// The method, as clients name it: /v1/user/white/login.
    method: String,
    /// The request in JSON; `-`: standard input, `@FILE`: a file.
    #[arg(default_value = "{}", value_name = "JSON")]
    message: String,
    /// Send these bytes, in hexadecimal, instead of a message in JSON.
    ///
    /// The method's messages need not be described then.
    #[arg(long, value_parser = hex::bytes, conflicts_with_all = ["message", "file"])]
    hex: Option<Bytes>,
    /// Send the bytes in this file; `-` is standard input.
    #[arg(long, value_name = "PATH", conflicts_with = "message")]
    file: Option<PathBuf>,
    #[command(flatten)]
    source: catalogue::Source,
    /// The RPC of the method, in those descriptors: package.Service/Method.
    #[arg(long, requires = "descriptors")]
    rpc: Option<String>,
}

impl RequestArgs {
    pub(super) fn method(&self) -> &str {
        &self.method
    }

    /// The request, but for its `reqId`.
    pub(super) async fn template(&self) -> Result<Template, Failure> {
        Ok(Template::new(&self.method, &self.data().await?))
    }

    async fn data(&self) -> Result<Bytes, Failure> {
        if let Some(bytes) = &self.hex {
            return Ok(bytes.clone());
        }
        if let Some(path) = &self.file {
            return file_or_stdin(path).map(Bytes::from);
        }
        message(&self.source, &self.method, self.rpc.as_deref(), &self.message).await
    }
}

/// A method's request message that is written in JSON.
pub(in crate::cli::bench) async fn message(
    source: &catalogue::Source,
    method: &str,
    rpc: Option<&str>,
    text: &str,
) -> Result<Bytes, Failure> {
    let mut catalogue = source.catalogue().await?;
    if let Some(rpc) = rpc {
        catalogue.add(method, rpc).map_err(explain::unknown)?;
    }
    let messages = catalogue.messages_for(method).map_err(explain::unknown)?;
    json::to_message(&json::text(text)?, &messages.request)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        request: RequestArgs,
    }

    async fn data(arguments: &[&str]) -> Result<Bytes, Failure> {
        Command::parse_from([&["x"], arguments].concat()).request.data().await
    }

    #[tokio::test]
    async fn a_message_is_json_or_bytes() {
        let login = "/v1/user/white/login";
        assert_eq!(data(&[login, r#"{"id": "zoe"}"#]).await.unwrap(), &b"\x12\x03zoe"[..]);
        assert_eq!(data(&["/v1/conn/keepAlive"]).await.unwrap(), "");
        assert_eq!(data(&["/not/known", "--hex", "0a 01 61"]).await.unwrap(), &b"\x0a\x01a"[..]);
        let (text, is_usage) = data(&["/v1/user/login"]).await.unwrap_err().text();
        assert!(is_usage && text.contains("did you mean `/v1/user/white/login`?"), "{text}");
        let (text, is_usage) = data(&[login, r#"{"name": 1}"#]).await.unwrap_err().text();
        assert!(is_usage && text.contains("has the fields"), "{text}");
        let (text, is_usage) = data(&[login, "--file", "/nowhere"]).await.unwrap_err().text();
        assert!(is_usage && text.contains("cannot read /nowhere"), "{text}");
    }

    #[test]
    fn there_is_one_notation() {
        for arguments in [
            &["x"][..],
            &["x", "/v1/a", "{}", "--hex", "00"],
            &["x", "/v1/a", "--file", "a", "--hex", "00"],
            &["x", "/v1/a", "--hex", "0"],
        ] {
            assert!(Command::try_parse_from(arguments).is_err(), "{arguments:?}");
        }
    }
}
