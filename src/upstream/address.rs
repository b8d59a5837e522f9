//! Where a service is: the address syntax of the configuration.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::uri::Authority;

/// One configured address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// `http://host:port`: HTTP/2 in the clear, to one endpoint. A name is
    /// resolved at every connect and its addresses are tried in order.
    Http(HostPort),
    /// `https://host:port`: the same over TLS.
    Https(HostPort),
    /// `dns:///name:port`: one endpoint for every A and AAAA record. In the
    /// clear unless the upstream has TLS settings.
    Dns(HostPort),
    /// `unix:///path`: HTTP/2 in the clear over a Unix socket.
    Unix(PathBuf),
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    authority: Authority,
    port: u16,
}

/// Text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `scheme://` in front.
    #[error("`{given}` has no scheme: write http://{given}, or https://, dns:/// or unix:///")]
    NoScheme {
        /// The text.
        given: String,
    },
    /// A scheme that is not known.
    #[error("unknown scheme `{scheme}`: {hint}")]
    UnknownScheme {
        /// The text in front of `:`.
        scheme: String,
        /// The probable correction, or else the list of valid choices.
        hint: String,
    },
    /// There is no port.
    #[error("`{given}` has no port: write {given}:PORT")]
    NoPort {
        /// The address without it.
        given: String,
    },
    /// The port is no number from 1 to 65535.
    #[error("`{port}` is not a port: it must be a number from 1 to 65535")]
    BadPort {
        /// The text behind the last colon.
        port: String,
    },
    /// There is no host.
    #[error("`{given}` names no host: write {scheme}HOST:PORT")]
    NoHost {
        /// The address.
        given: String,
        /// Its scheme with slashes.
        scheme: &'static str,
    },
    /// The host holds characters that no host has.
    #[error("`{host}` is not a host name, an IPv4 address or an IPv6 address in brackets")]
    BadHost {
        /// The text.
        host: String,
    },
    /// A path, query or user name, which an address has none of.
    #[error("`{extra}` does not belong to an address: write {right}; methods are named by routes")]
    Extra {
        /// The part too much.
        extra: String,
        /// The address without it.
        right: String,
    },
    /// `dns://server/name`.
    #[error(
        "`{given}` names a DNS server, which is not supported: write dns:///{name} with three slashes"
    )]
    DnsServer {
        /// The address.
        given: String,
        /// The name to resolve.
        name: String,
    },
    /// A Unix socket that is not named by an absolute path.
    #[error("`{given}` is not absolute: write unix:///path/of/the/socket")]
    RelativePath {
        /// The address.
        given: String,
    },
}

impl Address {
    /// Reads an address as it is written in the configuration.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("http://") {
            return HostPort::parse("http://", rest).map(Self::Http);
        }
        if let Some(rest) = text.strip_prefix("https://") {
            return HostPort::parse("https://", rest).map(Self::Https);
        }
        if let Some(rest) = text.strip_prefix("dns:") {
            return parse_dns(text, rest);
        }
        if let Some(rest) = text.strip_prefix("unix:") {
            return parse_unix(text, rest);
        }
        Err(unknown_scheme(text))
    }
}

fn parse_dns(text: &str, rest: &str) -> Result<Address, AddressError> {
    // `dns:name:port` is gRPC's short form.
    let name = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => match rest.split_once('/') {
            Some(("", name)) => name,
            Some((_, name)) => {
                return Err(AddressError::DnsServer { given: text.into(), name: name.into() });
            }
            None => {
                return Err(AddressError::DnsServer { given: text.into(), name: rest.into() });
            }
        },
    };
    HostPort::parse("dns:///", name).map(Address::Dns)
}

fn parse_unix(text: &str, rest: &str) -> Result<Address, AddressError> {
    // `unix:/path` is gRPC's short form; `unix://` must be followed by a path.
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.starts_with('/') && path.len() > 1 {
        Ok(Address::Unix(PathBuf::from(path)))
    } else {
        Err(AddressError::RelativePath { given: text.into() })
    }
}

fn unknown_scheme(text: &str) -> AddressError {
    let Some((scheme, _)) = text.split_once("://") else {
        return AddressError::NoScheme { given: text.into() };
    };
    let lower = scheme.to_ascii_lowercase();
    let meant = match lower.as_str() {
        "grpc" | "h2c" | "tcp" | "ws" => Some("http"),
        "grpcs" | "h2" | "tls" | "wss" => Some("https"),
        _ => ["http", "https", "dns", "unix"]
            .into_iter()
            .map(|known| (strsim::damerau_levenshtein(&lower, known), known))
            .min()
            .filter(|(distance, _)| *distance <= 2)
            .map(|(_, known)| known),
    };
    let hint = match meant {
        Some("dns" | "unix") => format!("did you mean `{}:///`?", meant.unwrap_or_default()),
        Some(known) => format!("did you mean `{known}://`?"),
        None => "there are http://, https://, dns:/// and unix:///".to_owned(),
    };
    AddressError::UnknownScheme { scheme: scheme.into(), hint }
}

impl HostPort {
    fn parse(scheme: &'static str, text: &str) -> Result<Self, AddressError> {
        let end = text.find(['/', '?', '#']).unwrap_or(text.len());
        let (authority, extra) = text.split_at(end);
        if !extra.is_empty() && extra != "/" {
            return Err(AddressError::Extra {
                extra: extra.into(),
                right: format!("{scheme}{authority}"),
            });
        }
        if let Some((user, host)) = authority.rsplit_once('@') {
            return Err(AddressError::Extra {
                extra: format!("{user}@"),
                right: format!("{scheme}{host}"),
            });
        }
        if authority.is_empty() || authority.starts_with(':') {
            return Err(AddressError::NoHost { given: format!("{scheme}{text}"), scheme });
        }
        let (host, port) = split_port(authority)
            .ok_or_else(|| AddressError::NoPort { given: format!("{scheme}{authority}") })?;
        let port = match port.parse() {
            Ok(0) | Err(_) => return Err(AddressError::BadPort { port: port.into() }),
            Ok(port) => port,
        };
        let authority = Authority::from_str(authority)
            .ok()
            .filter(|_| is_host(host))
            .ok_or_else(|| AddressError::BadHost { host: host.into() })?;
        Ok(Self { authority, port })
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as they stand in `:authority`.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }
}

/// Splits at the port's colon, which is not one inside of brackets.
fn split_port(authority: &str) -> Option<(&str, &str)> {
    let (host, port) = authority.rsplit_once(':')?;
    (!port.contains(']')).then_some((host, port))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')),
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(at) => write!(f, "http://{}", at.authority),
            Self::Https(at) => write!(f, "https://{}", at.authority),
            Self::Dns(at) => write!(f, "dns:///{}", at.authority),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Address::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_kind_of_address_is_read_and_shown_as_it_was_written() {
        for text in [
            "http://msg:8080",
            "https://10.0.0.1:443",
            "http://[::1]:8080",
            "dns:///msg.default.svc.cluster.local:8080",
            "unix:///run/msg.sock",
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn short_forms_of_grpc_and_a_lone_slash_are_understood() {
        assert_eq!(Address::parse("dns:msg:1").unwrap().to_string(), "dns:///msg:1");
        assert_eq!(Address::parse("unix:/run/x").unwrap().to_string(), "unix:///run/x");
        assert_eq!(Address::parse("http://msg:1/").unwrap().to_string(), "http://msg:1");
    }

    #[test]
    fn brackets_are_no_part_of_an_ipv6_host() {
        let Address::Http(at) = Address::parse("http://[::1]:8080").unwrap() else { panic!() };
        assert_eq!((at.host(), at.port()), ("::1", 8080));
    }

    #[test]
    fn errors_say_what_would_be_right() {
        for (given, right) in [
            ("msg:8080", "write http://msg:8080"),
            ("htpp://msg:8080", "did you mean `http://`?"),
            ("grpcs://msg:8080", "did you mean `https://`?"),
            ("udns:///msg:8080", "did you mean `dns:///`?"),
            ("kafka://msg:8080", "there are http://, https://, dns:/// and unix:///"),
            ("http://msg", "write http://msg:PORT"),
            ("http://[::1]", "write http://[::1]:PORT"),
            ("http://msg:99999", "a number from 1 to 65535"),
            ("http://msg:0", "a number from 1 to 65535"),
            ("http://:8080", "write http://HOST:PORT"),
            ("http://msg:8080/v1", "write http://msg:8080;"),
            ("http://me@msg:8080", "write http://msg:8080;"),
            ("http://m sg:8080", "not a host name"),
            ("http://[::zz]:8080", "not a host name"),
            ("dns://8.8.8.8/msg:8080", "write dns:///msg:8080"),
            ("dns://msg:8080", "write dns:///msg:8080"),
            ("unix:run/x", "write unix:///path"),
            ("unix:///", "write unix:///path"),
        ] {
            let said = error(given);
            assert!(said.contains(right), "{given}: {said}");
        }
    }
}
