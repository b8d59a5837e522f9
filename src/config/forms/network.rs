//! Addresses, networks, URLs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};
use percent_encoding::percent_encode_byte;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::{Complaint, FilePath, Form, form};
use crate::auth::jwt::{KeysUrl, UrlProblem};

form! {
    /// The address that a listener binds to.
    ListenAddress = Form {
        name: "listen-address",
        pattern: r"^([0-9.]+|\[[0-9A-Fa-f:.]+(%[0-9]+)?\]):[0-9]{1,5}$",
        noun: "an IP address with a port",
        plural: "IP addresses with ports",
        help: "write it as `127.0.0.1:8080`, or `[::1]:8080` for IPv6",
        check: |text| text.parse::<SocketAddr>().map(drop).map_err(|_| listen_complaint(text)),
    }
}

/// Guesses the intended address from an invalid one.
fn listen_complaint(text: &str) -> Complaint {
    let port_of = |port: &str| port.parse::<u16>().is_ok();
    match text.rsplit_once(':') {
        None if port_of(text) => Complaint::because("is a port without an address")
            .help(format!("write `127.0.0.1:{text}`, or `0.0.0.0:{text}` for every interface")),
        None if text.parse::<IpAddr>().is_ok() => Complaint::because("has no port"),
        Some(("" | "*", port)) if port_of(port) => Complaint::because("has no address")
            .help(format!("write `0.0.0.0:{port}` to listen on every interface")),
        Some(("localhost", port)) if port_of(port) => {
            Complaint::plain().help(format!("write `127.0.0.1:{port}`"))
        }
        _ => Complaint::plain(),
    }
}

form! {
    /// The path of a URL, without a query.
    HttpPath = Form {
        name: "http-path",
        pattern: r"^/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*$",
        noun: "a path",
        plural: "paths",
        help: "a path begins with `/` and has no spaces, `?` or `#`, such as `/ws`",
        check: |text| match text.strip_prefix('/') {
            Some(rest) if rest.bytes().all(is_path_byte) => Ok(()),
            Some(_) => Err(Complaint::plain()),
            None if text.is_empty() => Err(Complaint::because("is empty")),
            None => Err(Complaint::because("does not begin with `/`").help(format!("write `/{text}`"))),
        },
    }
}

/// A path as clients may normalize it before they send it (RFC 3986, section 6.2.2):
/// without dot segments, and with only the necessary bytes percent-encoded.
pub(in crate::config) fn normal_path(path: &str) -> String {
    let mut text = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        let encoded = behind.split_first_chunk::<2>().filter(|_| *byte == b'%');
        let decoded = encoded.and_then(|(digits, behind)| {
            let mut byte = [0];
            base16ct::mixed::decode(digits, &mut byte).ok()?;
            Some((byte[0], behind))
        });
        match decoded {
            Some((byte, behind)) => {
                rest = behind;
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    text.push(byte);
                } else {
                    text.extend_from_slice(percent_encode_byte(byte).as_bytes());
                }
            }
            None => text.push(*byte),
        }
    }
    let text = String::from_utf8_lossy(&text);
    let mut segments = Vec::new();
    let mut all = text.split('/').skip(1).peekable();
    while let Some(segment) = all.next() {
        let is_last = all.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                if is_last {
                    segments.push("");
                }
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// `pchar` of RFC 3986, and `/`.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._~!$&'()*+,;=:@%/-".contains(&byte)
}

form! {
    /// A value of the `Origin` header, RFC 6454 section 7.
    Origin = Form {
        name: "origin",
        pattern: r"^(null|[A-Za-z][A-Za-z0-9+.-]*://[^/?#*\s]+)$",
        noun: "an origin",
        plural: "origins",
        help: "an origin is scheme, host and, unless it is the usual one, port: `https://app.example.com`",
        check: check_origin,
    }
}

fn check_origin(text: &str) -> Result<(), Complaint> {
    if text == "null" {
        return Ok(());
    }
    if text.contains('*') {
        return Err(Complaint::because("has a wildcard; origins are compared as they are")
            .help("list each origin; an empty list lets every origin in"));
    }
    let Some((scheme, host)) = text.split_once("://") else { return Err(Complaint::plain()) };
    if !is_scheme(scheme) || host.is_empty() || host.contains(char::is_whitespace) {
        return Err(Complaint::plain());
    }
    if let Some(at) = host.find(['/', '?', '#']) {
        let origin = format!("{scheme}://{}", host.get(..at).unwrap_or_default());
        let right = as_browsers_write(&origin).unwrap_or(origin);
        return Err(Complaint::because("has a path; a browser's `Origin` never has one")
            .help(format!("write `{right}`")));
    }
    if let Some(page) = [("ws", "http"), ("wss", "https")]
        .into_iter()
        .find_map(|(socket, page)| scheme.eq_ignore_ascii_case(socket).then_some(page))
    {
        let right = format!("{page}://{host}");
        let right = as_browsers_write(&right).unwrap_or(right);
        return Err(Complaint::because("is where a socket leads; an origin is that of the page")
            .help(format!("write `{right}`")));
    }
    match as_browsers_write(text) {
        Some(right) if right != text => {
            Err(Complaint::because(format!("never comes like this; {}", difference(text, &right)))
                .help(format!("write `{right}`")))
        }
        None if is_of_the_web(scheme) => Err(Complaint::plain()),
        _ => Ok(()),
    }
}

/// A web origin as browsers write it: lowercase, without the scheme's default
/// port, names in ASCII. `None` for an origin of other schemes than `http` and
/// `https`: apps and extensions have schemes of their own, and their own rules.
fn as_browsers_write(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok().filter(|url| is_of_the_web(url.scheme()))?;
    Some(url.origin().ascii_serialization())
}

fn is_of_the_web(scheme: &str) -> bool {
    ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web))
}

fn difference(text: &str, right: &str) -> &'static str {
    let port = |text: &str| text.rsplit_once(':').is_some_and(|(_, port)| !port.contains('/'));
    if port(text) && !port(right) {
        "browsers leave out the scheme's own port"
    } else if text.eq_ignore_ascii_case(right) {
        "browsers write it in lowercase"
    } else {
        "browsers write it otherwise"
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
}

form! {
    /// An IP network, or one address.
    Network = Form {
        name: "network",
        pattern: r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
        noun: "an IP network",
        plural: "IP networks",
        help: "write it as `10.0.0.0/8` or `fd00::/8`; a bare IP address stands for itself alone",
        check: |text| parse_network(text).map(drop).ok_or_else(Complaint::plain),
    }
}

/// A network in the form that peers' addresses are compared with: an IPv4-mapped
/// IPv6 network (RFC 4291, section 2.5.5.2) becomes the IPv4 network, since a peer
/// with such an address counts as an IPv4 one, too.
pub(in crate::config) fn parse_network(text: &str) -> Option<IpNet> {
    let network =
        text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    let IpNet::V6(v6) = network else { return Some(network) };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    let mapped = mapped.and_then(|(address, bits)| Ipv4Net::new(address, bits).ok());
    Some(mapped.map_or(network, IpNet::V4))
}

impl Network {
    /// Deserializes a list of networks.
    pub(in crate::config) fn list<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<IpNet>, D::Error> {
        Vec::<String>::deserialize(from)?
            .iter()
            .map(|text| parse_network(text).ok_or_else(|| Error::custom("not an IP network")))
            .collect()
    }
}

form! {
    /// Where public keys are: a file, or a URL. The one place that knows the
    /// form of the URL is where it is fetched.
    KeysPlace = Form {
        name: "keys-place",
        pattern: r"^[^\u0000]+$",
        noun: "a file or the https URL of a JWKS",
        plural: "files or https URLs",
        help: "write a path, or `https://host/path`; a relative path starts at the folder of this file",
        check: |text| {
            if !KeysUrl::is_meant_by(text) {
                return (FilePath::FORM.check)(text);
            }
            match KeysUrl::parse(text) {
                Ok(_) => Ok(()),
                Err(UrlProblem::Scheme) if text.starts_with("file:") => {
                    Err(Complaint::because("is a file, written as a URL").help("write the path alone"))
                }
                Err(problem) => Err(Complaint::because(problem.to_string())),
            }
        },
    }
}

form! {
    /// Where a gRPC service is. The one place that knows this form here; the
    /// connections themselves have their own parser.
    Address = Form {
        name: "address",
        pattern: r"^(https?://[^/\s]+/?|dns:///[^/\s]+:[0-9]{1,5}|unix:///\S+)$",
        noun: "an address of a gRPC service",
        plural: "addresses of gRPC services",
        help: "write `http://host:port`, `https://host:port`, `dns:///name:port` or `unix:///path`",
        check: check_address,
    }
}

fn check_address(text: &str) -> Result<(), Complaint> {
    if text.contains(char::is_whitespace) || text.contains(char::is_control) {
        return Err(Complaint::plain());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let complaint = Complaint::because("has no scheme");
        return Err(if is_host_and_port(text, true) {
            complaint.help(format!("write `http://{text}`, or `https://{text}` for TLS"))
        } else {
            complaint
        });
    };
    match scheme {
        "http" | "https" => {
            let authority = rest.strip_suffix('/').unwrap_or(rest);
            if authority.contains('/') {
                Err(Complaint::because("has a path; gRPC calls always start at the root"))
            } else if is_host_and_port(authority, false) {
                Ok(())
            } else {
                Err(Complaint::plain())
            }
        }
        "dns" => match rest.strip_prefix('/') {
            Some(name) if is_host_and_port(name, true) => Ok(()),
            Some(name) if is_host_and_port(name, false) => {
                Err(Complaint::because("has no port").help(format!("write `dns:///{name}:port`")))
            }
            None if is_host_and_port(rest, true) => {
                Err(Complaint::because("has two slashes; `dns` takes three")
                    .help(format!("write `dns:///{rest}`")))
            }
            _ => Err(Complaint::plain()),
        },
        "unix" if rest.starts_with('/') && rest.len() > 1 => Ok(()),
        "unix" => Err(Complaint::because("has no absolute path")
            .help("write three slashes and the path: `unix:///run/service.sock`")),
        _ => Err(Complaint::because("has an unknown scheme")),
    }
}

/// `host:port`, `[v6]:port` or, unless `port_needed`, the host alone.
fn is_host_and_port(text: &str, port_needed: bool) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_fits = match port {
        Some(port) => {
            port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse().is_ok_and(|port: u16| port > 0)
        }
        None => !port_needed,
    };
    let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_domain(host),
    };
    port_fits && host_fits
}

form! {
    /// A host name.
    DomainName = Form {
        name: "domain-name",
        pattern: r"^[A-Za-z0-9._-]+$",
        noun: "a host name",
        plural: "host names",
        help: "write the name alone, without scheme and port, such as `msg.internal`",
        check: |text| if is_domain(text) { Ok(()) } else { Err(Complaint::plain()) },
    }
}

/// Letters, digits, hyphens and dots; underscores too, as container networks use them.
fn is_domain(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

form! {
    /// Where a NATS server is.
    NatsUrl = Form {
        name: "nats-url",
        pattern: r"^(nats|tls)://[^/\s]+/?$",
        noun: "the URL of a NATS server",
        plural: "URLs of NATS servers",
        help: "write `nats://host:4222`, or `tls://host:4222` for TLS",
        check: check_nats,
    }
}

fn check_nats(text: &str) -> Result<(), Complaint> {
    let rest = text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://"));
    let rest = rest.ok_or_else(Complaint::plain)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // Before `@` is a user and a password, or a token.
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let odd = |c: char| c == '/' || c.is_whitespace();
    if is_host_and_port(host, false) && !rest.contains(odd) {
        Ok(())
    } else {
        Err(Complaint::plain())
    }
}

form! {
    /// Where a collector takes OTLP over gRPC.
    OtlpUrl = Form {
        name: "otlp-url",
        pattern: r"^https?://[^/\s]+/?$",
        noun: "the URL of a collector",
        plural: "URLs of collectors",
        help: "write `http://host:4317`, or `https://host:4317` for TLS",
        check: check_otlp,
    }
}

fn check_otlp(text: &str) -> Result<(), Complaint> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let rest = rest.ok_or_else(Complaint::plain)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('/') {
        return Err(Complaint::because("has a path; OTLP over gRPC has none")
            .help("write `http://host:4317`: the port for gRPC, which is not the one for HTTP"));
    }
    if is_host_and_port(authority, false) { Ok(()) } else { Err(Complaint::plain()) }
}

form! {
    /// The beginning of NATS subjects.
    SubjectPrefix = Form {
        name: "subject-prefix",
        pattern: r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$",
        noun: "the name of a cluster",
        plural: "names of clusters",
        help: "use letters, digits, `-` and `_`, such as `bridgehead`; dots may stand in between",
        check: check_prefix,
    }
}

fn check_prefix(text: &str) -> Result<(), Complaint> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_token = |token: &str| !token.is_empty() && token.chars().all(is_good);
    if text.split('.').all(is_token) { Ok(()) } else { Err(Complaint::plain()) }
}

impl Address {
    /// Deserializes one text or a list of texts.
    pub(in crate::config) fn one_or_many<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<String>, D::Error> {
        one_or_many(from)
    }
}

impl NatsUrl {
    /// Deserializes one text or a list of texts.
    pub(in crate::config) fn one_or_many<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<String>, D::Error> {
        one_or_many(from)
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address or a list of addresses")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                list.push(item);
            }
            Ok(list)
        }
    }

    from.deserialize_any(OneOrMany)
}
