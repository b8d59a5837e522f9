//! One address, as proxies write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The names of interfaces are shorter.
const MAX_ZONE: usize = 32;

/// Without the spaces that lists may have.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// An address, with or without a port, in quotes or not:
///
/// - IPv4: `192.0.2.1`, `192.0.2.1:4711`
/// - IPv6: `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`; with a zone
///   (`fe80::1%eth0`), which has a meaning on the proxy's machine only and is left
///   out
/// - IPv6 with a port and without brackets, as some load balancers write it:
///   where it can't be an address by itself (`2001:db8::1:44321`, whose last
///   group would have five digits, or `2001:db8:0:0:0:0:0:1:443`, which has nine).
///   `2001:db8::1:443` is an address, and is taken for that.
///
/// An IPv4 address within an IPv6 one (`::ffff:192.0.2.1`) is that IPv4 address.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = match text.strip_prefix('"') {
        Some(quoted) => trim(quoted.strip_suffix('"')?),
        None => text,
    };
    let ip = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, behind) = rest.split_once(']')?;
            let is_well = behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port);
            is_well.then(|| v6(inside).map(IpAddr::V6)).flatten()
        }
        None => ip(text).or_else(|| {
            let (address, port) = text.rsplit_once(':')?;
            is_port(port).then(|| ip(address)).flatten()
        }),
    };
    ip.map(|ip| ip.to_canonical())
}

fn ip(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv4Addr>().map(IpAddr::V4).ok().or_else(|| v6(text).map(IpAddr::V6))
}

fn v6(text: &str) -> Option<Ipv6Addr> {
    let address = match text.split_once('%') {
        Some((address, zone)) => is_zone(zone).then_some(address)?,
        None => text,
    };
    address.parse().ok()
}

fn is_zone(zone: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-%".contains(&byte);
    (1..=MAX_ZONE).contains(&zone.len()) && zone.bytes().all(fits)
}

/// A number, or a name that hides it (RFC 7239, section 6).
fn is_port(port: &str) -> bool {
    let is_name = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !name.is_empty() && name.bytes().all(fits)
    };
    let is_number =
        || port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    port.strip_prefix('_').map_or_else(is_number, is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        for (text, ip) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("\"192.0.2.1:4711\"", "192.0.2.1"),
            ("\" 192.0.2.1 \"", "192.0.2.1"),
            ("192.0.2.1:_hidden", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("[2001:db8::1]:_p", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("fe80::1%25eth0", "fe80::1"),
            ("[fe80::1%eth0.7]:443", "fe80::1"),
            ("fe80::1%3:50000", "fe80::1"),
            // A port that no group of an address can be.
            ("2001:db8::1:44321", "2001:db8::1"),
            ("2001:db8:0:0:0:0:0:1:443", "2001:db8::1"),
            ("2001:db8:1:2:3:4:5:6:65535", "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:::1", "2001:db8::"),
            // A valid address, though perhaps meant otherwise.
            ("2001:db8::1:443", "2001:db8::1:443"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::FFFF:192.0.2.1:4711", "192.0.2.1"),
            ("[::ffff:c000:201]:1", "192.0.2.1"),
        ] {
            assert_eq!(address(text).map(|ip| ip.to_string()).as_deref(), Some(ip), "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_address() {
        for text in [
            "",
            " ",
            "unknown",
            "_hidden",
            "localhost",
            "unix:",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.01",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:+80",
            "192.0.2.1:80:80",
            "192.0.2.1%eth0",
            "192.0.2.1/32",
            "192.0.2.1 192.0.2.2",
            "[192.0.2.1]",
            "[192.0.2.1]:80",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "[[2001:db8::1]]",
            "\"192.0.2.1",
            "192.0.2.1\"",
            "\"\"192.0.2.1\"\"",
            "\"",
            "\"\"",
            "2001:db8::1:99999",
            "fe80::1%",
            "%eth0",
            "fe80::1%eth/0",
            "1:2:3:4:5:6:7:8:9:10",
            "0x7f000001",
            "3232235777",
            ":80",
            "[]",
            "192.0.2.1:_",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
    }
}
