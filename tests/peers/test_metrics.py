"""What is counted, by exact differences: one thing happens, and nothing else counts it."""

import contextlib
import json
import socket
import ssl
import time

import credentials
import pytest
import websockets
from admin_client import get, grown, metrics
from configuration import PUSH, gateway_config
from cryptography import x509
from hook_service import HookService, hooks_config
from probe_pb2 import EchoReq, EchoResp, WorkReq
from processes import eventually
from push_client import ACKNOWLEDGED, outcomes, status_of
from session_client import KEEP_ALIVE, SET_CXN_PARAMS, Code


def of(found, name):
    """The samples of one metric, by labels, without those that are 0."""
    labels = {key.removeprefix(name).strip("{}"): value for key, value in found.items() if key.split("{")[0] == name}
    return {key: value for key, value in labels.items() if value}


def settles(gateway, name, expected):
    """Waits until a metric has these samples and no others that are not 0."""
    eventually(lambda: of(metrics(gateway), name) == expected or None)


def http(gateway, request):
    """What the client listener answers to bytes, up to its end."""
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as sock:
        sock.sendall(request.encode())
        answer = b""
        while chunk := sock.recv(4096):
            answer += chunk
        return answer.decode()


# Connections and sessions.


def test_a_connection_that_becomes_no_session_is_counted_by_its_reason(with_admin, services, connect):
    edge = {"max_connections": 3, "max_connections_per_ip": 1, "allowed_origins": ["https://app.example"]}
    gateway = with_admin(gateway_config(services, edge=edge, session={"handshake_timeout": "2s"}))
    refused = "bridgehead_connections_refused_total"
    assert of(metrics(gateway), refused) == {}
    # A page of somebody else's.
    with pytest.raises(websockets.exceptions.InvalidStatus):
        connect(gateway, origin="https://evil.example")
    expected = {'reason="origin"': 1}
    settles(gateway, refused, expected)
    # No WebSocket at all.
    assert "404" in http(gateway, "GET /other HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    expected['reason="http"'] = 1
    settles(gateway, refused, expected)
    # A second one from the same address.
    first = connect(gateway, source="127.0.0.2").log_in()
    assert connect(gateway, source="127.0.0.2").wait_closed()[0] == 1013
    expected['reason="per_ip"'] = 1
    settles(gateway, refused, expected)
    # A fourth one in all.
    others = [connect(gateway, source=source).log_in() for source in ("127.0.0.3", "127.0.0.4")]
    assert connect(gateway, source="127.0.0.5").wait_closed()[0] == 1013
    expected['reason="full"'] = 1
    settles(gateway, refused, expected)
    for client in others:
        client.close()
    eventually(lambda: of(metrics(gateway), "bridgehead_sessions") == {'state="authenticated"': 1})
    # One that says nothing.
    with socket.create_connection(("127.0.0.1", gateway.port), 10, ("127.0.0.6", 0)) as silent:
        silent.recv(1024)
    eventually(lambda: sum(of(metrics(gateway), refused).values()) == sum(expected.values()) + 1)
    assert first.call(KEEP_ALIVE).code == Code.Success
    found = metrics(gateway)
    # Every socket has become one or the other.
    accepted = found["bridgehead_connections_accepted_total"]
    assert accepted == 3 + sum(of(found, refused).values())
    assert found["bridgehead_accept_errors_total"] == 0


def test_a_session_that_says_goodbye_is_not_counted_as_open(with_admin, services, connect_raw, open_backend, user):
    gateway = with_admin(gateway_config(services, push=PUSH))
    sessions = "bridgehead_sessions"
    raw = connect_raw(gateway, user=user)
    assert of(metrics(gateway), sessions) == {'state="authenticated"': 1}
    assert open_backend(gateway).kick(user_ids=[user]) == 1
    # This client takes its time to close its side.
    settles(gateway, sessions, {'state="closing"': 1})
    assert of(metrics(gateway), "bridgehead_sessions_closed_total") == {'code="3005"': 1}
    raw.sock.close()
    settles(gateway, sessions, {})


def test_messages_and_bytes_are_counted_both_ways(with_admin, services, connect, session_key):
    session = {"private_key": str(session_key.private_file)}
    gateway = with_admin(gateway_config(services, session=session))
    sent = []
    client = connect(gateway)
    send = client.ws.send
    client.ws.send = lambda payload: (sent.append(len(payload)), send(payload))
    got = []
    receive = client.receive_frame

    def received(timeout=10):
        frame = receive(timeout)
        if isinstance(frame, bytes):
            got.append(len(frame))
        return frame

    client.receive_frame = received
    # Encrypted from the second message on, so the sizes are not those of what is inside.
    client.log_in(public_key=session_key.public)
    for size in (1, 100, 100_000):
        client.call_ok("/v1/probe/echo", EchoReq(text="x" * size), EchoResp)
    found = metrics(gateway)
    assert len(sent) == len(got) == 5
    assert of(found, "bridgehead_messages_total") == {'direction="received"': 5, 'direction="sent"': 5}
    assert of(found, "bridgehead_message_bytes_total") == {
        'direction="received"': sum(sent),
        'direction="sent"': sum(got),
    }
    assert of(found, "bridgehead_encrypted_handshakes_total") == {'outcome="done"': 1}
    assert found["bridgehead_encrypted_handshakes_waiting"] == 0


# Requests.


def test_a_request_that_leads_to_no_call_is_counted_by_its_reason(with_admin, services, connect, start_services):
    away = {
        "address": "http://127.0.0.1:1",
        "descriptors": "reflection",
        "routes": {"/v1/away/white/a": "probe.Probe/Echo"},
    }
    gateway = with_admin(gateway_config(services, upstreams={"away": away}))
    refused = "bridgehead_requests_refused_total"
    client = connect(gateway).wait_connected()
    client.call("/v1/probe/echo")
    client.send_frame(b"\xff\xff")
    client.receive()
    client.call(SET_CXN_PARAMS, b"\xff")
    assert client.set_cxn_params().code == Code.Success
    client.set_user_params()
    client.call("/v1/away/white/a")
    client.call("/v1/nowhere")
    client.call("/v1/probe/echo", b"\xff")
    client.call("/v1/probe/echo", b"\xff")
    assert of(metrics(gateway), refused) == {
        'code="AuthError",reason="not_logged_in"': 1,
        'code="RequestError",reason="no_request"': 1,
        'code="RetryError",reason="unresolved"': 1,
        'code="RequestError",reason="unknown_method"': 1,
        'code="RequestError",reason="malformed"': 3,
    }
    assert of(metrics(gateway), "bridgehead_requests_total") == {}


def test_a_request_in_the_clear_is_counted_where_encryption_is_required(with_admin, services, connect, session_key):
    session = {"private_key": str(session_key.private_file), "require_encryption": True}
    gateway = with_admin(gateway_config(services, session=session))
    client = connect(gateway).wait_connected()
    client.call("/v1/probe/white/echo")
    client.set_cxn_params()
    expected = {'code="RequestError",reason="not_encrypted"': 2}
    assert of(metrics(gateway), "bridgehead_requests_refused_total") == expected


def test_a_login_that_has_expired_is_counted_as_such(with_admin, services, connect, tmp_path):
    keys = tmp_path / "jwks.json"
    secret = b"s" * 32
    keys.write_text(json.dumps({"keys": [credentials.symmetric_jwk(secret, "k")]}))
    config = gateway_config(services, auth={"jwt": {"keys": str(keys), "user_claim": "sub"}})
    gateway = with_admin(config)
    claims = {"sub": "alice", "exp": int(time.time()) - credentials.LEEWAY + 2}
    token = credentials.jwt(credentials.hs256(secret), claims, kid="k")
    client = connect(gateway).log_in("alice", token)
    eventually(lambda: client.call("/v1/probe/echo", EchoReq(text="x")).code == Code.AuthError)
    found = of(metrics(gateway), "bridgehead_requests_refused_total")
    assert set(found) == {'code="AuthError",reason="login_expired"'}


# Upstreams.


def test_connections_to_services_are_counted_as_they_come_and_go(with_admin, start_services, connect):
    services = start_services()
    gateway = with_admin(gateway_config(services))

    def count(name):
        return metrics(gateway)[f'bridgehead_upstream_{name}{{upstream="probe"}}']

    # Each worker has opened all of its connections.
    eventually(lambda: count("connects_total") == count("connections") > 0)
    made = count("connects_total")
    assert made % 2 == 0
    assert count("connect_failures_total") == count("disconnects_total") == 0
    services.kill()
    eventually(lambda: count("connections") == 0)
    assert count("disconnects_total") == made
    eventually(lambda: count("connect_failures_total") >= made)
    start_services(listen=f"127.0.0.1:{services.port}")
    eventually(lambda: count("connections") == made)
    assert count("connects_total") == 2 * made


# Hooks.


def test_hook_events_are_counted_by_what_became_of_them(with_admin, services, connect, start_services):
    told = HookService().start()
    try:
        config = gateway_config(services, hooks=hooks_config(), upstreams={"hooks": told.upstream})
        gateway = with_admin(config)
        for _ in range(2):
            connect(gateway).log_in().close()
        told.wait_told(4)
        expected = {'hook="connected",outcome="delivered"': 2, 'hook="disconnected",outcome="delivered"': 2}
        settles(gateway, "bridgehead_hook_events_total", expected)
        told.hold()
        client = connect(gateway).log_in()
        eventually(lambda: metrics(gateway)["bridgehead_hook_events_waiting"] == 1)
        assert of(metrics(gateway), "bridgehead_hook_events_total") == expected
        told.release()
        settles(gateway, "bridgehead_hook_events_total", {**expected, 'hook="connected",outcome="delivered"': 3})
        client.close()
    finally:
        told.stop()


def test_hook_events_that_nobody_can_be_told_are_counted_as_dropped(with_admin, services, connect):
    # A service that has never said what its methods look like.
    away = {"address": "http://127.0.0.1:1", "descriptors": "reflection"}
    gateway = with_admin(gateway_config(services, hooks=hooks_config(), upstreams={"hooks": away}))
    connect(gateway).log_in().close()
    expected = {'hook="connected",outcome="dropped"': 1, 'hook="disconnected",outcome="dropped"': 1}
    settles(gateway, "bridgehead_hook_events_total", expected)


# Pushes.


def test_a_push_is_in_progress_until_its_last_receipt(with_admin, services, connect_raw, open_backend, user):
    gateway = with_admin(gateway_config(services, push=PUSH))
    raw = connect_raw(gateway, user=user)
    name = "bridgehead_pushes_in_progress"
    receipts = open_backend(gateway).begin_push(user_ids=[user], confirm=ACKNOWLEDGED, deadline=10)
    ping = raw.next_ping()
    assert metrics(gateway)[name] == 1
    raw.pong(ping)
    assert outcomes(receipts) == ["ACKNOWLEDGED"]
    eventually(lambda: metrics(gateway)[name] == 0)


def test_a_push_that_its_backend_gives_up_is_not_in_progress_for_ever(
    with_admin, services, connect_raw, open_backend, user
):
    gateway = with_admin(gateway_config(services, push=PUSH))
    raw = connect_raw(gateway, user=user)
    receipts = open_backend(gateway).begin_push(user_ids=[user], confirm=ACKNOWLEDGED, deadline=60)
    raw.next_ping()
    assert metrics(gateway)["bridgehead_pushes_in_progress"] == 1
    receipts.cancel()
    eventually(lambda: metrics(gateway)["bridgehead_pushes_in_progress"] == 0)


def test_calls_of_the_push_api_that_are_refused_are_counted_by_reason(with_admin, services, open_backend):
    gateway = with_admin(gateway_config(services, push={**PUSH, "tokens": ["s3cret-s3cret-s3cret"]}))
    name = "bridgehead_push_calls_refused_total"
    stranger, backend = open_backend(gateway, token="guessed"), open_backend(gateway, token="s3cret-s3cret-s3cret")
    for _ in range(3):
        assert status_of(lambda: stranger.push(user_ids=["u"]))[0].name == "UNAUTHENTICATED"
    assert of(metrics(gateway), name) == {'reason="unauthenticated"': 3}
    assert status_of(lambda: backend.push())[0].name == "INVALID_ARGUMENT"
    assert status_of(lambda: backend.kick())[0].name == "INVALID_ARGUMENT"
    stream = backend.push_stream()
    stream.send(user_ids=["nobody"])
    stream.send()
    assert status_of(lambda: stream)[0].name == "INVALID_ARGUMENT"
    assert of(metrics(gateway), name) == {'reason="unauthenticated"': 3, 'reason="invalid"': 3}
    assert sum(of(metrics(gateway), "bridgehead_pushes_total").values()) == 1
    assert "guessed" not in get(gateway, "/metrics")[2]


# Certificates.


def test_it_is_known_when_certificates_expire(with_admin, services, tmp_path):
    authority = credentials.Authority(tmp_path / "authority")
    files = {name: authority.issue(name)[:2] for name in ("edge", "push")}
    tls = {name: {"cert": str(cert), "key": str(key)} for name, (cert, key) in files.items()}
    push = {**PUSH, "tokens": ["s3cret-s3cret-s3cret"], "tls": tls["push"]}
    gateway = with_admin(gateway_config(services, edge={"tls": tls["edge"]}, push=push))

    def end(name):
        certificates = x509.load_pem_x509_certificates(files[name][0].read_bytes())
        return min(certificate.not_valid_after_utc.timestamp() for certificate in certificates)

    expected = {f'listener="{name}"': end(name) for name in files}
    assert of(metrics(gateway), "bridgehead_tls_certificate_expiry_timestamp_seconds") == expected
    # TLS that fails is counted, and is no session.
    context = ssl.create_default_context()
    with contextlib.suppress(ssl.SSLError), socket.create_connection(("127.0.0.1", gateway.port), 10) as sock:
        context.wrap_socket(sock, server_hostname="127.0.0.1")
    settles(gateway, "bridgehead_connections_refused_total", {'reason="tls"': 1})


# The way it is read.


def test_every_series_is_told_once_and_under_a_type(with_admin, services, connect):
    gateway = with_admin(gateway_config(services))
    client = connect(gateway).log_in()
    client.call("/v1/probe/work", WorkReq(id="a", group="metrics"))
    text = get(gateway, "/metrics")[2]
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    helps = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert types == helps == sorted(set(types))
    series = [line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))
    for one in series:
        name = one.split("{")[0]
        assert any(name.removesuffix(suffix) in types for suffix in ("", "_bucket", "_sum", "_count")), one
    assert all(name.startswith(("bridgehead_", "process_")) for name in types)
