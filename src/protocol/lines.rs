//! A second protocol, for tests alone: lines of text. It shows that sessions,
//! deliveries and upstreams know no protocol.

use bytes::Bytes;

use super::{Control, Credentials, Description, Event, Incoming, Payload, Reply, Request};
use super::{RequestHead, Unreadable};
use crate::websocket::frame::Opcode;

/// Reads `ID METHOD DATA`.
pub(super) fn read(line: &[u8]) -> Result<Incoming, Unreadable> {
    let line = std::str::from_utf8(line).map_err(|_| Unreadable::Strike)?;
    let mut words = line.splitn(3, ' ');
    let mut word = || words.next().ok_or(Unreadable::Strike);
    let (req_id, method, data) = (word()?.into(), word()?.into(), word()?.to_owned());
    let head = RequestHead { req_id, method };
    let control = match &*head.method {
        "describe" => Control::Describe(Ok(Box::new(Description {
            platform: "web".into(),
            device_id: data,
            ..Description::default()
        }))),
        "login" => Control::LogIn(Ok(Box::new(Credentials { user_id: data, token: "t".into() }))),
        _ => {
            let RequestHead { req_id, method } = head;
            return Ok(Incoming::Call(Request { req_id, method, data: data.into() }));
        }
    };
    Ok(Incoming::Control(head, control))
}

/// Writes `ID CODE DATA`.
pub(super) fn reply(reply: &Reply) -> Payload {
    let data = match &reply.outcome {
        super::Outcome::Response(message) => String::from_utf8_lossy(message),
        super::Outcome::Verdict(_) => "verdict".into(),
        super::Outcome::Failure(failure) => failure.text.as_ref().into(),
    };
    text(format!("{} {} {data}", reply.head.req_id, reply.outcome.code()))
}

/// Writes `push NUMBER DATA`.
pub(super) fn push(event: &Event) -> Payload {
    text(format!("push {} {}", event.number, String::from_utf8_lossy(&event.data)))
}

fn text(line: String) -> Payload {
    Payload { opcode: Opcode::Binary, bytes: Bytes::from(line) }
}
