//! The header `Host` (RFC 9112, section 3.2): a request of HTTP/1.1 has exactly
//! one, which every server on its way understands alike.

use std::net::Ipv6Addr;

use http::{HeaderMap, Version, header};

/// Checks the `Host` of a request; an invalid one is answered with 400.
///
/// # Errors
///
/// The text of the reply.
pub fn check(version: Version, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut values = headers.get_all(header::HOST).into_iter();
    match (values.next(), values.next()) {
        (None, _) if version == Version::HTTP_11 => Err("a request of HTTP/1.1 has a `Host`"),
        (None, _) => Ok(()),
        (Some(_), Some(_)) => Err("a request has one `Host`, and this one has several"),
        (Some(value), None) if is_host(value.as_bytes()) => Ok(()),
        (Some(_), None) => Err("the `Host` header is not a host, with or without a port"),
    }
}

/// A host, perhaps with a port (RFC 3986, section 3.2.2). An empty one is for
/// requests whose target has none, and is valid.
fn is_host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((v6, behind)) = rest.split_once(']') else { return false };
            if v6.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            ("", behind)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_port = |port: &str| {
        port.is_empty()
            || port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    };
    is_name(host) && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_name(host: &str) -> bool {
    let mut bytes = host.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .into_iter()
                .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte),
        };
        if !fits {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn verdict(version: Version, hosts: &[&[u8]]) -> Result<(), &'static str> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_bytes(host).unwrap());
        }
        check(version, &headers)
    }

    #[test]
    fn one_host_that_is_one_is_right() {
        let good = [
            "gw.example.com",
            "gw.example.com:443",
            "10.0.0.1:8080",
            "[::1]",
            "[2001:db8::1]:8080",
            "my_service:1",
            "x:",
            "",
            "a%20b",
            "a!$&'()*+,;=b",
        ];
        for host in good {
            assert_eq!(verdict(Version::HTTP_11, &[host.as_bytes()]), Ok(()), "{host}");
        }
    }

    #[test]
    fn all_else_is_wrong() {
        let bad = [
            "a b",
            "a/b",
            "user@a",
            "http://a",
            "a:b",
            "a:1:2",
            "a:65536",
            "a:+1",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:x",
            "[1.2.3.4]",
            "[]",
            "a\\b",
            "a\"b",
            "<a>",
            "a?b",
            "a#b",
            "a%2",
            "a%zz",
            "\u{e9}",
        ];
        for host in bad {
            assert!(verdict(Version::HTTP_11, &[host.as_bytes()]).is_err(), "{host}");
            assert!(verdict(Version::HTTP_10, &[host.as_bytes()]).is_err(), "{host}");
        }
        assert!(verdict(Version::HTTP_11, &[]).is_err());
        assert!(verdict(Version::HTTP_11, &[b"a", b"a"]).is_err());
        assert!(verdict(Version::HTTP_10, &[b"a", b"b"]).is_err());
        assert!(verdict(Version::HTTP_11, &[b"\xff"]).is_err());
    }

    #[test]
    fn before_http_1_1_there_need_not_be_one() {
        assert_eq!(verdict(Version::HTTP_10, &[]), Ok(()));
    }
}
