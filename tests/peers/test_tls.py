"""wss: the edge's own TLS, and its certificate's renewal."""

import shutil
import socket
import ssl

import credentials
import pytest
from configuration import gateway_config
from cryptography import x509
from processes import eventually
from session_client import KEEP_ALIVE, Code


@pytest.fixture
def authority(tmp_path):
    return credentials.Authority(tmp_path / "authority")


@pytest.fixture
def served(start_gateway, services, authority, tmp_path):
    """A gateway with TLS, and the function that gives it a new certificate."""
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def renew(name):
        new_cert, new_key, serial = authority.issue(name)
        # As certificate renewers do: each file replaced in one step, one after the other.
        for new, old in ((new_key, key), (new_cert, cert)):
            shutil.copy(new, f"{old}.new")
            (old.parent / f"{old.name}.new").replace(old)
        return serial

    serial = renew("first")
    config = gateway_config(services, edge={"tls": {"cert": str(cert), "key": str(key)}})
    gateway = start_gateway(config)
    gateway.first_serial, gateway.renew, gateway.cert = serial, renew, cert
    return gateway


def serial_of(client):
    der = client.ws.socket.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).serial_number


def shown_serial(gateway, authority):
    """The same of a new connection, without a session.

    For use in a loop: websockets reads and writes from two threads, which Python's ssl does not
    always survive (one connection in a thousand gets no further).
    """
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as sock:
        with authority.client_context().wrap_socket(sock, server_hostname="127.0.0.1") as secured:
            der = secured.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).serial_number


def test_a_session_runs_over_wss(served, connect, authority):
    client = connect(served, ssl=authority.client_context()).log_in()
    assert client.call(KEEP_ALIVE).code == Code.Success
    assert serial_of(client) == served.first_serial


def test_plain_ws_is_not_served_beside_it(served):
    with socket.create_connection(("127.0.0.1", served.port), 10) as plain:
        plain.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            assert b"HTTP/1.1 101" not in plain.recv(4096)
        except ConnectionError:
            pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_versions_of_tls_are_spoken(served, connect, authority, version):
    context = authority.client_context()
    context.minimum_version = context.maximum_version = version
    connect(served, ssl=context).log_in()


def test_http_1_1_is_what_alpn_agrees_on(served, authority):
    """A browser offers HTTP/2 as well, over which this upgrade does not exist."""
    context = authority.client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", served.port), 10) as sock:
        with context.wrap_socket(sock, server_hostname="127.0.0.1") as secured:
            assert secured.selected_alpn_protocol() in (None, "http/1.1")


def test_a_renewed_certificate_is_served_and_old_sessions_go_on(served, connect, authority):
    old = connect(served, ssl=authority.client_context()).log_in()
    serial = served.renew("second")
    eventually(lambda: shown_serial(served, authority) == serial)
    assert serial_of(connect(served, ssl=authority.client_context()).log_in()) == serial
    assert old.call(KEEP_ALIVE).code == Code.Success


def test_a_broken_certificate_leaves_the_old_one_in_force_and_says_so(served, connect, authority):
    start = len(served.lines)
    served.cert.write_text("-----BEGIN CERTIFICATE-----\nnot quite\n-----END CERTIFICATE-----\n")
    served.wait_line(
        lambda line: "tls.crt" in line and ("ERROR" in line or "WARN" in line), start=start
    )
    client = connect(served, ssl=authority.client_context()).log_in()
    assert serial_of(client) == served.first_serial


def test_a_client_that_stops_in_the_tls_handshake_is_cut_off(start_gateway, services, authority):
    cert, key, _ = authority.issue("slow")
    edge = {"tls": {"cert": str(cert), "key": str(key)}}
    config = gateway_config(services, edge=edge, session={"handshake_timeout": "500ms"})
    gateway = start_gateway(config)
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as slow:
        slow.sendall(b"\x16\x03\x01\x02\x00")
        try:
            while slow.recv(4096):
                pass
        except ConnectionError:
            pass


def test_a_certificate_that_does_not_exist_is_a_configuration_error(start_gateway, services):
    edge = {"tls": {"cert": "nowhere.crt", "key": "nowhere.key"}}
    gateway = start_gateway(gateway_config(services, edge=edge), wait=False)
    assert gateway.wait_exit() == 64
    assert "nowhere.crt" in gateway.tail()
