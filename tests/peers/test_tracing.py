"""Traces: what a collector gets of requests and pushes, and what services are told of them."""

import re
import secrets
import signal
import socket
import time

import grpc
import pytest
from collector import ERROR, Collector, Kind, Rotel, attributes
from configuration import PUSH, gateway_config
from credentials import Authority
from probe_pb2 import EchoReq, EchoResp, FailReq, WorkReq
from processes import eventually
from push_client import ACKNOWLEDGED, push_request
from session_client import Code

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
REQUEST, ROUTE, CALL, PUSHED = "bridgehead.request", "bridgehead.route", "probe.Probe/Echo", "bridgehead.push"


@pytest.fixture
def start_collector():
    """Starts collectors, ended with the test."""
    started = []

    def start(*arguments, **options):
        started.append(Collector(*arguments, **options))
        return started[-1]

    yield start
    for collector in started:
        collector.stop()


@pytest.fixture(scope="module")
def collector():
    """The collector of the shared gateway."""
    running = Collector()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def gateway(share_gateway, services, session_key, collector):
    """A gateway that records everything."""
    session = {"private_key": str(session_key.private_file)}
    tracing = {
        "otlp": collector.url,
        "sample": 1,
        "continue_client_traces": True,
        "headers": {"x-api-key": "let me in"},
    }
    routes = {
        "/v1/probe/echo": "probe.Probe/Echo",
        "/v1/probe/echoBare": "probe.Probe/EchoBare",
        "/v1/probe/fail": {"rpc": "probe.Probe/Fail", "retry": True},
        "/v1/probe/work": "probe.Probe/Work",
    }
    return share_gateway(
        gateway_config(services, upstream={"routes": routes}, session=session, push=PUSH, tracing=tracing)
    )


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


@pytest.fixture
def start_rotel():
    """Starts the collector of that name, ended with the test."""
    started = []

    def start():
        started.append(Rotel(free_port(), free_port()))
        return started[-1]

    yield start
    for running in started:
        running.stop()


def metadata_of(client, method="/v1/probe/echo"):
    """The metadata with which a call of the client reaches the service."""
    answer = client.call_ok(method, EchoReq(text="hi"), EchoResp)
    return {entry.key: entry.value.decode() for entry in answer.metadata}


def unique():
    """A request's id that no other test has: the collector is shared."""
    return secrets.token_hex(8)


def parts(traceparent):
    """Trace id, span id and flags."""
    found = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", traceparent)
    assert found, traceparent
    return found.groups()


def of_request(collector, req_id):
    """The span of one request."""
    [span] = collector.wait(lambda span: attributes(span).get("bridgehead.request.id") == req_id)
    return span


def within(span, other):
    return other.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano <= other.end_time_unix_nano


def test_a_request_shows_as_edge_route_and_upstream(client, collector, services):
    trace_id, span_id, flags = parts(metadata_of(client)["traceparent"])
    assert flags == "01"
    spans = collector.wait_trace(trace_id, 3)
    request, route, call = spans[REQUEST], spans[ROUTE], spans[CALL]
    assert (request.kind, route.kind, call.kind) == (Kind.SPAN_KIND_SERVER, Kind.SPAN_KIND_INTERNAL, Kind.SPAN_KIND_CLIENT)
    assert request.parent_span_id == b""
    assert route.parent_span_id == call.parent_span_id == request.span_id
    # The service continues the span of its call.
    assert call.span_id.hex() == span_id
    assert within(route, request) and within(call, request)
    assert route.end_time_unix_nano <= call.start_time_unix_nano
    assert attributes(route) == {
        "bridgehead.route": "/v1/probe/echo",
        "bridgehead.rpc": CALL,
        "bridgehead.upstream": "probe",
        "bridgehead.spliced": True,
    }
    assert attributes(call) == {
        "rpc.system": "grpc",
        "rpc.service": "probe.Probe",
        "rpc.method": "Echo",
        "rpc.grpc.status_code": 0,
        "server.address": "127.0.0.1",
        "server.port": services.port,
        "bridgehead.upstream": "probe",
        "bridgehead.attempts": 1,
    }
    said = attributes(request)
    assert len(said.pop("session.id")) > 8
    assert said == {
        "bridgehead.request.id": "r3",
        "bridgehead.method": "/v1/probe/echo",
        "bridgehead.encrypted": False,
        "bridgehead.code": 0,
    }
    assert not any(span.status.code for span in spans.values())


def test_an_encrypted_session_says_so_and_an_identity_that_is_not_filled_in(connect, gateway, collector, session_key):
    client = connect(gateway).log_in(public_key=session_key.public)
    trace_id, _, _ = parts(metadata_of(client, "/v1/probe/echoBare")["traceparent"])
    spans = collector.wait_trace(trace_id, 3)
    assert attributes(spans[REQUEST])["bridgehead.encrypted"] is True
    assert attributes(spans[ROUTE])["bridgehead.spliced"] is False


def test_each_request_is_a_trace_of_its_own(client):
    traces = {parts(metadata_of(client)["traceparent"])[0] for _ in range(20)}
    assert len(traces) == 20


def test_a_failure_of_the_service_shows_with_each_attempt(client, collector):
    req_id = client.send("/v1/probe/fail", FailReq(status=14, text="not today"), req_id=unique())
    assert client.answer_to(req_id).code == Code.RetryError
    request = of_request(collector, req_id)
    call = collector.wait_trace(request.trace_id.hex(), 3)["probe.Probe/Fail"]
    assert (call.status.code, call.status.message) == (ERROR, "not today")
    said = attributes(call)
    assert (said["rpc.grpc.status_code"], said["error.type"]) == (14, "UNAVAILABLE")
    assert (said["bridgehead.origin"], said["bridgehead.attempts"]) == ("service", 2)
    assert [event.name for event in call.events] == ["bridgehead.attempt_failed"] * 2
    first, second = (attributes(event) for event in call.events)
    assert (first["bridgehead.attempt"], second["bridgehead.attempt"]) == (1, 2)
    assert first["rpc.grpc.status_code"] == 14 and first["bridgehead.endpoint"].startswith("http://127.0.0.1:")
    assert call.start_time_unix_nano < call.events[0].time_unix_nano < call.events[1].time_unix_nano
    assert request.status.code == ERROR
    assert attributes(request)["error.type"] == "RetryError"


def test_what_the_client_did_wrong_is_no_error_of_the_gateway(client, collector):
    req_id = client.send("/v1/probe/fail", FailReq(status=5, text="no such thing"), req_id=unique())
    assert client.answer_to(req_id).code == Code.RequestError
    request = of_request(collector, req_id)
    call = collector.wait_trace(request.trace_id.hex(), 3)["probe.Probe/Fail"]
    assert call.status.code == ERROR and not request.status.code
    assert attributes(request)["error.type"] == "RequestError"


@pytest.mark.parametrize(
    ("method", "data", "code"),
    [
        pytest.param("/v1/nowhere/" + "x" * 500, b"", "RequestError", id="unknown method"),
        pytest.param("/v1/probe/echo", b"\xff", "RequestError", id="bad data"),
    ],
)
def test_a_refused_request_has_no_call(client, collector, method, data, code):
    req_id = client.send(method, data, req_id=unique())
    assert Code.Name(client.answer_to(req_id).code) == code
    request = of_request(collector, req_id)
    spans = collector.wait_trace(request.trace_id.hex(), 2)
    assert attributes(request)["error.type"] == attributes(spans[ROUTE])["error.type"] == code
    assert attributes(request)["bridgehead.method"] == method[:128]
    assert spans[ROUTE].status.code == ERROR and spans[ROUTE].status.message


def test_a_session_that_ends_first_ends_its_spans(connect, gateway, collector, services):
    client = connect(gateway).log_in()
    req_id = client.send("/v1/probe/work", WorkReq(id="traced-1", group="traced", millis=3000), req_id=unique())
    eventually(lambda: services.count("traced").executing == 1)
    client.close()
    request = of_request(collector, req_id)
    call = collector.wait_trace(request.trace_id.hex(), 3)["probe.Probe/Work"]
    assert attributes(call)["error.type"] == attributes(request)["error.type"] == "cancelled"
    assert attributes(call)["bridgehead.attempts"] == 1


def test_what_the_gateway_answers_itself_is_not_recorded(client, collector):
    assert client.call("/v1/conn/keepAlive").code == Code.Success
    last = client.send("/v1/probe/echo", EchoReq(), req_id=unique())
    of_request(collector, last)
    methods = {attributes(span).get("bridgehead.method") for span in collector.spans}
    assert not any(method and method.startswith("/v1/conn/") for method in methods), methods


def test_the_gateway_says_who_it_is(client, collector):
    metadata_of(client)
    collector.wait(lambda span: span.name == REQUEST)
    resource = attributes(collector.resources[0])
    assert resource["service.name"] == "bridgehead"
    assert resource["service.version"] and resource["service.instance.id"]
    assert collector.metadata[0]["x-api-key"] == "let me in"


def test_the_environment_adds_to_who_the_gateway_is(start_gateway, start_collector, connect, services):
    collector = start_collector()
    tracing = {"otlp": collector.url, "sample": 1, "service_name": "chat-edge", "headers": {"x-key": "file"}}
    env = {
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.namespace.name=chat,service.name=another",
        "OTEL_SERVICE_NAME": "another",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=seven,x-key=environment",
        "HOSTNAME": "edge-0",
    }
    gateway = start_gateway(gateway_config(services, tracing=tracing), env=env)
    metadata_of(connect(gateway).log_in())
    collector.wait(lambda span: span.name == REQUEST)
    resource = attributes(collector.resources[0])
    assert resource["service.name"] == "chat-edge"
    assert resource["service.instance.id"] == "edge-0"
    assert resource["k8s.namespace.name"] == "chat"
    assert collector.metadata[0]["x-tenant"] == "seven"
    assert collector.metadata[0]["x-key"] == "file"


def test_a_long_text_of_a_service_is_cut(client, collector):
    req_id = client.send("/v1/probe/fail", FailReq(status=13, text="é" * 3000), req_id=unique())
    assert client.answer_to(req_id).code == Code.InternalError
    request = of_request(collector, req_id)
    call = collector.wait_trace(request.trace_id.hex(), 3)["probe.Probe/Fail"]
    assert call.status.message == "é" * 512


def test_no_secret_and_no_user_is_among_what_is_recorded(connect, gateway, collector):
    client = connect(gateway).log_in(user="a-user-to-hide", token="a-token-to-hide")
    req_id = client.send("/v1/probe/echo", EchoReq(text="a-text-to-hide"), req_id=unique())
    client.answer_to(req_id)
    of_request(collector, req_id)
    everything = b"".join(export.SerializeToString() for export in collector.exports)
    assert b"-to-hide" not in everything and b"let me in" not in everything


# What the WebSocket request carries.


@pytest.mark.parametrize("state", [None, "vendor=1,other@x=2"])
def test_a_trace_of_the_client_is_continued(connect, gateway, collector, state):
    trace_id = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace_id}-{SPAN}-01", **({"tracestate": state} if state else {})}
    client = connect(gateway, headers=headers).log_in()
    metadata = metadata_of(client)
    assert parts(metadata["traceparent"])[0] == trace_id
    assert metadata.get("tracestate") == state
    spans = collector.wait_trace(trace_id, 3)
    assert spans[REQUEST].parent_span_id.hex() == SPAN
    assert spans[CALL].span_id.hex() == parts(metadata["traceparent"])[1]
    assert {span.trace_state for span in spans.values()} == {state or ""}


def test_a_trace_that_the_client_does_not_record_is_not_recorded_here(connect, gateway, collector):
    trace_id = secrets.token_hex(16)
    parent = f"00-{trace_id}-{SPAN}-00"
    client = connect(gateway, headers={"traceparent": parent}).log_in()
    assert metadata_of(client)["traceparent"] == parent
    metadata_of(connect(gateway).log_in())
    collector.wait(lambda span: span.name == REQUEST)
    time.sleep(1.5)
    assert all(span.trace_id.hex() != trace_id for span in collector.spans)


@pytest.mark.parametrize(
    "parent",
    [
        pytest.param(f"00-{TRACE}-{SPAN}-1", id="short"),
        pytest.param(f"00-{TRACE.upper()}-{SPAN}-01", id="upper case"),
        pytest.param(f"00-{'0' * 32}-{SPAN}-01", id="zero"),
        pytest.param(f"ff-{TRACE}-{SPAN}-01", id="version 255"),
        pytest.param("nonsense", id="nonsense"),
    ],
)
def test_a_malformed_traceparent_is_ignored(connect, gateway, parent):
    client = connect(gateway, headers={"traceparent": parent, "tracestate": "vendor=1"}).log_in()
    metadata = metadata_of(client)
    trace_id, _, flags = parts(metadata["traceparent"])
    assert trace_id != TRACE and flags == "01"
    assert "tracestate" not in metadata


def test_traces_of_clients_are_left_alone_unless_they_are_wanted(start_gateway, start_collector, connect, services):
    """A stranger does not decide what services record."""
    tracing = {"otlp": start_collector().url, "sample": 0}
    gateway = start_gateway(gateway_config(services, tracing=tracing))
    client = connect(gateway, headers={"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "v=1"}).log_in()
    metadata = metadata_of(client)
    trace_id, _, flags = parts(metadata["traceparent"])
    assert trace_id != TRACE and flags == "00"
    assert "tracestate" not in metadata


# How much is recorded.


def test_without_the_section_a_trace_of_the_client_is_left_alone(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services))
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}
    client = connect(gateway, headers=headers).log_in()
    for _ in range(2):
        metadata = metadata_of(client)
        trace_id, _, flags = parts(metadata["traceparent"])
        assert trace_id != TRACE and flags == "00"
        assert "tracestate" not in metadata


def test_without_a_collector_a_trace_of_the_client_is_passed_through_where_that_is_said(
    start_gateway, connect, services
):
    gateway = start_gateway(gateway_config(services, tracing={"continue_client_traces": True}))
    parent = f"00-{TRACE}-{SPAN}-01"
    client = connect(gateway, headers={"traceparent": parent, "tracestate": "vendor=1"}).log_in()
    for _ in range(2):
        metadata = metadata_of(client)
        assert (metadata["traceparent"], metadata["tracestate"]) == (parent, "vendor=1")


def test_a_share_of_none_records_nothing_but_what_callers_record(start_gateway, start_collector, connect, services):
    collector = start_collector()
    tracing = {"otlp": collector.url, "sample": 0, "continue_client_traces": True}
    gateway = start_gateway(gateway_config(services, tracing=tracing))
    client = connect(gateway).log_in()
    for _ in range(50):
        assert parts(metadata_of(client)["traceparent"])[2] == "00"
    traced = connect(gateway, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"}).log_in()
    metadata_of(traced)
    collector.wait_trace(TRACE, 3)
    assert len(collector.spans) == 3


def test_a_share_of_half_records_about_half(start_gateway, start_collector, connect, services):
    collector = start_collector()
    gateway = start_gateway(gateway_config(services, tracing={"otlp": collector.url, "sample": 0.5}))
    client = connect(gateway).log_in()
    seen = [parts(metadata_of(client)["traceparent"]) for _ in range(200)]
    recorded = {trace_id for trace_id, _, flags in seen if flags == "01"}
    assert 60 <= len(recorded) <= 140
    # The flag tells the truth: OpenTelemetry's choice, by the lower half of the id.
    assert recorded == {trace_id for trace_id, _, _ in seen if int(trace_id[16:], 16) >> 1 < 1 << 62}
    requests = collector.wait(lambda span: span.name == REQUEST, len(recorded))
    assert {span.trace_id.hex() for span in requests} == recorded


# Pushes.


def test_a_push_is_a_span_of_its_own(connect, gateway, open_backend, collector, user):
    client = connect(gateway).log_in(user=user)
    receipts = open_backend(gateway).push(
        push_id="traced-push", user_ids=[user, "nobody"], event=7, data=b"12345", confirm=ACKNOWLEDGED
    )
    assert len(receipts) == 2 and client.receive_push().event == 7
    [span] = collector.wait(lambda span: attributes(span).get("bridgehead.push.id") == "traced-push")
    assert (span.name, span.kind, span.parent_span_id) == (PUSHED, Kind.SPAN_KIND_SERVER, b"")
    assert attributes(span) == {
        "bridgehead.push.id": "traced-push",
        "bridgehead.push.event": 7,
        "bridgehead.push.confirm": "acknowledged",
        "bridgehead.push.bytes": 5,
        "bridgehead.push.sessions": 1,
        "bridgehead.push.acknowledged": 1,
        "bridgehead.push.offline": 1,
    }
    assert not span.status.code and span.end_time_unix_nano > span.start_time_unix_nano


def test_a_push_continues_the_trace_of_its_backend(gateway, open_backend, collector):
    trace_id = secrets.token_hex(16)
    backend = open_backend(gateway)
    backend.metadata = [("traceparent", f"00-{trace_id}-{SPAN}-01")]
    backend.push(user_ids=["nobody"])
    assert collector.wait_trace(trace_id, 1)[PUSHED].parent_span_id.hex() == SPAN
    # All pushes of a stream are of the stream's trace.
    backend.metadata = [("traceparent", f"00-{trace_id[::-1]}-{SPAN}-01")]
    stream = backend.push_stream()
    for number in range(3):
        stream.send(push_request(push_id=f"p{number}", user_ids=["nobody"]))
    stream.end()
    assert len(list(stream)) == 3
    spans = collector.wait(lambda span: span.trace_id.hex() == trace_id[::-1], 3)
    assert {attributes(span)["bridgehead.push.id"] for span in spans} == {"p0", "p1", "p2"}


def test_a_backend_that_hangs_up_ends_its_push(connect_raw, gateway, open_backend, collector, user):
    # A client that reads nothing acknowledges nothing.
    connect_raw(gateway, user=user)
    call = open_backend(gateway).begin_push(push_id="hung-up", user_ids=[user], confirm=ACKNOWLEDGED)
    time.sleep(0.5)
    call.cancel()
    [span] = collector.wait(lambda span: attributes(span).get("bridgehead.push.id") == "hung-up")
    assert attributes(span)["error.type"] == "cancelled"
    assert span.status.code == ERROR


# Collectors that are not well.


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def test_a_collector_that_is_away_harms_nothing(start_gateway, start_collector, connect, services):
    port = free_port()
    tracing = {"otlp": f"http://127.0.0.1:{port}", "sample": 1}
    gateway = start_gateway(gateway_config(services, tracing=tracing))
    client = connect(gateway).log_in()

    def complaints():
        return [line for line in gateway.lines if "spans do not reach the collector" in line]

    end = time.monotonic() + 4
    while time.monotonic() < end:
        metadata_of(client)
    # Several exports have failed by now.
    assert len(complaints()) == 1, complaints()
    others = [line for line in gateway.lines if "opentelemetry" in line.lower()]
    assert not others, others
    collector = start_collector(f"127.0.0.1:{port}")
    eventually(lambda: metadata_of(client) and collector.spans, interval=0.2)
    gateway.wait_event(lambda event: event.get("message") == "spans reach the collector again")


def test_a_collector_that_hangs_harms_nothing_and_its_backlog_is_bounded(
    start_gateway, start_collector, connect, services
):
    collector = start_collector()
    collector.answers.clear()
    tracing = {"otlp": collector.url, "sample": 1, "timeout": "1s"}
    config = gateway_config(services, tracing=tracing, session={"max_in_flight": 64})
    config["log"]["level"] = "info"
    gateway = start_gateway(config)
    client = connect(gateway).log_in()
    for _ in range(60):
        requests = [client.send("/v1/probe/echo", EchoReq()) for _ in range(60)]
        assert all(client.answer_to(request).code == Code.Success for request in requests)
    # 10,800 spans, of which 4,096 may wait.
    event = gateway.wait_event(lambda event: event.get("message") == "spans do not reach the collector")
    assert event["lost"] > 0
    collector.answers.set()
    eventually(lambda: metadata_of(client) and len(collector.exports) > 3, interval=0.2)
    assert len(client.call_ok("/v1/probe/echo", EchoReq(), EchoResp).metadata) > 3


def test_the_last_spans_are_flushed_at_the_end(start_gateway, start_collector, connect, services):
    collector = start_collector()
    gateway = start_gateway(gateway_config(services, tracing={"otlp": collector.url, "sample": 1}))
    client = connect(gateway).log_in()
    for _ in range(10):
        metadata_of(client)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0
    assert len(collector.spans) == 30


def test_a_collector_that_hangs_does_not_hold_up_the_end(start_gateway, start_collector, connect, services):
    collector = start_collector()
    collector.answers.clear()
    gateway = start_gateway(gateway_config(services, tracing={"otlp": collector.url, "sample": 1, "timeout": "1m"}))
    client = connect(gateway).log_in()
    metadata_of(client)
    client.close()
    eventually(lambda: collector.exports)
    began = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0
    assert 1.5 < time.monotonic() - began < 4
    assert any("did not reach the collector in time" in line for line in gateway.lines)


def test_a_collector_behind_tls_that_asks_who_sends(start_gateway, start_collector, connect, services, authority):
    cert, key, _ = authority.issue("collector")
    pair = (key.read_bytes(), cert.read_bytes())
    server = grpc.ssl_server_credentials([pair], authority.file.read_bytes(), require_client_auth=True)
    collector = start_collector(credentials=server)
    cert, key, _ = authority.issue("gateway")
    tls = {"ca": str(authority.file), "cert": str(cert), "key": str(key), "domain": "localhost"}
    gateway = start_gateway(gateway_config(services, tracing={"otlp": collector.url, "sample": 1, "tls": tls}))
    trace_id, _, _ = parts(metadata_of(connect(gateway).log_in())["traceparent"])
    collector.wait_trace(trace_id, 3)


def test_a_collector_that_cannot_prove_itself_gets_nothing(
    start_gateway, start_collector, connect, services, authority, tmp_path
):
    cert, key, _ = authority.issue("collector")
    collector = start_collector(
        credentials=grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    )
    other = Authority(tmp_path / "other", name="another authority")
    tracing = {"otlp": collector.url, "sample": 1, "tls": {"ca": str(other.file)}}
    gateway = start_gateway(gateway_config(services, tracing=tracing))
    metadata_of(connect(gateway).log_in())
    event = gateway.wait_event(lambda event: event.get("message") == "spans do not reach the collector")
    assert "ertificate" in event["problem"] and not collector.exports


def test_a_collector_from_the_outside_world_takes_the_spans(start_gateway, connect, services, start_rotel):
    rotel = start_rotel()
    gateway = start_gateway(gateway_config(services, tracing={"otlp": rotel.url, "sample": 1}))
    trace_id, span_id, _ = parts(metadata_of(connect(gateway).log_in())["traceparent"])
    for name in (REQUEST, ROUTE, CALL):
        rotel.wait_line(lambda line: name in line)
    assert any(trace_id in line for line in rotel.lines), rotel.tail()
    assert any(span_id in line for line in rotel.lines), rotel.tail()


# What a configuration can get wrong.


@pytest.mark.parametrize(
    ("tracing", "complaint"),
    [
        pytest.param({"sample": 1}, "`sample` needs `otlp` beside it", id="no collector"),
        pytest.param({"otlp": "collector:4317"}, "is not the URL of a collector", id="no scheme"),
        pytest.param({"otlp": "http://c:4318/v1/traces"}, "OTLP over gRPC has none", id="a path"),
        pytest.param({"otlp": "http://c:1", "sample": 2}, "`2` is not a number from 0 to 1", id="share"),
        pytest.param({"otlp": "http://c:1", "sampling": 1}, "unknown key `sampling`", id="key"),
        pytest.param({"otlp": "http://c:1", "headers": {"a": "\u00e9"}}, "write visible ASCII", id="header"),
        pytest.param({"otlp": "http://c:1", "headers": {"a-bin": "x"}}, "would be binary", id="binary"),
        pytest.param({"otlp": "http://c:1", "tls": {}}, "is plaintext, but `tracing` has `tls`", id="plaintext"),
        pytest.param({"otlp": "https://c:1", "tls": {"ca": "no.pem"}}, "there is no file `no.pem`", id="file"),
    ],
)
def test_what_is_wrong_is_said_at_the_start(start_gateway, services, tracing, complaint):
    gateway = start_gateway(gateway_config(services, tracing=tracing), wait=False)
    assert gateway.wait_exit() == 64
    said = "\n".join(gateway.lines)
    assert complaint in said, said


def test_a_change_takes_effect_after_a_restart(start_gateway, start_collector, services):
    collector = start_collector()
    gateway = start_gateway(gateway_config(services, tracing={"otlp": collector.url}))
    gateway.write_config({**gateway.config, "tracing": {"otlp": collector.url, "sample": 1}})
    event = gateway.wait_event(lambda event: "after a restart" in event.get("message", ""))
    assert event["section"] == "tracing"
