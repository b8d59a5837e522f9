"""The gRPC metadata that goes with every call."""

import re

import pytest
from configuration import gateway_config
from probe_pb2 import EchoReq, EchoResp
from session_client import Code


def echo(client, method="/v1/probe/echo"):
    req_id = client.send(method, EchoReq(text="hi"))
    answer = client.answer_to(req_id)
    assert answer.code == Code.Success, answer
    response = EchoResp.FromString(answer.data)
    metadata = {}
    for entry in response.metadata:
        assert entry.key not in metadata, f"{entry.key} comes twice"
        metadata[entry.key] = entry.value.decode()
    return req_id, response, metadata


def test_a_call_says_who_is_calling(connect):
    client = connect().log_in(user="alice", token="token-a")
    req_id, response, metadata = echo(client)
    identity = EchoReq.FromString(response.request).commonReq
    expected = {
        "x-user-id": "alice",
        "x-session-id": identity.sessionId,
        "x-device-id": "device-1",
        "x-platform": "ios",
        "x-request-id": req_id,
        "x-forwarded-for": "127.0.0.1",
        "x-method": "/v1/probe/echo",
        "authorization": "Bearer token-a",
    }
    assert {key: metadata.get(key) for key in expected} == expected


def test_before_login_a_call_names_no_user_and_shows_no_token(connect):
    client = connect().wait_connected()
    client.set_cxn_params()
    _, _, metadata = echo(client, "/v1/probe/white/echo")
    assert not metadata.get("x-user-id")
    assert "authorization" not in metadata
    assert metadata["x-device-id"] == "device-1"


def test_every_call_has_a_trace_of_its_own(client):
    """https://www.w3.org/TR/trace-context/#traceparent-header"""
    traces = [echo(client)[2]["traceparent"] for _ in range(2)]
    for trace in traces:
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", trace)
        assert "-" + "0" * 32 + "-" not in trace
        assert "-" + "0" * 16 + "-" not in trace
    assert traces[0] != traces[1]


def test_the_upstreams_timeout_travels_as_the_deadline(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services, upstream={"timeout": "7s"}))
    _, response, _ = echo(connect(gateway).log_in())
    assert 6000 < response.timeout_ms <= 7000


def test_a_routes_timeout_goes_before_its_upstreams(start_gateway, connect, services):
    routes = {"/v1/probe/echo": {"rpc": "probe.Probe/Echo", "timeout": "3s"}}
    gateway = start_gateway(gateway_config(services, upstream={"timeout": "7s", "routes": routes}))
    _, response, _ = echo(connect(gateway).log_in())
    assert 2000 < response.timeout_ms <= 3000


def test_a_service_without_a_configured_timeout_gets_five_seconds(client):
    assert 4000 < echo(client)[1].timeout_ms <= 5000


# X-Forwarded-For: believed only from trusted proxies. The "proxy" is the client's own address.

TRUSTED, UNTRUSTED = "127.0.0.2", "127.0.0.3"


@pytest.fixture(scope="module")
def behind_proxy(share_gateway, services):
    proxies = ["127.0.0.2/32", "10.0.0.0/8"]
    return share_gateway(gateway_config(services, edge={"trusted_proxies": proxies}))


@pytest.mark.parametrize(
    ("source", "forwarded", "ip"),
    [
        pytest.param(TRUSTED, "203.0.113.7", "203.0.113.7", id="a trusted proxy is believed"),
        pytest.param(UNTRUSTED, "203.0.113.7", UNTRUSTED, id="anybody else is not"),
        pytest.param(TRUSTED, None, TRUSTED, id="a proxy that says nothing"),
        pytest.param(TRUSTED, "198.51.100.1, 203.0.113.7", "203.0.113.7", id="what the client forged is not"),
        pytest.param(TRUSTED, "203.0.113.7, 10.1.2.3", "203.0.113.7", id="a chain of trusted proxies"),
        pytest.param(TRUSTED, "2001:db8::7", "2001:db8::7", id="IPv6"),
        pytest.param(TRUSTED, "no address at all", TRUSTED, id="nonsense"),
    ],
)
def test_the_clients_address_behind_proxies(behind_proxy, connect, source, forwarded, ip):
    headers = {"X-Forwarded-For": forwarded} if forwarded else None
    client = connect(behind_proxy, source=source, headers=headers).log_in()
    _, response, metadata = echo(client)
    assert EchoReq.FromString(response.request).commonReq.ip == ip
    # Services read the first address as the client's.
    assert metadata["x-forwarded-for"].split(",")[0] == ip


def test_the_share_of_an_address_counts_the_client_not_the_proxy(start_gateway, connect, services):
    edge = {"trusted_proxies": ["127.0.0.2/32"], "max_connections_per_ip": 1}
    gateway = start_gateway(gateway_config(services, edge=edge))
    connect(gateway, source=TRUSTED, headers={"X-Forwarded-For": "203.0.113.7"}).log_in()
    connect(gateway, source=TRUSTED, headers={"X-Forwarded-For": "203.0.113.8"}).log_in()
    third = connect(gateway, source=TRUSTED, headers={"X-Forwarded-For": "203.0.113.7"})
    assert third.wait_closed()[0] == 1013
