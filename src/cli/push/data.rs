//! The data to push, as arguments: bytes, in one of several notations.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;

use crate::cli::catalogue::{self, CatalogueError};
use crate::cli::failure::Failure;
use crate::cli::files::file_or_stdin;
use crate::cli::hex;
use crate::cli::json;

/// The data of the event.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub(super) struct Data {
    #[command(flatten)]
    notation: Notation,
    /// The message type of --json, such as pb.MsgDataList.
    #[arg(long = "type", value_name = "MESSAGE", conflicts_with_all = ["text", "hex", "file"])]
    message: Option<String>,
    #[command(flatten)]
    source: catalogue::Source,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Notation {
    /// A text, in UTF-8.
    #[arg(long)]
    text: Option<String>,
    /// Bytes in hexadecimal.
    #[arg(long, value_parser = hex::bytes, hide_short_help = true)]
    hex: Option<Bytes>,
    /// The content of a file; `-` is standard input.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// A message of --type in JSON; `-`: standard input, `@FILE`: a file.
    #[arg(long, value_name = "JSON", requires = "message")]
    json: Option<String>,
}

impl Data {
    pub(super) async fn bytes(self) -> Result<Bytes, Failure> {
        let Notation { text, hex, file, json } = self.notation;
        if let Some(bytes) = text.map(Bytes::from).or(hex) {
            return Ok(bytes);
        }
        if let Some(path) = file {
            return file_or_stdin(&path).map(Bytes::from);
        }
        let text = json::text(&json.unwrap_or_default())?;
        let catalogue = self.source.catalogue().await?;
        let message = catalogue.message(&self.message.unwrap_or_default()).map_err(unknown)?;
        json::to_message(&text, &message)
    }
}

fn unknown(error: CatalogueError) -> Failure {
    Failure::usage(error).help(
        "name a FileDescriptorSet that has it with --descriptors, or the gateway's configuration \
         with -c",
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::proto::demo;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        data: Data,
    }

    async fn bytes(arguments: &[&str]) -> Result<Bytes, Failure> {
        Command::parse_from([&["x"], arguments].concat()).data.bytes().await
    }

    #[tokio::test]
    async fn data_has_one_of_several_notations() {
        assert_eq!(bytes(&["--text", "hé"]).await.unwrap(), "hé");
        assert_eq!(bytes(&["--text", ""]).await.unwrap(), "");
        assert_eq!(bytes(&["--hex", "00:fF 10"]).await.unwrap(), &b"\x00\xff\x10"[..]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, b"\x00\xff").unwrap();
        assert_eq!(bytes(&["--file", path.to_str().unwrap()]).await.unwrap(), &b"\x00\xff"[..]);
        let (text, is_usage) = bytes(&["--file", "/nowhere"]).await.unwrap_err().text();
        assert!(is_usage && text.contains("cannot read /nowhere"), "{text}");
    }

    #[tokio::test]
    async fn json_is_a_message_that_is_described_somewhere() {
        let json = r#"{"msgDataList": [{"convId": "a"}]}"#;
        // MsgDataList { msgDataList = 1 { convId = 21 } }
        let expected = &b"\x0a\x04\xaa\x01\x01a"[..];
        let of_the_demo = bytes(&["--json", json, "--type", "pb.MsgDataList"]).await.unwrap();
        assert_eq!(of_the_demo, expected);
        let folder = tempfile::tempdir().unwrap();
        let set = folder.path().join("set.binpb");
        std::fs::write(&set, demo::FILE_DESCRIPTOR_SET).unwrap();
        let set = ["--descriptors", set.to_str().unwrap()];
        let of_a_file = [&["--json", json, "--type", "pb.MsgDataList"], &set[..]].concat();
        assert_eq!(bytes(&of_a_file).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn json_that_is_no_such_message_is_explained() {
        for (json, message, says) in [
            ("{}", "pb.MsgList", "did you mean `pb.MsgDataList`?"),
            ("{}", "pb.MsgList", "--descriptors"),
            (r#"{"a": 1}"#, "pb.MsgDataList", "has the fields msgDataList"),
            ("@/nowhere", "pb.MsgDataList", "cannot read /nowhere"),
        ] {
            let failure = bytes(&["--json", json, "--type", message]).await.unwrap_err();
            let (text, is_usage) = failure.text();
            assert!(is_usage && text.contains(says), "{text}");
        }
    }

    #[test]
    fn there_is_exactly_one_notation_and_json_has_a_type() {
        for arguments in [
            &["x"][..],
            &["x", "--text", "a", "--hex", "00"],
            &["x", "--json", "{}"],
            &["x", "--text", "a", "--type", "pb.MsgDataList"],
            &["x", "--hex", "0"],
            &["x", "--hex", "0g"],
        ] {
            assert!(Command::try_parse_from(arguments).is_err(), "{arguments:?}");
        }
    }
}
