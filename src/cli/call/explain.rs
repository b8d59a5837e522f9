//! Explanations of failed calls: the error, and possible remedies.

use std::io::ErrorKind;

use hyper::http::StatusCode;

use crate::cli::catalogue::CatalogueError;
use crate::cli::failure::Failure;
use crate::client::{CallError, Closed, ConnectError, DialError, Refusal, is_plain};
use crate::protocol::Code;
use crate::protocol::seed::methods::SET_USER_PARAMS;

const WRONG_KEY: &str = "--encrypt needs the public key that belongs to session.private_key in the gateway's \
     configuration; `bridgehead keygen` makes both";

/// The gateway's reason for 3007 where the login is missing.
const NO_LOGIN: &str = "login timeout";

/// It is not known which messages the method takes and returns.
pub(in crate::cli) fn unknown(error: CatalogueError) -> Failure {
    match &error {
        CatalogueError::Pending { .. } => Failure::failed(error)
            .help(
            "is the service running, and its address that of a gRPC server? `bridgehead check` says \
             more; or describe the method with --descriptors and --rpc",
        ),
        CatalogueError::Unknown { is_demo_only, .. } => {
            let why = if *is_demo_only {
                "there is no routes.yaml in this folder, so this command knows only the methods of \
                 the demo"
            } else {
                "this command must know the method's messages as well, from a configuration or \
                 descriptors"
            };
            Failure::usage(error).help(format!(
                "{why}: name the gateway's configuration with -c, or a FileDescriptorSet with \
                 --descriptors and the RPC of the method with --rpc"
            ))
        }
        CatalogueError::Step { method } => {
            let help = match *method {
                SET_USER_PARAMS => "it is sent for the login, with the user and --token",
                _ => "it is sent when the session opens, with the device and with --encrypt",
            };
            Failure::usage(error).help(help)
        }
        _ => Failure::usage(error),
    }
}

/// The message type of pushed data is not known.
pub(super) fn unknown_message(error: CatalogueError) -> Failure {
    Failure::usage(error).help(
        "name a FileDescriptorSet that has it with --descriptors, or the gateway's configuration \
         with -c",
    )
}

/// There is no session.
pub(in crate::cli) fn connecting(error: ConnectError) -> Failure {
    match &error {
        ConnectError::Dial(DialError::Http { url, status, path: Some(path) })
            if !is_refused_by_gateway(*status) =>
        {
            let help = format!("clients connect at {path}: {}", with_path(url, path));
            return Failure::failed(error).help(help);
        }
        ConnectError::Dial(DialError::Admin { .. }) => {
            return Failure::failed(error).help(
                "this is the admin listener (admin.listen); clients connect at edge.listen, by \
                 default port 8080",
            );
        }
        ConnectError::Device(CallError::Refused(refusal))
            if refusal.code == Code::REQUEST_ERROR =>
        {
            let help =
                format!("if the gateway requires encryption, add --encrypt; {}", in_log(refusal));
            return Failure::failed(error).help(help);
        }
        ConnectError::Dial(DialError::Grpc { .. }) => {
            return Failure::failed(error).help(
                "clients connect at edge.listen, by default port 8080; this may be the Push API \
                 (push.listen), or a service behind the gateway",
            );
        }
        _ => {}
    }
    let (is_usage, help) = match &error {
        ConnectError::Dial(error) => dialling(error),
        ConnectError::NotAGateway { .. } => (false, "is it another WebSocket server?"),
        ConnectError::Encrypt(_) => (true, WRONG_KEY),
        ConnectError::Device(CallError::Closed(closed)) => (false, of_close(closed, false)),
        ConnectError::Device(_) => (false, ""),
        ConnectError::Timeout(_) => (false, "a longer --timeout may help, if the network is slow"),
    };
    let failure = if is_usage { Failure::usage(error) } else { Failure::failed(error) };
    with_help(failure, help)
}

/// Whether the gateway refuses a client at a path that it has.
fn is_refused_by_gateway(status: StatusCode) -> bool {
    // A path that it does not have is 404, and its front page 200.
    !matches!(status, StatusCode::NOT_FOUND | StatusCode::OK)
}

/// The URL with this path.
fn with_path(url: &str, path: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("ws", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{authority}{path}")
}

fn dialling(error: &DialError) -> (bool, &'static str) {
    match error {
        DialError::Url { .. } => (true, ""),
        DialError::TlsSetup(_)
        | DialError::Http2 { .. }
        | DialError::Timeout { .. }
        | DialError::Admin { .. }
        | DialError::Grpc { .. } => (false, ""),
        DialError::Unreachable { source, .. } if source.kind() == ErrorKind::ConnectionRefused => (
            false,
            "is the gateway running? `bridgehead serve` starts a gateway, `bridgehead demo` starts \
             one to try; name its address with --url",
        ),
        DialError::Unreachable { .. } => (false, "is the host's name in --url right?"),
        DialError::Tls { source, .. } if is_plain(source) => (
            false,
            "the client listener of `bridgehead serve` has TLS only with `edge.tls`: write ws:// \
             instead of wss:// in --url",
        ),
        DialError::Tls { .. } => (
            false,
            "name the authority of the gateway's certificate with --ca, or accept any certificate \
             with --insecure; is --url that of the gateway?",
        ),
        DialError::Http { status, .. } => (false, of_status(status.as_u16())),
        DialError::WebSocket { .. } => (
            false,
            "if `bridgehead serve` has `edge.tls`, write wss:// instead of ws:// in --url; clients \
             connect at edge.listen, by default port 8080",
        ),
    }
}

fn of_status(status: u16) -> &'static str {
    match status {
        401 | 403 => "the Origin or the address is not allowed (edge.allowed_origins)",
        404 => {
            "the path is edge.path, or one of edge.paths, in the gateway's configuration; /ws if it says nothing"
        }
        429 | 503 => "the gateway is full (edge.max_connections); try again later",
        _ => "is it a gateway, and is nothing in between that does not let WebSockets through?",
    }
}

/// The gateway refuses the login.
pub(in crate::cli) fn login(error: &CallError) -> Failure {
    let help = match error {
        CallError::Refused(refusal) if refusal.code == Code::REQUEST_ERROR => in_log(refusal),
        error => of_call(error, true).to_owned(),
    };
    with_help(Failure::failed(format!("login failed: {error}")), &help)
}

/// The call did not succeed.
pub(super) fn calling(error: CallError, is_logged_in: bool) -> Failure {
    let help = match &error {
        CallError::Refused(refusal) if refusal.code == Code::REQUEST_ERROR => {
            request_error(refusal)
        }
        error => of_call(error, is_logged_in).to_owned(),
    };
    with_help(Failure::failed(error), &help)
}

fn request_error(refusal: &Refusal) -> String {
    // A message is the service's own, which the gateway passes on already.
    if refusal.msg.as_ref().is_some_and(|msg| !msg.is_empty()) {
        return format!("the service refuses the request; {}", in_log(refusal));
    }
    format!(
        "the service refuses the request, or the gateway has no such method or another message for \
         it (`bridgehead check` prints its methods). The gateway's log has the \
         reason, with request={}; clients get the service's message with \
         `expose_errors: true`",
        refusal.request_id
    )
}

fn in_log(refusal: &Refusal) -> String {
    format!("the gateway's log has the reason, with request={}", refusal.request_id)
}

/// The session ended while pushes were waited for.
pub(super) fn closed(closed: &Closed, is_logged_in: bool) -> Failure {
    with_help(Failure::failed(closed), of_close(closed, is_logged_in))
}

fn of_call(error: &CallError, is_logged_in: bool) -> &'static str {
    match error {
        CallError::Refused(refusal) if refusal.code == Code::AUTH_ERROR && !is_logged_in => {
            "the method needs a login: --user, and --token if the gateway asks for one"
        }
        CallError::Closed(closed) => of_close(closed, is_logged_in),
        CallError::Refused(_) | CallError::Timeout(_) => "",
    }
}

fn of_close(closed: &Closed, is_logged_in: bool) -> &'static str {
    match closed {
        Closed::Undecryptable | Closed::ByGateway { code: Some(3001), .. } => WRONG_KEY,
        Closed::ByGateway { code: Some(3002), .. } => "choose another with --platform",
        Closed::ByGateway { code: Some(3003), .. } => "name one with --device",
        Closed::ByGateway { code: Some(3004), .. } => "appear as another device with --device",
        Closed::ByGateway { code: Some(3007), reason } if reason == NO_LOGIN && !is_logged_in => {
            "log in with --user, and --token if the gateway asks for one"
        }
        _ => "",
    }
}

fn with_help(failure: Failure, help: &str) -> Failure {
    if help.is_empty() { failure } else { failure.help(help) }
}
