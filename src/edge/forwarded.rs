//! The client's address behind proxies: from one header, of trusted proxies only.
//!
//! Each proxy adds the address that it was reached from at the end, so the
//! header is read from its end, and only for as long as the addresses there are
//! trusted proxies' own. Anything further left could be forged by the client.

mod element;
mod hop;
mod node;

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName, HeaderValue};
use ipnet::IpNet;

use hop::Hop;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The source of the client's address. No other header is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAddress {
    /// In no header: it is the address that the connection comes from.
    Connection,
    /// `X-Forwarded-For`: a list, to which each proxy adds.
    XForwardedFor,
    /// `Forwarded` (RFC 7239): the same with names.
    Forwarded,
    /// A header with the address alone, such as `CF-Connecting-IP`.
    Header(HeaderName),
}

impl ClientAddress {
    /// The format of a header of this name; `none` is no header.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name = HeaderName::try_from(name).ok()?;
        Some(match name.as_str() {
            "none" => Self::Connection,
            "x-forwarded-for" => Self::XForwardedFor,
            "forwarded" => Self::Forwarded,
            _ => Self::Header(name),
        })
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address of the connecting peer, or the one in the PROXY header in
    /// front of the connection.
    pub ip: IpAddr,
    /// Whether its requests may name a client, if it is trusted. Not where a
    /// proxy has passed on a connection without naming its client.
    pub may_name_client: bool,
}

impl Peer {
    /// A peer with this address.
    #[must_use]
    pub fn at(ip: IpAddr) -> Self {
        Self { ip: ip.to_canonical(), may_name_client: true }
    }
}

/// The client's address: the peer's, unless the peer is a trusted proxy that
/// names a client. In a list that is the last address that is not a trusted
/// proxy's. Where the text of an address is invalid, it is the address of the
/// proxy that has passed it on: never an earlier address of the list.
#[must_use]
pub fn client_ip(
    peer: Peer,
    headers: &HeaderMap,
    stands_in: &ClientAddress,
    trusted: &[IpNet],
) -> IpAddr {
    if !peer.may_name_client || !is_trusted(peer.ip, trusted) {
        return peer.ip;
    }
    match stands_in {
        ClientAddress::Connection => peer.ip,
        ClientAddress::XForwardedFor => {
            let values = headers.get_all(X_FORWARDED_FOR).into_iter().rev();
            let hops = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
            last_untrusted(peer.ip, hops.map(hop), trusted)
        }
        ClientAddress::Forwarded => {
            let values = headers.get_all(FORWARDED).into_iter().rev();
            let hops = values.flat_map(|value| element::from_the_end(value.as_bytes()));
            last_untrusted(peer.ip, hops.map(element::hop), trusted)
        }
        ClientAddress::Header(name) => only_address(headers, name).unwrap_or(peer.ip),
    }
}

/// Whether an address belongs to a trusted proxy.
pub(super) fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&ip))
}

/// An element of `X-Forwarded-For`.
fn hop(element: &[u8]) -> Hop {
    match std::str::from_utf8(element).map(node::trim) {
        Ok("") => Hop::Empty,
        Ok(text) => node::address(text).map_or(Hop::Unknown, Hop::At),
        Err(_) => Hop::Unknown,
    }
}

/// Walks from proxy to proxy, as long as they are trusted and name another.
fn last_untrusted(peer: IpAddr, hops: impl Iterator<Item = Hop>, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for hop in hops {
        match hop {
            Hop::Empty => {}
            Hop::At(ip) => client = ip,
            Hop::Unknown => break,
        }
        if !is_trusted(client, trusted) {
            break;
        }
    }
    client
}

/// The one address in a header that occurs once. Of several it is unknown which
/// is the proxy's and which the client's.
fn only_address(headers: &HeaderMap, name: &HeaderName) -> Option<IpAddr> {
    let mut values = headers.get_all(name).into_iter();
    let value: &HeaderValue = values.next()?;
    if values.next().is_some() {
        return None;
    }
    node::address(node::trim(std::str::from_utf8(value.as_bytes()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(stands_in: &str, peer: &str, name: &'static str, values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let stands_in = ClientAddress::named(stands_in).unwrap();
        client_ip(Peer::at(peer.parse().unwrap()), &headers, &stands_in, &trusted).to_string()
    }

    fn client(peer: &str, forwarded: &[&str]) -> String {
        client_of("x-forwarded-for", peer, "x-forwarded-for", forwarded)
    }

    #[test]
    fn a_peer_that_is_no_proxy_is_not_believed() {
        assert_eq!(client("203.0.113.7", &["198.51.100.1"]), "203.0.113.7");
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        assert_eq!(client("10.1.2.3", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.1.2.3", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(client("fd00::1", &["[2001:db8::5]:80"]), "2001:db8::5");
    }

    #[test]
    fn only_the_last_untrusted_hop_counts() {
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.9.9.9"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "198.51.100.1", "10.9.9.9"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.2, ::ffff:10.0.0.3"]), "10.0.0.2");
    }

    #[test]
    fn nonsense_ends_the_walk_at_the_last_good_hop() {
        assert_eq!(client("10.0.0.1", &["198.51.100.1, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["198.51.100.1, \u{fc}, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["198.51.100.1 10.0.0.2"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.1", "unix:"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn empty_elements_hide_nobody() {
        assert_eq!(client("10.0.0.1", &["198.51.100.1,"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &[",198.51.100.1, ,\t, 10.0.0.2 , "]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.1", "", " "]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &[""]), "10.0.0.1");
    }

    #[test]
    fn what_a_client_quotes_swallows_nothing_of_the_proxys() {
        assert_eq!(client("10.0.0.1", &["\", 198.51.100.1"]), "198.51.100.1");
        let forwarded = |values: &[&str]| client_of("forwarded", "10.0.0.1", "forwarded", values);
        assert_eq!(forwarded(&["for=\"1.1.1.1;x=\", for=198.51.100.1"]), "198.51.100.1");
        assert_eq!(forwarded(&["for=1.1.1.1;x=\"\\, for=\"[2001:db8::5]:80\""]), "2001:db8::5");
        assert_eq!(forwarded(&["for=1.1.1.1;x=\"", "for=198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn forwarded_is_read_from_its_end() {
        let forwarded = |values: &[&str]| client_of("forwarded", "10.0.0.1", "forwarded", values);
        assert_eq!(forwarded(&["for=198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            forwarded(&["for=1.1.1.1, For=\"[2001:db8::5]:4711\";proto=https;by=10.0.0.2"]),
            "2001:db8::5"
        );
        assert_eq!(forwarded(&["for=198.51.100.1;host=\"a,b\", for=10.0.0.2,"]), "198.51.100.1");
        assert_eq!(forwarded(&["for=1.1.1.1", "for=198.51.100.1", "for=10.2.2.2"]), "198.51.100.1");
        for hidden in ["for=unknown", "for=_hidden", "for=\"_a:_b\"", "proto=https", "for"] {
            assert_eq!(forwarded(&[&format!("for=1.1.1.1, {hidden}")]), "10.0.0.1", "{hidden}");
            assert_eq!(
                forwarded(&[&format!("for=1.1.1.1, {hidden}, for=10.0.0.2")]),
                "10.0.0.2",
                "{hidden}"
            );
        }
    }

    #[test]
    fn one_header_is_believed_and_no_other() {
        for (stands_in, name) in [
            ("forwarded", "x-forwarded-for"),
            ("x-forwarded-for", "cf-connecting-ip"),
            ("cf-connecting-ip", "x-forwarded-for"),
            ("cf-connecting-ip", "true-client-ip"),
            ("none", "x-forwarded-for"),
        ] {
            let seen = client_of(stands_in, "10.0.0.1", name, &["198.51.100.1"]);
            assert_eq!(seen, "10.0.0.1", "{stands_in}");
        }
        assert_eq!(
            client_of("x-forwarded-for", "10.0.0.1", "forwarded", &["for=1.1.1.1"]),
            "10.0.0.1"
        );
    }

    #[test]
    fn a_header_with_one_address_has_one_address() {
        let client =
            |values: &[&str]| client_of("CF-Connecting-IP", "10.0.0.1", "cf-connecting-ip", values);
        assert_eq!(client(&["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client(&[" 2001:db8::5 "]), "2001:db8::5");
        // The address as given, a trusted proxy's or not: this is no list to walk.
        assert_eq!(client(&["10.0.0.7"]), "10.0.0.7");
        for values in [
            &["198.51.100.1", "198.51.100.2"][..],
            &["198.51.100.1", ""],
            &["198.51.100.1, 198.51.100.2"],
            &["198.51.100.1,"],
            &["unknown"],
            &[""],
            &[],
        ] {
            assert_eq!(client(values), "10.0.0.1", "{values:?}");
        }
        let stranger = ["198.51.100.1"];
        assert_eq!(
            client_of("cf-connecting-ip", "203.0.113.7", "cf-connecting-ip", &stranger),
            "203.0.113.7"
        );
    }

    #[test]
    fn a_connection_that_nobody_answers_for_names_nobody() {
        let headers =
            HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_static("1.1.1.1"))]);
        let peer = Peer { may_name_client: false, ..Peer::at("10.0.0.1".parse().unwrap()) };
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let client = client_ip(peer, &headers, &ClientAddress::XForwardedFor, &trusted);
        assert_eq!(client.to_string(), "10.0.0.1");
    }

    proptest::proptest! {
        /// The address that the proxy adds decides, for any text of a stranger before it.
        #[test]
        fn nothing_that_a_stranger_writes_is_believed(
            written in r#"[0-9a-f.:,;="\\ \[\]%for\t-]{0,60}"#,
            in_a_line_of_its_own: bool,
            (stands_in, added) in proptest::sample::select(vec![
                ("x-forwarded-for", "203.0.113.7"),
                ("x-forwarded-for", "203.0.113.7:4711,"),
                ("forwarded", "for=203.0.113.7"),
                ("forwarded", "for=\"203.0.113.7:4711\";proto=\"https\""),
                ("forwarded", "by=_a;host=\"x,\\\"y\";for=203.0.113.7"),
            ]),
        ) {
            let values = if in_a_line_of_its_own {
                vec![written, added.to_owned()]
            } else {
                vec![format!("{written}, {added}")]
            };
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            proptest::prop_assert_eq!(client_of(stands_in, "10.0.0.1", stands_in, &values), "203.0.113.7");
        }
    }
}
