"""The PROXY protocol: a real HAProxy in front, and headers that nobody should believe.

The balancer reaches the gateway from 127.0.0.2, which is trusted; clients have other addresses.
https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
"""

import socket
import ssl
import struct
import time

import credentials
import pytest
from admin_client import ADMIN, grown, metrics
from configuration import PUSH, gateway_config
from haproxy import Haproxy
from probe_pb2 import EchoReq, EchoResp
from processes import as_event, eventually
from session_client import KEEP_ALIVE, PATIENCE, Code

BALANCER, INNER, CLIENT = "127.0.0.2", "127.0.0.3", "127.0.0.9"
EDGE = {"proxy_protocol": True, "trusted_proxies": [BALANCER, INNER]}
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
REFUSED = 'bridgehead_connections_refused_total{reason="%s"}'


@pytest.fixture
def start_haproxy(tmp_path):
    started = []

    def start(gateway, server, **options):
        address = gateway if isinstance(gateway, str) else gateway.address
        server = f"{server} source {options.pop('source', BALANCER)}"
        directory = tmp_path / f"haproxy-{len(started)}"
        started.append(Haproxy(directory, address, server=server, **options))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture(scope="module")
def behind_balancer(share_gateway, services):
    gateway = share_gateway(gateway_config(services, edge=EDGE, push=PUSH, admin=ADMIN))
    event = gateway.wait_event(lambda event: event.get("message") == "admin listening")
    gateway.admin_address = event["address"]
    return gateway


def addresses(client):
    """What the service sees, in the message and in the metadata."""
    response = client.call_ok("/v1/probe/echo", EchoReq(text="hi"), EchoResp)
    metadata = {entry.key: entry.value.decode() for entry in response.metadata}
    return {EchoReq.FromString(response.request).commonReq.ip, metadata["x-forwarded-for"]}


def v2(ip, port=4711, command=0x21, tlvs=b""):
    family, octets = (0x21, socket.AF_INET6) if ":" in ip else (0x11, socket.AF_INET)
    packed = socket.inet_pton(octets, ip)
    body = packed + packed + struct.pack("!HH", port, 443) + tlvs
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


def v1(ip, port=4711):
    return f"PROXY TCP{6 if ':' in ip else 4} {ip} {ip} {port} 443\r\n".encode()


# Behind HAProxy.

VERSIONS = [
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2 proxy-v2-options unique-id,crc32c",
]


@pytest.mark.parametrize("server", VERSIONS)
def test_the_clients_address_is_that_of_the_header(
    behind_balancer, start_haproxy, connect, open_backend, server
):
    options = {"lines": ["unique-id-format %[uuid()]"]} if "unique-id" in server else {}
    haproxy = start_haproxy(behind_balancer, server, **options)
    user = f"user of {server}"
    client = connect(haproxy.url, source=CLIENT).log_in(user)
    assert addresses(client) == {CLIENT}
    [listed] = open_backend(behind_balancer).sessions(user_ids=[user])
    assert listed.remote_ip == CLIENT


@pytest.mark.parametrize("server", VERSIONS[:2])
def test_ipv6_clients_too(behind_balancer, start_haproxy, connect, server):
    """The balancer reaches the gateway over IPv4 all the same."""
    haproxy = start_haproxy(behind_balancer, server, listen="::1")
    assert addresses(connect(haproxy.url).log_in()) == {"::1"}


@pytest.fixture
def with_tls(start_gateway, services, tmp_path):
    authority = credentials.Authority(tmp_path / "authority")
    cert, key, _ = authority.issue("gateway")
    edge = {**EDGE, "tls": {"cert": str(cert), "key": str(key)}}
    gateway = start_gateway(gateway_config(services, edge=edge))
    gateway.context = authority.client_context()
    return gateway


@pytest.mark.parametrize("server", VERSIONS[:2])
def test_the_header_comes_before_tls(with_tls, start_haproxy, connect, server):
    haproxy = start_haproxy(with_tls, server)
    url = haproxy.url.replace("ws:", "wss:")
    assert addresses(connect(url, source=CLIENT, ssl=with_tls.context).log_in()) == {CLIENT}


@pytest.mark.parametrize("server", VERSIONS[:2])
def test_a_header_of_http_besides_is_believed_of_whom_the_first_one_names(
    behind_balancer, start_haproxy, connect, server
):
    forged = {"X-Forwarded-For": "198.51.100.66"}
    # One balancer that speaks HTTP: the client itself is in both headers.
    http = start_haproxy(behind_balancer, server, mode="http", lines=["option forwardfor"])
    assert addresses(connect(http.url, source=CLIENT, headers=forged).log_in()) == {CLIENT}
    # One that speaks HTTP behind one that doesn't: the second names the first.
    tcp = start_haproxy(behind_balancer, server)
    front = start_haproxy(tcp.address, "", mode="http", lines=["option forwardfor"], source=INNER)
    assert addresses(connect(front.url, source=CLIENT, headers=forged).log_in()) == {CLIENT}
    # A client that comes to the second one directly.
    assert addresses(connect(tcp.url, source=CLIENT, headers=forged).log_in()) == {CLIENT}


@pytest.mark.parametrize(
    "check",
    [
        "check inter 100ms",
        "check inter 100ms send-proxy",
        "check inter 100ms send-proxy-v2",
        "check inter 100ms check-send-proxy send-proxy-v2",
        "http check inter 100ms check-send-proxy send-proxy",
        "http check inter 100ms check-send-proxy send-proxy-v2",
    ],
)
def test_health_checks_are_answered_and_warn_of_nothing(start_gateway, services, start_haproxy, check):
    gateway = start_gateway(gateway_config(services, edge=EDGE, admin=ADMIN))
    event = gateway.wait_event(lambda event: event.get("message") == "admin listening")
    gateway.admin_address = event["address"]
    lines = []
    if check.startswith("http "):
        lines = ["option httpchk", "http-check send meth GET uri / ver HTTP/1.1 hdr host gw"]
        check = check.removeprefix("http ")
    haproxy = start_haproxy(gateway, check, lines=lines)
    accepted = "bridgehead_connections_accepted_total"
    # The plainest check breaks off so early that the system tells nobody.
    eventually(lambda: metrics(gateway)[accepted] > (10 if "send-proxy" in check else -1))
    time.sleep(0.5)
    health = haproxy.health()
    # With a star while the next one is under way.
    assert health["check_status"].removeprefix("* ") in ("L4OK", "L7OK"), health
    assert (health["status"], health["chkfail"]) == ("UP", "0"), health
    refused = {name: count for name, count in metrics(gateway).items() if "refused" in name and count}
    # A request that opens no session is one.
    assert set(refused) <= {REFUSED % "http"} if lines else not refused, (refused, gateway.tail())
    warnings = [line for line in gateway.lines if as_event(line).get("level") in ("WARN", "ERROR")]
    assert not [line for line in warnings if "PROXY" in line or "peer" in line], warnings


def test_the_admin_listener_can_be_asked_instead(behind_balancer, start_haproxy, connect):
    """As docs/deploying.md shows it: no header goes there."""
    port = behind_balancer.admin_address.rsplit(":", 1)[1]
    server = f"send-proxy-v2 check inter 100ms port {port}"
    haproxy = start_haproxy(behind_balancer, server, lines=["option httpchk GET /readyz"])
    eventually(lambda: haproxy.health()["check_status"].removeprefix("* ") == "L7OK")
    assert haproxy.health()["status"] == "UP"
    assert addresses(connect(haproxy.url, source=CLIENT).log_in()) == {CLIENT}


def test_connections_are_counted_for_the_client(start_gateway, services, start_haproxy, connect):
    gateway = start_gateway(gateway_config(services, edge={**EDGE, "max_connections_per_ip": 1}))
    haproxy = start_haproxy(gateway, "send-proxy-v2")
    connect(haproxy.url, source=CLIENT).log_in()
    connect(haproxy.url, source="127.0.0.10").log_in()
    assert connect(haproxy.url, source=CLIENT).wait_closed()[0] == 1013


# Headers written by hand.


@pytest.mark.parametrize("write", [v1, v2])
@pytest.mark.parametrize("ip", ["203.0.113.7", "2001:db8::7"])
def test_a_header_may_come_in_one_piece_or_byte_by_byte(behind_balancer, connect, write, ip):
    header = write(ip)
    for pieces in ([header], [header[i : i + 1] for i in range(len(header))]):
        assert addresses(connect(behind_balancer, source=BALANCER, preamble=pieces).log_in()) == {ip}


def test_a_header_may_have_extensions_up_to_4_kib(behind_balancer, connect):
    tlvs = b"\xe0" + struct.pack("!H", 4000) + b"\x00" * 4000
    header = v2("203.0.113.7", tlvs=tlvs)
    assert addresses(connect(behind_balancer, source=BALANCER, preamble=[header]).log_in()) == {"203.0.113.7"}


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"PROXY UNKNOWN\r\n", id="v1 unknown"),
        pytest.param(b"PROXY UNKNOWN 1.2.3.4 1.2.3.4 1 2\r\n", id="v1 unknown with addresses"),
        pytest.param(v2("203.0.113.7", command=0x20), id="v2 local"),
        pytest.param(SIGNATURE + b"\x20\x00\x00\x00", id="v2 local, empty"),
        pytest.param(SIGNATURE + b"\x21\x00\x00\x00", id="v2 unspecified"),
        pytest.param(SIGNATURE + b"\x21\x31\x00\xd8" + b"/" * 216, id="v2 unix"),
    ],
)
def test_a_header_without_an_address_means_the_balancer_itself(behind_balancer, connect, header):
    """It may pass on anybody's connection, so the request does not say whose it is, either."""
    forged = {"X-Forwarded-For": "198.51.100.66"}
    client = connect(behind_balancer, source=BALANCER, preamble=[header], headers=forged).log_in()
    assert addresses(client) == {BALANCER}


def outcome(gateway, source, data, *, linger=True):
    """What a connection that sends this gets until it is closed."""
    sock = socket.create_connection(("127.0.0.1", gateway.port), PATIENCE, source_address=(source, 0))
    with sock:
        sock.sendall(data)
        if not linger:
            sock.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while part := sock.recv(4096):
                answer += part
        except ConnectionError:
            pass
        return answer


REQUEST = b"GET / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"

BROKEN = {
    "missing": b"",
    "no addresses": b"PROXY TCP4\r\n",
    "no port": b"PROXY TCP4 203.0.113.7 203.0.113.7 1 x\r\n",
    "another family": b"PROXY TCP4 2001:db8::1 2001:db8::1 1 2\r\n",
    "a long line": b"PROXY UNKNOWN " + b"x" * 1000 + b"\r\n",
    "no end of line": b"PROXY UNKNOWN\n",
    "version 3": SIGNATURE + b"\x31\x11\x00\x0c" + b"\x01" * 12,
    "an unknown command": v2("203.0.113.7", command=0x22),
    "an unknown family": SIGNATURE + b"\x21\x41\x00\x0c" + b"\x01" * 12,
    "too short": SIGNATURE + b"\x21\x11\x00\x04" + b"\x01" * 4,
    "too long": SIGNATURE + b"\x21\x11\xff\xff" + b"\x01" * 65535,
}


@pytest.mark.parametrize("header", BROKEN.values(), ids=BROKEN)
def test_a_missing_or_broken_header_closes_the_connection(behind_balancer, header):
    before = metrics(behind_balancer)
    assert outcome(behind_balancer, BALANCER, header + REQUEST) == b""
    more = grown(before, metrics(behind_balancer))
    assert more[REFUSED % "proxy_protocol"] == 1


def test_a_header_that_is_cut_off_is_broken(behind_balancer):
    for header in (v1("203.0.113.7"), v2("203.0.113.7")):
        for cut in (1, 5, 13, len(header) - 1):
            before = metrics(behind_balancer)
            assert outcome(behind_balancer, BALANCER, header[:cut], linger=False) == b""
            eventually(lambda: grown(before, metrics(behind_balancer)).get(REFUSED % "proxy_protocol") == 1)


@pytest.mark.parametrize("header", [b"", b"P", b"PROXY TCP4 203.0", SIGNATURE, v2("203.0.113.7")[:20]])
def test_a_header_that_does_not_come_is_waited_for_as_long_as_a_handshake(
    start_gateway, services, header
):
    gateway = start_gateway(gateway_config(services, edge=EDGE, session={"handshake_timeout": "500ms"}))
    begin = time.monotonic()
    assert outcome(gateway, BALANCER, header) == b""
    assert 0.4 < time.monotonic() - begin < 5


@pytest.mark.parametrize("header", [v1("203.0.113.7"), v2("203.0.113.7"), v2("203.0.113.7", command=0x20)])
@pytest.mark.parametrize("pieces", [1, 2, 100])
def test_a_strangers_header_is_refused(behind_balancer, header, pieces):
    before = metrics(behind_balancer)
    sock = socket.create_connection(
        ("127.0.0.1", behind_balancer.port), PATIENCE, source_address=(CLIENT, 0)
    )
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data, answer = header + REQUEST, b""
        size = max(1, len(header) // pieces)
        try:
            for at in range(0, len(data), size):
                sock.sendall(data[at : at + size])
                time.sleep(0.001)
            while part := sock.recv(4096):
                answer += part
        except ConnectionError:
            pass
    # In pieces it is no beginning of HTTP, either.
    assert not answer or answer.startswith(b"HTTP/1.1 400"), answer
    more = grown(before, metrics(behind_balancer))
    assert more.get(REFUSED % "proxy_protocol", 0) + more.get(REFUSED % "http", 0) == 1
    assert pieces > 1 or more.get(REFUSED % "proxy_protocol") == 1


@pytest.mark.parametrize("second", [v1("198.51.100.66"), v2("198.51.100.66")])
def test_a_clients_own_header_behind_the_balancers_is_refused(behind_balancer, second):
    """Some balancers put theirs in front of whatever the client sends."""
    answer = outcome(behind_balancer, BALANCER, v2("203.0.113.7") + second + REQUEST)
    assert not answer or answer.startswith(b"HTTP/1.1 400"), answer


def test_a_strangers_header_before_tls_is_refused(with_tls):
    for header in (v1("203.0.113.7"), v2("203.0.113.7")):
        sock = socket.create_connection(("127.0.0.1", with_tls.port), PATIENCE, source_address=(CLIENT, 0))
        with sock:
            sock.sendall(header)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                with_tls.context.wrap_socket(sock, server_hostname="127.0.0.1")


def test_who_connects_directly_is_who_it_is(behind_balancer, connect):
    """And names nobody else."""
    forged = {"X-Forwarded-For": "198.51.100.66"}
    assert addresses(connect(behind_balancer, source=CLIENT, headers=forged).log_in()) == {CLIENT}


@pytest.mark.parametrize("over_tls", [False, True])
def test_without_the_key_a_header_is_no_beginning_and_the_log_says_so(
    start_gateway, services, tmp_path, over_tls
):
    edge = {}
    if over_tls:
        cert, key, _ = credentials.Authority(tmp_path / "authority").issue("gateway")
        edge = {"tls": {"cert": str(cert), "key": str(key)}}
    gateway = start_gateway(gateway_config(services, edge=edge))
    for write in (v1, v2):
        answer = outcome(gateway, BALANCER, write("203.0.113.7") + REQUEST)
        assert not answer or answer.startswith(b"\x15" if over_tls else b"HTTP/1.1 400"), answer
    warning = gateway.wait_event(lambda event: "edge.proxy_protocol is off" in event.get("message", ""))
    assert (warning["level"], warning["peer"]) == ("WARN", BALANCER)
    lines = [line for line in gateway.lines if "begins with a PROXY header" in line]
    assert [as_event(line)["level"] for line in lines] == ["WARN", "DEBUG"]


def test_a_flood_of_broken_headers_is_one_line_in_the_log_and_harms_nobody(
    start_gateway, services, connect
):
    gateway = start_gateway(gateway_config(services, edge=EDGE, log={"format": "json", "level": "info"}))
    client = connect(gateway, source=BALANCER, preamble=[v2("203.0.113.7")]).log_in()
    for number in range(300):
        source = CLIENT if number % 2 else BALANCER
        outcome(gateway, source, v1("203.0.113.7") if number % 2 else REQUEST)
    assert client.call(KEEP_ALIVE).code == Code.Success
    warnings = [line for line in gateway.lines if "PROXY header" in line]
    assert len(warnings) == 1, warnings
    assert any("edge.proxy_protocol" in line or "edge.trusted_proxies" in line for line in warnings)


def test_check_says_that_nobody_could_connect(services, run_check):
    done = run_check(gateway_config(services, edge={"proxy_protocol": True}))
    assert done.returncode != 0
    assert "without `trusted_proxies`" in done.stdout + done.stderr
    done = run_check(gateway_config(services, edge={"client_address": "cf-connecting-ip"}))
    assert done.returncode == 0
    assert "`client_address` has no effect" in done.stdout + done.stderr
