"""The gRPC metadata that goes with every call."""

import json
import re
import subprocess

import pytest
from admin_client import metrics
from configuration import gateway_config, probe_upstream
from probe_pb2 import EchoBareReq, EchoReq, EchoResp
from processes import eventually
from session_client import Code, common_resp


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


# What an upstream gets is configurable.

EVERYTHING = [
    "x-user-id", "x-session-id", "x-device-id", "x-platform", "x-forwarded-for", "x-request-id", "x-method",
    "traceparent", "tracestate",
]  # fmt: skip


def with_metadata(services, metadata, **sections):
    return gateway_config(services, upstream={"metadata": metadata}, **sections)


def test_an_upstream_can_go_without_the_clients_token(start_gateway, connect, services):
    """The others still get it."""
    other = probe_upstream(services, routes=None, expose=["probe.Extra"])
    config = with_metadata(services, {"authorization": "drop"}, upstreams={"other": other})
    client = connect(start_gateway(config)).log_in(user="alice", token="token-a")
    for _ in range(3):
        _, _, metadata = echo(client)
        assert "authorization" not in metadata
        assert metadata["x-user-id"] == "alice"
        response = client.call_ok("/probe.Extra/First", EchoBareReq(), EchoResp)
        assert {entry.key: entry.value for entry in response.metadata}["authorization"] == b"Bearer token-a"


def test_an_upstream_can_get_keys_of_its_own(start_gateway, connect, services):
    metadata = {
        "set": {"x-api-key": "${KEY}", "authorization": "Basic ${KEY}", "x-region": "eu 1"},
        "drop": ["x-forwarded-for", "x-method"],
    }
    gateway = start_gateway(with_metadata(services, metadata), env={"KEY": "s3cret=="})
    client = connect(gateway).log_in()
    for _ in range(3):
        _, _, metadata = echo(client)
        assert metadata["x-api-key"] == "s3cret=="
        assert metadata["authorization"] == "Basic s3cret=="
        assert metadata["x-region"] == "eu 1"
        assert "x-forwarded-for" not in metadata and "x-method" not in metadata
        assert metadata["x-user-id"] == "user-1" and "x-request-id" in metadata
    assert not any("s3cret" in line for line in gateway.lines)


def test_all_of_the_gateways_own_can_be_left_out(start_gateway, connect, services):
    config = with_metadata(services, {"drop": EVERYTHING, "authorization": "drop"})
    client = connect(start_gateway(config)).log_in()
    for _ in range(2):
        _, _, metadata = echo(client)
        assert set(metadata) <= {"user-agent", "grpc-timeout", "accept-encoding"}


def test_many_upstreams_with_metadata_of_their_own_each_get_theirs(start_gateway, connect, services):
    """More than a session remembers at once."""
    upstreams = {
        f"u{n}": probe_upstream(
            services, routes={f"/v1/u{n}": "probe.Probe/Echo"}, metadata={"set": {"x-number": f"n{n}"}}
        )
        for n in range(12)
    }
    client = connect(start_gateway(gateway_config(services, upstreams=upstreams))).log_in()
    for _ in range(3):
        for n in range(12):
            assert echo(client, f"/v1/u{n}")[2]["x-number"] == f"n{n}"
        assert "x-number" not in echo(client)[2]


def test_a_key_is_read_again_when_its_file_changes_and_connections_stay(
    with_admin, connect, services, tmp_path
):
    key = tmp_path / "api.key"
    key.write_text("first-key\n")
    gateway = with_admin(with_metadata(services, {"set": {"x-api-key": {"file": str(key)}}}))
    client = connect(gateway).log_in()
    assert echo(client)[2]["x-api-key"] == "first-key"
    before = connects(gateway)
    key.write_text("second-key")
    eventually(lambda: echo(client)[2]["x-api-key"] == "second-key")
    assert connects(gateway) == before
    # A key that cannot be used changes nothing.
    begin = len(gateway.lines)
    key.write_text("third key\nwith more\n")
    gateway.wait_line(lambda line: "configuration refused" in line and "has 2 lines" in line, start=begin)
    assert not any("third key" in line for line in gateway.lines)
    assert echo(client)[2]["x-api-key"] == "second-key"


def connects(gateway):
    return metrics(gateway)['bridgehead_upstream_connects_total{upstream="probe"}']


def test_callouts_and_reflection_carry_what_is_set_and_never_a_token(
    start_gateway, start_services, connect
):
    """The service refuses everything without its key, reflection included."""
    guarded = start_services("--api-key", "s3cret")
    login = {"upstream": "probe", "rpc": "probe.Probe/BeforeConnect"}
    param = {"connParam": {"userId": "{user_id}", "token": "{user_id}/{platform}/{device_id}/{remote_ip}",
             "platform": "{platform}", "deviceId": "{device_id}", "ips": "{remote_ip}"}}  # fmt: skip
    auth = {"rpc": {**login, "request": param, "accept_when": {"code": 0}, "reason": "msg"}}
    keyed = {"set": {"x-api-key": "s3cret"}}
    client = connect(start_gateway(gateway_config(guarded, upstream={"metadata": keyed}, auth=auth)))
    assert echo(client.log_in())[2]["x-api-key"] == "s3cret"
    without = start_gateway(gateway_config(guarded, auth=auth), wait=False)
    without.wait_line(lambda line: "failed to reflect" in line or "api key" in line)


# A call's headers in all: names, values, and 32 for each (RFC 9113, section 6.5.2).


def header_list(metadata, gateway_path="/probe.Probe/Echo", authority="127.0.0.1:12345"):
    """What of the call the service does not tell is added."""
    others = {
        ":method": "POST", ":scheme": "http", ":path": gateway_path, ":authority": authority,
        "te": "trailers", "content-type": "application/grpc", "grpc-timeout": "99999999m",
    }  # fmt: skip
    return sum(len(key) + len(value) + 32 for key, value in {**others, **metadata}.items())


LONGEST = {
    "plain": ("u", "d"),
    "percent-encoded": ("%", " "),
    "not ASCII": ("户", "é"),
}


@pytest.mark.parametrize("kind", LONGEST)
def test_the_longest_session_gets_through_and_harms_nobody(start_gateway, connect, services, kind):
    """The service is grpcio as it is by default: it refuses 8 KiB, and ends the connection soon after."""
    user, device = LONGEST[kind]

    def longest(text, most):
        return text * (most // (1 if kind == "plain" else 3 * len(text.encode())))

    config = gateway_config(
        services, upstream={"connections": 1}, tracing={"continue_client_traces": True},
    )  # fmt: skip
    gateway = start_gateway(config)
    headers = {
        "traceparent": f"cc-{'1' * 32}-{'2' * 16}-01-{'f' * 2000}",
        "tracestate": ",".join(f"key{n}={'v' * 90}" for n in range(40)),
        "user-agent": "a" * 4000,
        "x-forwarded-for": "203.0.113.7, " * 100,
    }
    other = connect(gateway).log_in(user="other")
    client = connect(gateway, headers=headers, compression=None)
    client.log_in(
        user=longest(user, 512), token="t" * 4096, deviceId=longest(device, 256),
        **dict.fromkeys(["packageId", "deviceModel", "osVersion", "appVersion", "language", "networkUsed"], "x" * 1024),
    )  # fmt: skip
    for number in range(100):
        req_id = f"{number}" + "ü" * 2000
        answer = client.answer_to(client.send("/v1/probe/echo", EchoReq(text="hi"), req_id))
        assert answer.code == Code.Success, common_resp(answer)
        response = EchoResp.FromString(answer.data)
        metadata = {entry.key: entry.value.decode() for entry in response.metadata}
        assert metadata["authorization"] == "Bearer " + "t" * 4096
        assert header_list(metadata) < 8192
        assert echo(other)[2]["x-user-id"] == "other"


def test_a_token_that_is_too_long_is_refused_with_the_reason(connect):
    client = connect().wait_connected()
    client.set_cxn_params()
    answer = client.set_user_params(token="t" * 4097)
    assert answer.code == Code.AuthError
    assert "token is too long" in common_resp(answer).msg
    assert client.wait_closed()[0] == 3000


def test_names_that_are_too_long_are_refused(connect):
    client = connect().wait_connected()
    for device in ("d" * 257, "é" * 43, " " * 86):
        assert client.set_cxn_params(deviceId=device).code == Code.RequestError
    assert client.set_cxn_params().code == Code.Success
    for user in ("u" * 513, "é" * 86, "%" * 171):
        assert client.set_user_params(user=user).code == Code.RequestError
    assert client.set_user_params().code == Code.Success


def test_what_is_set_must_leave_room(binary, services, tmp_path):
    def said(metadata):
        config = with_metadata(services, metadata)
        (tmp_path / "routes.yaml").write_text(json.dumps(config, indent=1))
        done = subprocess.run([binary, "check"], cwd=tmp_path, capture_output=True)
        return done.returncode, (done.stdout + done.stderr).decode()

    assert said({"set": {"x-key": "k" * 1000}})[0] == 0
    code, text = said({"set": {"x-key": "k" * 2000}})
    assert code != 0 and "services refuse 8192" in text and "bytes shorter" in text, text
    assert "kkkkkkkk" not in text
    assert said({"authorization": "drop", "set": {"x-key": "k" * 2000}})[0] == 0
    for value in ("one\ntwo", " leading", "käse"):
        code, text = said({"set": {"x-key": value}})
        assert code != 0 and "write visible ASCII" in text and value not in text, text
