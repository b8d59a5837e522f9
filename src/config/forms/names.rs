//! Names of things: files, methods, services, fields.

use globset::GlobBuilder;

use super::{Complaint, Form, form};
use crate::config::own_metadata::OwnMetadata;

form! {
    /// The name of a file; relative to the folder of `routes.yaml`.
    FilePath = Form {
        name: "file",
        pattern: r"^[^\u0000]+$",
        noun: "the name of a file",
        plural: "files",
        help: "write a path; a relative one starts at the folder of this file",
        check: |text| {
            if text.is_empty() {
                Err(Complaint::because("is empty"))
            } else if text.contains("-----BEGIN") {
                Err(Complaint::because("is the text of a key or certificate, not a file's name")
                    .help("put the text into a file of its own, and write that file's name here"))
            } else if text.contains('\0') {
                Err(Complaint::plain())
            } else {
                Ok(())
            }
        },
    }
}

form! {
    /// Any text but the empty one.
    NonEmpty = Form {
        name: "text",
        pattern: r"^[\s\S]+$",
        noun: "a text",
        plural: "texts",
        help: "write a text that is not empty, or leave the key out",
        check: |text| if text.is_empty() { Err(Complaint::because("is empty")) } else { Ok(()) },
    }
}

form! {
    /// A text that is kept secret: not empty, and not white space alone.
    SecretText = Form {
        name: "secret-text",
        pattern: r"\S",
        noun: "a text",
        plural: "texts",
        help: "write a text that is not empty, or leave the key out",
        check: |text| {
            if text.trim().is_empty() { Err(Complaint::because("is empty")) } else { Ok(()) }
        },
    }
}

form! {
    /// A client's name for its kind of device.
    Platform = Form {
        name: "platform",
        pattern: r"^\S+$",
        noun: "the name of a platform",
        plural: "platforms",
        help: "write one word, such as `ios`",
        check: |text| if is_word(text) { Ok(()) } else { Err(Complaint::plain()) },
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

form! {
    /// A name that an operator gives to an upstream; it is a metric label too.
    UpstreamName = Form {
        name: "upstream-name",
        pattern: r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
        noun: "a name for an upstream",
        plural: "names for upstreams",
        help: "use letters, digits, `_`, `-` and `.`",
        check: |text| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
            if text.is_empty() || text.starts_with(['-', '.']) || !text.bytes().all(fits) {
                Err(Complaint::plain())
            } else {
                Ok(())
            }
        },
    }
}

form! {
    /// The name of a gateway in a cluster.
    NodeName = Form {
        name: "node-name",
        pattern: r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$",
        noun: "a name for a gateway",
        plural: "names for gateways",
        help: "use letters, digits, `_`, `-` and `.`, at most 253 of them, such as `gateway-1`",
        check: |text| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
            if text.len() > 253 {
                Err(Complaint::because("is longer than 253 characters"))
            } else if text.is_empty() || text.starts_with(['-', '.']) || !text.bytes().all(fits) {
                Err(Complaint::plain())
            } else {
                Ok(())
            }
        },
    }
}

form! {
    /// The name of the header that the client's address is in.
    AddressHeader = Form {
        name: "address-header",
        pattern: r"^[A-Za-z0-9_-]+$",
        noun: "the name of a header",
        plural: "names of headers",
        help: "write `x-forwarded-for`, `forwarded`, `none`, or the name of a header with one address, such as `cf-connecting-ip`",
        check: |text| {
            let name = text.to_ascii_lowercase();
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
            if name.is_empty() || !name.bytes().all(fits) {
                Err(Complaint::plain())
            } else if HTTP_OWN.contains(&name.as_str())
                || CLIENTS_OWN.contains(&name.as_str())
                || name.starts_with("sec-")
            {
                Err(Complaint::because("is a header of clients, and no proxy's"))
            } else {
                Ok(())
            }
        },
    }
}

form! {
    /// The name of gRPC metadata whose value is text.
    MetadataName = Form {
        name: "metadata-name",
        pattern: r"^[a-z0-9_.-]+$",
        noun: "a name of gRPC metadata",
        plural: "names of gRPC metadata",
        help: "use lowercase letters, digits, `-`, `_` and `.`, such as `x-api-key`",
        check: metadata_name,
    }
}

form! {
    /// The same, where it is added to the gateway's own metadata.
    FixedMetadataName = Form {
        name: "fixed-metadata-name",
        pattern: r"^[a-z0-9_.-]+$",
        noun: "a name of gRPC metadata",
        plural: "names of gRPC metadata",
        help: "use lowercase letters, digits, `-`, `_` and `.`, such as `x-api-key`",
        check: |text| {
            if OwnMetadata::ALL.iter().any(|own| own.name() == text) {
                return Err(Complaint::because("is set by the gateway, and describes the client")
                    .help("choose another name; `drop` takes the gateway's out"));
            }
            metadata_name(text)
        },
    }
}

/// Further headers that clients send for themselves.
const CLIENTS_OWN: [&str; 4] = ["accept", "authorization", "cookie", "origin"];

/// Headers that belong to HTTP, or that gRPC itself needs.
const HTTP_OWN: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

fn metadata_name(text: &str) -> Result<(), Complaint> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c);
    if text.starts_with(':') {
        Err(Complaint::because("is one of HTTP/2's own"))
    } else if text.is_empty() || !text.chars().all(fits) {
        Err(Complaint::plain())
    } else if text.starts_with("grpc-") {
        Err(Complaint::because("is one of gRPC's own"))
    } else if HTTP_OWN.contains(&text) {
        Err(Complaint::because("is one of HTTP's own"))
    } else if text.ends_with("-bin") {
        Err(Complaint::because("would be binary, and the value here is text"))
    } else {
        Ok(())
    }
}

form! {
    /// A client method, the value of `RequestBody.method`.
    ClientMethod = Form {
        name: "client-method",
        pattern: r"^/[^\s*?{}\[\]]+$",
        noun: "a client method",
        plural: "client methods",
        help: "a client method begins with `/` and has no spaces, such as `/v1/msg/sendMsgList`",
        check: |text| match text.strip_prefix('/') {
            Some(rest) if rest.contains(['*', '?', '{', '}', '[', ']']) => Err(Complaint::because(
                "is a pattern, and a route is one method, by its name",
            )
            .help("write a route for each method, or `expose` the whole service; patterns are for `public_methods`")),
            Some(rest) if is_word(rest) => Ok(()),
            None if is_word(text) => {
                Err(Complaint::because("does not begin with `/`").help(format!("write `/{text}`")))
            }
            _ => Err(Complaint::plain()),
        },
    }
}

form! {
    /// A glob over client methods.
    Glob = Form {
        name: "glob",
        pattern: r"^[/*?\[{]",
        noun: "a glob",
        plural: "globs",
        help: "`*` stands for anything within a segment, `**` for any number of segments: `/v1/*/white/**`",
        check: |text| {
            if !text.starts_with(['/', '*', '?', '[', '{']) {
                return Err(Complaint::because("can never match: client methods begin with `/`")
                    .help(format!("write `/{text}` or `**/{text}`")));
            }
            match GlobBuilder::new(text).literal_separator(true).build() {
                Ok(_) => Ok(()),
                Err(error) => Err(Complaint::because(format!("is not a glob: {}", error.kind()))),
            }
        },
    }
}

form! {
    /// A gRPC method.
    MethodName = Form {
        name: "method-name",
        pattern: r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*/[A-Za-z_][A-Za-z0-9_]*$",
        noun: "a gRPC method",
        plural: "gRPC methods",
        help: "write `package.Service/Method`",
        check: |text| match text.split_once('/') {
            Some((service, method)) if is_full_name(service) && is_identifier(method) => Ok(()),
            Some(("", rest)) if (Self::FORM.check)(rest).is_ok() => {
                Err(Complaint::because("begins with `/`").help(format!("write `{rest}`")))
            }
            None if is_full_name(text) => {
                let complaint = Complaint::because("has no `/` between service and method");
                Err(match text.rsplit_once('.') {
                    Some((service, method)) => complaint.help(format!("write `{service}/{method}`")),
                    None => complaint,
                })
            }
            _ => Err(Complaint::plain()),
        },
    }
}

form! {
    /// A gRPC service.
    ServiceName = Form {
        name: "service-name",
        pattern: r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$",
        noun: "a gRPC service",
        plural: "gRPC services",
        help: "write the service's full name, such as `pb.userService`",
        check: |text| match text.split_once('/') {
            None if is_full_name(text) => Ok(()),
            Some((service, _)) if is_full_name(service) => {
                Err(Complaint::because("names a method; whole services are exposed")
                    .help(format!("write `{service}`, or make a route of the method")))
            }
            _ => Err(Complaint::plain()),
        },
    }
}

form! {
    /// A field of a protobuf message.
    FieldName = Form {
        name: "field-name",
        pattern: r"^[A-Za-z_][A-Za-z0-9_]*$",
        noun: "the name of a protobuf field",
        plural: "protobuf fields",
        help: "use letters, digits and `_`, such as `commonReq`",
        check: |text| if is_identifier(text) { Ok(()) } else { Err(Complaint::plain()) },
    }
}

/// Identifiers joined by dots, as protobuf names packages and services.
fn is_full_name(text: &str) -> bool {
    text.split('.').all(is_identifier)
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
