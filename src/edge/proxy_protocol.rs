//! The PROXY protocol, versions 1 and 2: a header in front of a connection, with
//! which a load balancer names the client of a connection that it passes on.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>
//!
//! Exactly the header is taken off the socket, so no later bytes have to be kept
//! for TLS or HTTP. A header without an address (a health check of the load
//! balancer's own, a client that is not on an IP network) is valid as well,
//! according to the specification; the client is the peer then.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// A line of version 1 with its end (section 2.1).
const MAX_V1: usize = 107;
/// A header of version 2, with its extensions, which are not read here. The
/// largest known ones contain a client certificate.
const MAX_V2: usize = 4096;
const V1: &[u8] = b"PROXY ";
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The fixed part of a header of version 2.
const FIXED: usize = 16;
/// Two IPv6 addresses and two ports: the rest of the header is not read.
const ADDRESSES: usize = 36;

/// The client of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A client with this address.
    Client(IpAddr),
    /// The load balancer itself, or a client without an address.
    NotSaid,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// Load balancers check in this way whether a port is open.
    #[error("the connection ended before a byte came")]
    Nothing,
    /// The first bytes are no header.
    #[error(
        "it does not begin with a PROXY header, which `edge.proxy_protocol` wants of a trusted proxy"
    )]
    Missing,
    /// A header of a peer that may not send one.
    #[error("it begins with a PROXY header, and comes from none of `edge.trusted_proxies`")]
    NotTrusted,
    /// A header that breaks this rule of the specification.
    #[error("its PROXY header {0}")]
    Malformed(&'static str),
    /// The stream ended before the header did.
    #[error("the connection ended within the PROXY header")]
    Ended,
    /// The stream broke before the header was complete.
    #[error("the connection broke within the PROXY header: {0}")]
    Io(io::Error),
}

/// Whether these are the first bytes of a header. `false` where there are too
/// few to distinguish it from HTTP and TLS.
fn begins_header(bytes: &[u8]) -> bool {
    bytes.starts_with(V1) || bytes.get(..5).is_some_and(|first| V2.starts_with(first))
}

/// Takes the header off a stream.
pub async fn read(stream: &mut TcpStream) -> Result<Source, Broken> {
    let mut head = [0; MAX_V1];
    // The shortest line of version 1 has 15 bytes.
    let mut have = 0;
    while have < V2.len() {
        let room = head.get_mut(have..V2.len()).unwrap_or_default();
        have += match stream.read(room).await {
            Ok(0) | Err(_) if have == 0 => return Err(Broken::Nothing),
            Ok(0) => return Err(Broken::Ended),
            Ok(count) => count,
            Err(error) => return Err(Broken::Io(error)),
        };
        let read = head.get(..have).unwrap_or_default();
        if !V2.starts_with(read) && !V1.starts_with(read) && !read.starts_with(V1) {
            return Err(Broken::Missing);
        }
    }
    if head.starts_with(V2) {
        read_v2(stream, &mut head).await
    } else {
        read_v1(stream, &mut head, have).await
    }
}

/// Checks that a stream does not begin with a header. One that comes in pieces is
/// refused by TLS or HTTP, for which it is no valid beginning either.
pub async fn refuse(stream: &TcpStream) -> Result<Source, Broken> {
    match peeked(stream).await {
        Some(true) => Err(Broken::NotTrusted),
        Some(false) => Ok(Source::NotSaid),
        None => Err(Broken::Nothing),
    }
}

/// Waits for the first bytes, and checks whether they begin a header. Nothing is
/// taken off the stream.
pub(super) async fn begins(stream: &TcpStream) -> bool {
    peeked(stream).await == Some(true)
}

/// `None`: the connection ended before a byte came.
async fn peeked(stream: &TcpStream) -> Option<bool> {
    let mut first = [0; V2.len()];
    match stream.peek(&mut first).await {
        Ok(0) | Err(_) => None,
        Ok(there) => Some(begins_header(first.get(..there).unwrap_or_default())),
    }
}

/// Waits for a byte or the end; `true`: a byte has come.
pub async fn goes_on(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]).await, Ok(1..))
}

async fn read_v1(
    stream: &mut TcpStream,
    line: &mut [u8; MAX_V1],
    mut have: usize,
) -> Result<Source, Broken> {
    loop {
        let Some(room) = line.get_mut(have..).filter(|room| !room.is_empty()) else {
            return Err(Broken::Malformed("is a line of more than 107 bytes"));
        };
        // Peeked first, so that no byte behind the line is taken.
        let there = stream.peek(room).await.map_err(Broken::Io)?;
        let there = room.get_mut(..there).unwrap_or_default();
        let end = there.iter().position(|byte| *byte == b'\n');
        let take = end.map_or(there.len(), |end| end + 1);
        if take == 0 {
            return Err(Broken::Ended);
        }
        stream.read_exact(there.get_mut(..take).unwrap_or_default()).await.map_err(Broken::Io)?;
        have += take;
        if end.is_some() {
            return parse_v1(line.get(..have).unwrap_or_default());
        }
    }
}

async fn read_v2(stream: &mut TcpStream, head: &mut [u8; MAX_V1]) -> Result<Source, Broken> {
    let fixed = head.get_mut(V2.len()..FIXED).unwrap_or_default();
    exactly(stream, fixed).await?;
    let len = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if FIXED + len > MAX_V2 {
        return Err(Broken::Malformed("is longer than 4096 bytes"));
    }
    let wanted = len.min(ADDRESSES);
    exactly(stream, head.get_mut(FIXED..FIXED + wanted).unwrap_or_default()).await?;
    let source = parse_v2(head.get(..FIXED + wanted).unwrap_or_default())?;
    let mut left = len - wanted;
    let mut unread = [0; 256];
    while left > 0 {
        let part = unread.len().min(left);
        exactly(stream, unread.get_mut(..part).unwrap_or_default()).await?;
        left -= part;
    }
    Ok(source)
}

async fn exactly(stream: &mut TcpStream, bytes: &mut [u8]) -> Result<(), Broken> {
    match stream.read_exact(bytes).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Broken::Ended),
        Err(error) => Err(Broken::Io(error)),
    }
}

/// Parses a line, its end included.
fn parse_v1(line: &[u8]) -> Result<Source, Broken> {
    let line = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    let line = line.ok_or(Broken::Malformed("is not a line of text that ends in CR LF"))?;
    let mut words = line.split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // The rest of the line is to be ignored.
        return Ok(Source::NotSaid);
    }
    let [Some(source), Some(destination), Some(from), Some(to), None] =
        std::array::from_fn(|_| words.next())
    else {
        return Err(Broken::Malformed("does not have two addresses and two ports"));
    };
    let ip = match family {
        "TCP4" => both::<Ipv4Addr>(source, destination).map(IpAddr::V4),
        "TCP6" => both::<Ipv6Addr>(source, destination).map(IpAddr::V6),
        _ => return Err(Broken::Malformed("is for neither TCP4 nor TCP6 nor UNKNOWN")),
    };
    let ip = ip.ok_or(Broken::Malformed("has no addresses of its family"))?;
    if !is_port(from) || !is_port(to) {
        return Err(Broken::Malformed("has ports that are none"));
    }
    Ok(Source::Client(ip.to_canonical()))
}

/// The first of two addresses.
fn both<A: std::str::FromStr>(source: &str, destination: &str) -> Option<A> {
    destination.parse::<A>().ok()?;
    source.parse().ok()
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Parses the fixed part and as much of the addresses as there is.
fn parse_v2(header: &[u8]) -> Result<Source, Broken> {
    let (Some(&[version, family]), Some(addresses)) = (header.get(12..14), header.get(FIXED..))
    else {
        return Err(Broken::Malformed("is cut off"));
    };
    match version {
        // LOCAL: the family is to be ignored.
        0x20 => return Ok(Source::NotSaid),
        0x21 => {}
        _ => return Err(Broken::Malformed("has a version or command that is unknown")),
    }
    let short = Broken::Malformed("is too short for addresses of its family");
    let ip = match family {
        0x11 => {
            addresses.get(..12).and_then(|it| it.first_chunk::<4>()).map(|it| IpAddr::from(*it))
        }
        0x21 => {
            addresses.get(..36).and_then(|it| it.first_chunk::<16>()).map(|it| IpAddr::from(*it))
        }
        // Unspecified, UDP, and unix sockets.
        0x00..=0x02 | 0x10 | 0x12 | 0x20 | 0x22 | 0x30..=0x32 => return Ok(Source::NotSaid),
        _ => return Err(Broken::Malformed("has a family or transport that is unknown")),
    };
    ip.map(|ip| Source::Client(ip.to_canonical())).ok_or(short)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&V2[..], &[command, family], &len, body].concat()
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x34, 1, 0xbb];

    fn v6(ip: &str) -> Vec<u8> {
        let ip: Ipv6Addr = ip.parse().unwrap();
        [&ip.octets()[..], &[0; 16], &[0x12, 0x34, 1, 0xbb]].concat()
    }

    /// Writes bytes in these parts; returns the result, and the bytes left for the
    /// next reader.
    async fn taken(parts: &[&[u8]]) -> (Result<Source, Broken>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let parts: Vec<_> = parts.iter().map(|part| part.to_vec()).collect();
        let is_slow = parts.len() < 200;
        let writer = tokio::spawn(async move {
            for part in parts {
                client.write_all(&part).await.unwrap();
                if is_slow {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
            }
            client.shutdown().await.unwrap();
            client
        });
        let read = tokio::time::timeout(Duration::from_secs(10), read(&mut stream)).await.unwrap();
        let mut left = Vec::new();
        if read.is_ok() {
            stream.read_to_end(&mut left).await.unwrap();
        }
        drop(writer.await.unwrap());
        (read, left)
    }

    fn client(ip: &str) -> Source {
        Source::Client(ip.parse().unwrap())
    }

    #[tokio::test]
    async fn a_header_is_taken_and_nothing_behind_it() {
        let tlvs = [&V4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        let large = [&V4[..], &[7; MAX_V2 - FIXED - 12]].concat();
        let cases: &[(&[u8], Source)] = &[
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4660 443\r\n", client("203.0.113.7")),
            (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", client("255.255.255.255")),
            (b"PROXY TCP6 2001:db8::7 ::1 4660 443\r\n", client("2001:db8::7")),
            (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 0 0\r\n", client("203.0.113.7")),
            (
                b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                client("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ),
            (b"PROXY UNKNOWN\r\n", Source::NotSaid),
            (b"PROXY UNKNOWN whatever may be said here\r\n", Source::NotSaid),
            (&v2(0x21, 0x11, &V4), client("203.0.113.7")),
            (&v2(0x21, 0x11, &tlvs), client("203.0.113.7")),
            (&v2(0x21, 0x11, &large), client("203.0.113.7")),
            (&v2(0x21, 0x21, &v6("2001:db8::7")), client("2001:db8::7")),
            (&v2(0x21, 0x21, &v6("::ffff:203.0.113.7")), client("203.0.113.7")),
            (&v2(0x20, 0x00, &[]), Source::NotSaid),
            (&v2(0x20, 0x11, &V4), Source::NotSaid),
            (&v2(0x20, 0x11, &[]), Source::NotSaid),
            (&v2(0x20, 0xff, &[1, 2, 3]), Source::NotSaid),
            (&v2(0x21, 0x00, &[]), Source::NotSaid),
            (&v2(0x21, 0x00, &V4), Source::NotSaid),
            (&v2(0x21, 0x31, &[b'/'; 216]), Source::NotSaid),
            (&v2(0x21, 0x12, &V4), Source::NotSaid),
        ];
        for (header, source) in cases {
            for behind in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n"] {
                let all = [header, behind].concat();
                let bytes: Vec<_> = all.chunks(1).collect();
                for parts in [&[&all[..]][..], &[header, behind], &bytes] {
                    let (read, left) = taken(parts).await;
                    let shown = String::from_utf8_lossy(header);
                    assert_eq!(read.unwrap(), *source, "{shown}");
                    assert_eq!(left, behind, "{shown}");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_as_soon_as_it_shows() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 92], b"\r\n"].concat();
        assert_eq!(long.len(), 108);
        let cases: &[&[u8]] = &[
            b"G",
            b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"PROXY\r\nTCP4 1.1.1.1 1.1.1.1 1 1\r\n",
            b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
            b"\r\n\r\nGET / HTTP/1.1\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 1\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2 3\r\n",
            b"PROXY TCP4  203.0.113.7 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 1 65536\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 +1 2\r\n",
            b"PROXY TCP4 203.0.113.7 ::1 1 2\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
            b"PROXY TCP6 203.0.113.7 10.0.0.1 1 2\r\n",
            b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            b"PROXY UDP4 203.0.113.7 10.0.0.1 1 2\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\r\n",
            b"PROXY \xff\xff\xff\xff\xff\xff\xff\xff\r\n",
            b"PROXY TCP4 203.0.113.7",
            b"PROXY ",
            b"\r\n\r\n\0\r\nQUIT\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00",
            &long,
            &v2(0x11, 0x11, &V4),
            &v2(0x22, 0x11, &V4),
            &v2(0x21, 0x41, &V4),
            &v2(0x21, 0x13, &V4),
            &v2(0x21, 0x11, &V4[..11]),
            &v2(0x21, 0x21, &V4),
            &v2(0x21, 0x11, &[&V4[..], &[0; MAX_V2 - FIXED - 11]].concat()),
            &v2(0x21, 0x11, &vec![0; 65535]),
            &v2(0x21, 0x11, &V4)[..27],
        ];
        for case in cases {
            let shown = String::from_utf8_lossy(&case[..case.len().min(80)]);
            let (read, _) = taken(&[case]).await;
            let error = read.expect_err(&shown);
            assert!(!matches!(error, Broken::Nothing), "{shown}: {error}");
        }
    }

    #[tokio::test]
    async fn a_look_whether_the_port_is_open_is_told_from_a_broken_header() {
        assert!(matches!(taken(&[]).await.0, Err(Broken::Nothing)));
        assert!(matches!(taken(&[b"PRO"]).await.0, Err(Broken::Ended)));
    }

    #[test]
    fn what_a_stranger_begins_with_is_known() {
        assert!(begins_header(b"PROXY TCP4"));
        assert!(begins_header(V2));
        assert!(begins_header(b"\r\n\r\n\0"));
        for other in
            [&b""[..], b"PRO", b"GET / ", b"\r\n\r\nGET", b"\r\n\r\n", b"\x16\x03\x01\x02\0"]
        {
            assert!(!begins_header(other), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_and_no_header_makes_it_panic(
            line in proptest::collection::vec(any::<u8>(), 0..120),
            family: u8,
            command: u8,
            body in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let _either = parse_v1(&line);
            let _either = parse_v1(&[V1, &line, b"\r\n"].concat());
            let _either = parse_v2(&v2(command, family, &body));
        }

        #[test]
        fn what_is_written_is_what_is_read(source: Ipv4Addr, v6: Ipv6Addr, port: u16) {
            let line = format!("PROXY TCP4 {source} 10.0.0.1 {port} 443\r\n");
            prop_assert_eq!(parse_v1(line.as_bytes()).unwrap(), Source::Client(source.into()));
            let line = format!("PROXY TCP6 {v6} ::1 {port} 443\r\n");
            let v6 = IpAddr::V6(v6);
            prop_assert_eq!(parse_v1(line.as_bytes()).unwrap(), Source::Client(v6.to_canonical()));
        }
    }
}
