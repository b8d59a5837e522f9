"""The admin listener: what probes, Prometheus and people are told."""

import signal
import threading
import time

import credentials
from admin_client import ADMIN, get, grown, metrics, readiness
from cluster import start_cluster
from configuration import PUSH, gateway_config
from probe_pb2 import EchoReq, EchoResp, FailReq, WorkReq
from processes import Nats, eventually
from push_client import ACKNOWLEDGED, QUEUED, Kind, outcomes
from session_client import KEEP_ALIVE, Code


def test_what_can_be_asked_and_how(with_admin, services):
    gateway = with_admin(gateway_config(services))
    assert get(gateway, "/healthz")[::2] == (200, "ok\n")
    status, headers, body = get(gateway, "/healthz", "HEAD")
    assert (status, body, headers["content-length"]) == (200, "", "3")
    status, headers, body = get(gateway, "/metrics", "POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    status, _, body = get(gateway, "/metric")
    assert (status, body) == (404, "there are /healthz, /readyz and /metrics\n")
    assert get(gateway, "/metrics")[1]["content-type"].startswith("text/plain; version=0.0.4")


def test_a_gateway_is_ready_when_its_routes_are_resolved(with_admin, start_services):
    services = start_services()
    port, config = services.port, gateway_config(services)
    services.kill()
    gateway = with_admin(config)
    assert get(gateway, "/healthz")[0] == 200
    status, report = readiness(gateway)
    assert (status, report["status"]) == (503, "not ready")
    assert report["checks"]["listeners"] == {"ok": True}
    [reason] = report["checks"]["routes"]["reasons"]
    assert reason.startswith("probe: ")
    assert metrics(gateway)['bridgehead_routes{state="pending"}'] > 0
    start_services(listen=f"127.0.0.1:{port}")
    eventually(lambda: readiness(gateway)[0] == 200)
    found = metrics(gateway)
    assert found['bridgehead_routes{state="pending"}'] == 0
    eventually(lambda: metrics(gateway)['bridgehead_upstream_endpoints{state="up",upstream="probe"}'] == 1)


def test_a_gateway_that_drains_is_not_ready_and_tells_until_the_end(with_admin, services, connect):
    gateway = with_admin(gateway_config(services, drain={"delay": "1s", "period": "1s"}))
    client = connect(gateway).log_in()
    assert readiness(gateway)[0] == 200
    gateway.process.send_signal(signal.SIGTERM)
    eventually(lambda: readiness(gateway)[0] == 503, timeout=0.9)
    status, report = readiness(gateway)
    assert report["checks"]["draining"]["reasons"] == ["the gateway is stopping"]
    assert get(gateway, "/healthz")[0] == 200
    assert metrics(gateway)["bridgehead_draining"] == 1
    # Still a gateway.
    client.call_ok("/v1/probe/echo", EchoReq(text="x"), EchoResp)
    assert client.wait_closed()[0] == 1001
    assert gateway.wait_exit() == 0


def test_requests_are_counted_by_route_and_code_and_nothing_else_of_a_client_s(
    with_admin, services, connect, user
):
    gateway = with_admin(gateway_config(services))
    before = metrics(gateway)
    client = connect(gateway).log_in(user)
    for _ in range(3):
        client.call_ok("/v1/probe/echo", EchoReq(text="x"), EchoResp)
    client.call("/v1/probe/fail", FailReq(status=14, text="down"))
    client.call("/v1/no/such-method", b"")
    client.call("/v1/probe/echo", b"\xff")
    after = metrics(gateway)
    more = grown(before, after)
    assert more['bridgehead_requests_total{code="Success",route="/v1/probe/echo"}'] == 3
    assert more['bridgehead_requests_total{code="RetryError",route="/v1/probe/fail"}'] == 1
    assert more['bridgehead_request_duration_seconds_count{route="/v1/probe/echo"}'] == 3
    assert more['bridgehead_requests_refused_total{code="RequestError",reason="unknown_method"}'] == 1
    assert more['bridgehead_requests_refused_total{code="RequestError",reason="malformed"}'] == 1
    assert more['bridgehead_upstream_calls_total{status="OK",upstream="probe"}'] == 3
    assert more['bridgehead_upstream_calls_total{status="UNAVAILABLE",upstream="probe"}'] == 1
    assert more["bridgehead_connections_accepted_total"] == 1
    assert more['bridgehead_logins_total{outcome="accepted"}'] == 1
    assert after['bridgehead_sessions{state="authenticated"}'] == 1
    text = get(gateway, "/metrics")[2]
    assert "such-method" not in text and user not in text
    client.close()
    eventually(lambda: metrics(gateway)['bridgehead_sessions_closed_total{code="1000"}'] == 1)
    assert metrics(gateway)['bridgehead_sessions{state="authenticated"}'] == 0


def test_calls_under_way_and_bytes_that_wait_are_seen(with_admin, services, connect, connect_raw, open_backend, user):
    gateway = with_admin(gateway_config(services, push=PUSH))
    client = connect(gateway).log_in(user)
    client.send("/v1/probe/work", WorkReq(id="slow", group="g", millis=600))
    in_flight = 'bridgehead_upstream_calls_in_flight{upstream="probe"}'
    eventually(lambda: metrics(gateway)[in_flight] == 1)
    eventually(lambda: metrics(gateway)[in_flight] == 0)
    raw = connect_raw(gateway, user=f"{user}-slow", receive_buffer=4096)
    backend = open_backend(gateway)
    sent = 0
    # More than the kernel takes.
    while metrics(gateway)["bridgehead_outbox_bytes"] < 100_000:
        receipts = backend.push(user_ids=[f"{user}-slow"], data=bytes(200_000), confirm=QUEUED)
        assert outcomes(receipts) == ["QUEUED"]
        sent += 1
    for _ in range(sent):
        assert len(raw.next_push().data) == 200_000
    eventually(lambda: metrics(gateway)["bridgehead_outbox_bytes"] == 0)


def test_pushes_are_counted_by_their_receipts(with_admin, services, connect, open_backend, user):
    gateway = with_admin(gateway_config(services, push=PUSH))
    connect(gateway).log_in(user)
    backend = open_backend(gateway)
    before = metrics(gateway)
    assert outcomes(backend.push(user_ids=[user], confirm=ACKNOWLEDGED)) == ["ACKNOWLEDGED"]
    assert sorted(outcomes(backend.push(user_ids=[user, "nobody"]))) == ["OFFLINE", "WRITTEN"]
    watch = backend.watch(user_ids=[user])
    assert metrics(gateway)["bridgehead_watches"] == 1
    assert backend.kick(user_ids=[user]) == 1
    assert Kind.Name(next(watch).kind) == "DISCONNECTED"
    watch.cancel()
    more = grown(before, metrics(gateway))
    assert {name: count for name, count in more.items() if "push" in name and "seconds" not in name} == {
        'bridgehead_pushes_total{confirm="acknowledged"}': 1,
        'bridgehead_pushes_total{confirm="written"}': 1,
        'bridgehead_push_receipts_total{outcome="acknowledged"}': 1,
        'bridgehead_push_receipts_total{outcome="written"}': 1,
        'bridgehead_push_receipts_total{outcome="offline"}': 1,
    }
    assert more['bridgehead_push_confirmation_seconds_count{confirm="acknowledged"}'] == 1
    assert more["bridgehead_sessions_kicked_total"] == 1
    eventually(lambda: metrics(gateway)["bridgehead_watches"] == 0)


def test_reloads_are_counted_by_what_became_of_them(with_admin, services):
    config = {**gateway_config(services), "admin": ADMIN}
    gateway = with_admin(config)
    good = metrics(gateway)["bridgehead_config_good_timestamp_seconds"]
    assert abs(good - time.time()) < 60
    gateway.write_config({**config, "nonsense": 1})
    eventually(lambda: metrics(gateway)['bridgehead_reloads_total{outcome="refused"}'] == 1)
    gateway.write_config(config)
    eventually(lambda: metrics(gateway)['bridgehead_reloads_total{outcome="ok"}'] == 1)


def test_a_certificate_that_is_refused_is_no_good_reload(with_admin, services, tmp_path):
    authority = credentials.Authority(tmp_path / "authority")
    cert, key, _ = authority.issue("edge")
    good = cert.read_bytes()
    gateway = with_admin(gateway_config(services, edge={"tls": {"cert": str(cert), "key": str(key)}}))
    cert.write_bytes(b"junk")
    eventually(lambda: metrics(gateway)['bridgehead_reloads_total{outcome="refused"}'] >= 1)
    assert metrics(gateway)['bridgehead_reloads_total{outcome="ok"}'] == 0
    gateway.wait_line(lambda line: "the new TLS certificate is refused, the old one stays in use" in line)
    cert.write_bytes(good)
    eventually(lambda: metrics(gateway)['bridgehead_reloads_total{outcome="ok"}'] >= 1)


def test_nats_that_is_away_is_a_word_and_no_reason_to_get_no_clients(start_gateway, services):
    nats = Nats()
    try:
        [node] = start_cluster(start_gateway, services, nats.url, 1, admin=ADMIN)
        node.admin_address = node.wait_event(lambda it: it.get("message") == "admin listening")["address"]
        assert readiness(node)[1]["status"] == "ready"
        nats.kill()
        eventually(lambda: readiness(node)[1]["status"] == "degraded")
        status, report = readiness(node)
        assert status == 200
        assert report["checks"]["cluster"]["ok"] is False
        assert metrics(node)["bridgehead_cluster_connected"] == 0
    finally:
        nats.stop()


def test_many_who_ask_at_once_do_no_harm(with_admin, services, connect, user):
    gateway = with_admin(gateway_config(services))
    client = connect(gateway).log_in(user)
    failures = []

    def ask():
        for _ in range(20):
            if get(gateway, "/metrics")[0] != 200:
                failures.append("refused")

    asking = [threading.Thread(target=ask) for _ in range(20)]
    for thread in asking:
        thread.start()
    slowest = 0
    while any(thread.is_alive() for thread in asking):
        began = time.monotonic()
        assert client.call(KEEP_ALIVE).code == Code.Success
        slowest = max(slowest, time.monotonic() - began)
    assert not failures
    assert slowest < 1


def test_the_address_must_be_free(start_gateway, with_admin, services):
    gateway = with_admin(gateway_config(services))
    second = start_gateway(
        {**gateway_config(services), "admin": {"listen": gateway.admin_address}}, wait=False
    )
    assert second.wait_exit() == 1
    assert "(admin.listen)" in second.tail()
