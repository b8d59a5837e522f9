"""The edge as an HTTP server: what is there, what is not, and bad upgrades."""

import base64
import http.client
import os
import socket

import pytest
from admin_client import ADMIN
from configuration import gateway_config
from session_client import PATIENCE
from websockets.exceptions import InvalidStatus

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
}


def request(gateway, path, headers=None, method="GET"):
    connection = http.client.HTTPConnection(*gateway.address.split(":"), timeout=PATIENCE)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode() if response.status != 101 else ""
    finally:
        connection.close()


def test_the_root_says_what_this_is(gateway):
    status, _, body = request(gateway, "/")
    assert status == 200
    assert "Bridgehead" in body
    assert "/ws" in body


@pytest.mark.parametrize("path", ["/nope", "/ws/", "/ws2", "/favicon.ico", "//ws"])
def test_anything_else_is_not_found(gateway, path):
    assert request(gateway, path)[0] == 404


def test_a_request_for_another_path_is_not_upgraded(gateway):
    assert request(gateway, "/other", UPGRADE)[0] == 404


def test_the_websocket_path_without_an_upgrade_asks_for_one(gateway):
    status, headers, _ = request(gateway, "/ws")
    assert status == 426
    assert headers["Upgrade"].lower() == "websocket"


def test_a_proper_upgrade_is_accepted(gateway):
    status, headers, _ = request(gateway, "/ws", UPGRADE)
    assert status == 101
    assert headers["Upgrade"].lower() == "websocket"


def test_a_query_does_not_matter(gateway):
    assert request(gateway, "/ws?from=old-client", UPGRADE)[0] == 101


def test_another_version_is_told_the_right_one(gateway):
    """RFC 6455, section 4.4."""
    status, headers, _ = request(gateway, "/ws", {**UPGRADE, "Sec-WebSocket-Version": "8"})
    assert status == 426
    assert headers["Sec-WebSocket-Version"] == "13"


@pytest.mark.parametrize("key", [None, "", "not base64!", base64.b64encode(b"short").decode()])
def test_an_upgrade_with_a_bad_key_is_a_bad_request(gateway, key):
    headers = {name: value for name, value in UPGRADE.items() if name != "Sec-WebSocket-Key"}
    if key is not None:
        headers["Sec-WebSocket-Key"] = key
    assert request(gateway, "/ws", headers)[0] == 400


def test_only_get_can_upgrade(gateway):
    assert request(gateway, "/ws", UPGRADE, method="POST")[0] in (400, 405)


def test_the_path_is_configured(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services, edge={"path": "/socket"}))
    connect(gateway).log_in()
    assert request(gateway, "/ws", UPGRADE)[0] == 404


ALLOWED = "https://app.example.com"


@pytest.fixture(scope="module")
def choosy(share_gateway, services):
    return share_gateway(gateway_config(services, edge={"allowed_origins": [ALLOWED]}))


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "http://app.example.com", ALLOWED + ".evil.com", "null"]
)
def test_a_page_from_elsewhere_is_forbidden(choosy, connect, origin):
    with pytest.raises(InvalidStatus) as refused:
        connect(choosy, origin=origin)
    assert refused.value.response.status_code == 403


def test_a_page_from_an_allowed_origin_is_let_in(choosy, connect):
    connect(choosy, origin=ALLOWED).log_in()


def test_a_client_that_is_no_browser_has_no_origin_and_is_let_in(choosy, connect):
    connect(choosy).log_in()


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(b"", id="nothing at all"),
        pytest.param(b"GET /ws HTTP/1.1\r\nHost: x\r\n", id="half a request"),
    ],
)
def test_a_slow_handshake_is_cut_off(start_gateway, services, beginning):
    gateway = start_gateway(gateway_config(services, session={"handshake_timeout": "500ms"}))
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as slow:
        slow.sendall(beginning)
        while slow.recv(4096):
            pass


def test_a_handshake_that_trickles_is_cut_off(start_gateway, services):
    gateway = start_gateway(gateway_config(services, session={"handshake_timeout": "500ms"}))
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as slow:
        slow.settimeout(0.1)
        slow.sendall(b"GET /ws HTTP/1.1\r\n")
        for number in range(100):
            try:
                slow.sendall(f"X-{number}: drip\r\n".encode())
                if not slow.recv(4096):
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("still open after ten seconds")


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"\x00" * 1000])
def test_junk_does_not_harm_the_next_client(gateway, connect, junk):
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as sock:
        sock.sendall(junk)
    connect().log_in()


# RFC 9112, section 3.2: one Host, which every server on the way understands alike.


def status_of(address, lines):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), PATIENCE) as sock:
        sock.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        return int(sock.makefile("rb").readline().split()[1])


BAD_HOSTS = {
    "none": [],
    "two": ["Host: a", "Host: a"],
    "two that differ": ["Host: a", "host: b"],
    "a space": ["Host: a b"],
    "a path": ["Host: a/b"],
    "a user": ["Host: me@a"],
    "a URL": ["Host: http://a"],
    "no port": ["Host: a:b"],
    "half an address": ["Host: [::1"],
}


@pytest.mark.parametrize("path", ["/", "/ws", "/nope"])
@pytest.mark.parametrize("hosts", BAD_HOSTS.values(), ids=BAD_HOSTS)
def test_a_request_without_a_right_host_is_bad(gateway, path, hosts):
    assert status_of(gateway.address, [f"GET {path} HTTP/1.1", *hosts]) == 400


def test_an_upgrade_without_a_right_host_is_bad(gateway):
    upgrade = [f"{name}: {value}" for name, value in UPGRADE.items()]
    assert status_of(gateway.address, ["GET /ws HTTP/1.1", *upgrade]) == 400
    assert status_of(gateway.address, ["GET /ws HTTP/1.1", "Host: gw.example:1", *upgrade]) == 101


@pytest.mark.parametrize("host", ["gw.example.com", "127.0.0.1:8080", "[::1]:8080", "my_service", ""])
def test_any_right_host_will_do(gateway, host):
    assert status_of(gateway.address, ["GET / HTTP/1.1", f"Host: {host}"]) == 200


def test_before_http_1_1_there_need_not_be_a_host(gateway):
    assert status_of(gateway.address, ["GET / HTTP/1.0"]) == 200


@pytest.mark.parametrize("hosts", BAD_HOSTS.values(), ids=BAD_HOSTS)
def test_the_admin_listener_wants_a_right_host_too(with_host_admin, hosts):
    assert status_of(with_host_admin.admin_address, ["GET /healthz HTTP/1.1", *hosts]) == 400
    assert status_of(with_host_admin.admin_address, ["GET /healthz HTTP/1.1", "Host: a:1"]) == 200


@pytest.fixture(scope="module")
def with_host_admin(share_gateway, services):
    gateway = share_gateway(gateway_config(services, admin=ADMIN))
    event = gateway.wait_event(lambda event: event.get("message") == "admin listening")
    gateway.admin_address = event["address"]
    return gateway
