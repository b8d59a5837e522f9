//! Explanations of failed calls of the Push API: the error, and possible remedies.

use std::error::Error as _;
use std::io::ErrorKind;

use tokio_rustls::rustls;
use tonic::{Code, Status};

use crate::cli::failure::Failure;
use crate::client::DialError;
use crate::client::push::{Stranger, root_cause};
use crate::metrics::status_label;

/// How the connection is secured.
#[derive(Debug, Clone, Copy)]
pub(super) enum Security {
    Plain,
    Tls,
    MutualTls,
}

const NOT_THE_PUSH_API: &str = "is it the Push API (push.listen in the gateway's configuration), and is it http:// or https://?";

/// There is no connection.
pub(super) fn dialling(error: &DialError) -> Failure {
    let help = match error {
        DialError::Url { .. } => return Failure::usage(error),
        DialError::Unreachable { source, .. } if source.kind() == ErrorKind::ConnectionRefused => {
            "is the gateway running (`bridgehead serve`), and does its configuration have a `push` \
             section? Its address is push.listen; name it with --push-url"
        }
        DialError::Unreachable { .. } => "is the host's name in --push-url right?",
        DialError::Timeout { .. } => {
            "is the host right, and does a firewall let it through? A longer --timeout may help, \
             if the network is slow"
        }
        DialError::Tls { source, .. } => match tls_cause(source) {
            Some(rustls::Error::InvalidCertificate(_)) => {
                "name the authority that signed the gateway's certificate with --ca, and the \
                 gateway as its certificate does"
            }
            Some(rustls::Error::AlertReceived(_)) => {
                "the gateway may ask for a certificate: --cert and --key"
            }
            Some(rustls::Error::InvalidMessage(_)) => {
                "the Push API of `bridgehead serve` has TLS only with `push.tls`: write http:// \
                 instead of https:// in --push-url"
            }
            _ => NOT_THE_PUSH_API,
        },
        _ => NOT_THE_PUSH_API,
    };
    Failure::failed(error).help(help)
}

fn tls_cause(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// An error status from the gateway.
pub(super) fn status(status: &Status, has_token: bool) -> Failure {
    let message = status.message();
    let failure = match status.code() {
        // The message says it all.
        Code::InvalidArgument => return Failure::failed(message),
        code if message.is_empty() => Failure::failed(code.description()),
        code => Failure::failed(format!("{}: {message}", status_label(code as i32))),
    };
    match status.code() {
        Code::Unauthenticated if has_token => {
            failure.help("the token must be one of push.tokens in the gateway's configuration")
        }
        Code::Unauthenticated => failure.help(
            "name one of push.tokens in the gateway's configuration with --push-token, or in \
             BRIDGEHEAD_PUSH_TOKEN",
        ),
        Code::Unimplemented => failure.help(NOT_THE_PUSH_API),
        _ => failure,
    }
}

/// The connection broke, if the status comes from that.
pub(super) fn lost(status: &Status) -> Option<Failure> {
    status.source()?;
    Some(Failure::failed(format!("the connection was lost: {}", root_cause(status))))
}

/// A connection broke before it was of any use: the peer may be of another kind.
/// Over TLS its identity is proved: then the break is its refusal of a client
/// without a certificate, since that comes after the client's handshake. Its alert
/// may be lost.
pub(super) fn unfit(lost: Failure, tls: Security) -> Failure {
    lost.help(match tls {
        Security::Plain => NOT_THE_PUSH_API,
        Security::Tls => "the gateway may ask for a certificate: --cert and --key",
        Security::MutualTls => {
            "the gateway may not accept the certificate of --cert: see push.tls.client_ca in its \
             configuration"
        }
    })
}

/// Names the server that is there instead, where it is known.
pub(super) fn stranger(failure: Failure, stranger: Option<Stranger>) -> Failure {
    match stranger {
        Some(Stranger::Clients) => failure.help(
            "this is where clients connect (edge.listen); the Push API has a port of its own, \
             push.listen, by default 9090",
        ),
        Some(Stranger::Admin) => failure.help(
            "this is the admin listener (admin.listen); the Push API has a port of its own, \
             push.listen, by default 9090",
        ),
        Some(Stranger::Http1) => failure.help(
            "an HTTP/1.1 server answers there; the Push API is at push.listen, by default port 9090",
        ),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_missing_or_wrong_is_explained() {
        let refused = Status::unauthenticated("no valid token");
        let (text, _) = status(&refused, false).text();
        assert!(text.starts_with("UNAUTHENTICATED: no valid token\n"), "{text}");
        assert!(text.contains("BRIDGEHEAD_PUSH_TOKEN"), "{text}");
        assert!(status(&refused, true).text().0.contains("must be one of push.tokens"));
    }

    #[test]
    fn what_the_gateway_finds_wrong_is_told_as_it_is() {
        let refused = Status::invalid_argument("the event 2 is the gateway's own");
        assert_eq!(status(&refused, false).text().0, "the event 2 is the gateway's own\n");
    }

    #[test]
    fn a_peer_that_is_no_push_api_is_recognized() {
        let (text, _) = status(&Status::unimplemented(""), false).text();
        assert!(text.contains("is it the Push API"), "{text}");
        let broken = Status::from_error("frame with invalid size".into());
        let help = |tls| unfit(lost(&broken).unwrap(), tls).text().0;
        assert!(help(Security::Plain).contains("is it the Push API"));
        assert!(help(Security::Tls).contains("--cert and --key"));
        assert!(help(Security::MutualTls).contains("push.tls.client_ca"));
    }
}
