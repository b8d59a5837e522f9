"""Failures that are answered while the session goes on."""

import pytest
from configuration import gateway_config, probe_upstream
from probe_pb2 import CommonResp, CountReq, EchoReq, EchoResp, JudgeReq, JudgeResp, WorkReq
from session_client import KEEP_ALIVE, Code, common_resp


def assert_request_error(answer):
    """RequestError, with a CommonResp of the same code and, as the protocol says, no text."""
    assert answer.code == Code.RequestError
    assert common_resp(answer).code == Code.RequestError
    assert common_resp(answer).msg == ""


def test_a_frame_that_is_no_request_gets_request_error_with_an_empty_id(client):
    client.send_frame(b"\x0a\x05abc")
    answer = client.receive()
    assert_request_error(answer)
    assert (answer.reqId, answer.method) == ("", "")
    assert client.call(KEEP_ALIVE).code == Code.Success


@pytest.mark.parametrize("method", ["/v1/no/such", "", "probe.Probe/Echo", "/v1/probe/ECHO", "/v1/probe/echo/"])
def test_an_unknown_method_gets_request_error(client, method):
    answer = client.call(method, EchoReq(text="hi"))
    assert_request_error(answer)
    assert answer.method == method


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0a", id="a tag without a value"),
        pytest.param(b"\x0a\x05abc", id="a length beyond the end"),
        pytest.param(b"\x08\xff\xff\xff", id="an endless varint"),
        pytest.param(b"\x0b\x08\x01", id="a group that does not end"),
        pytest.param(b"\x0c", id="the end of no group"),
        pytest.param(b"\x0e\x01", id="no such wire type"),
        pytest.param(b"\x00\x01", id="field number zero"),
    ],
)
@pytest.mark.parametrize("route", ["work", "white/work"])
def test_data_that_is_no_message_gets_request_error_and_no_call(client, services, route, data):
    before = services.executed()
    assert_request_error(client.call(f"/v1/probe/{route}", data))
    assert services.executed() == before


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x08\x01", id="a number where a text belongs"),
        pytest.param(b"\x0a\x02\xff\xfe", id="a text that is not UTF-8"),
        pytest.param(b"\x22\x02\x0a\x05", id="a broken message inside"),
    ],
)
def test_a_validated_route_refuses_what_its_descriptor_does_not_allow(start_gateway, connect, services, data):
    routes = {"/v1/strict": {"rpc": "probe.Probe/Echo", "validate": True}}
    gateway = start_gateway(gateway_config(services, upstream={"routes": routes}))
    client = connect(gateway).log_in()
    assert_request_error(client.call("/v1/strict", data))
    client.call_ok("/v1/strict", EchoReq(text="fine"), EchoResp)


@pytest.mark.parametrize("method", ["/v1/probe/echo", "/v1/no/such"])
def test_without_login_a_method_that_is_not_public_gets_auth_error(connect, method):
    """Also one that does not exist: who is not logged in learns nothing."""
    client = connect().wait_connected()
    client.set_cxn_params()
    answer = client.call(method, EchoReq(text="hi"))
    assert answer.code == Code.AuthError
    assert common_resp(answer).code == Code.AuthError
    assert common_resp(answer).msg


def test_which_methods_are_public_is_configured(start_gateway, connect, services):
    routes = {
        "/v1/open/echo": "probe.Probe/Echo",
        "/v1/closed/white/echo": "probe.Probe/Echo",
        "/v1/a/echo": {"rpc": "probe.Probe/Echo", "public": True},
        "/v1/open/b": {"rpc": "probe.Probe/Echo", "public": False},
    }
    config = gateway_config(services, upstream={"routes": routes}, public_methods=["/v1/open/*"])
    client = connect(start_gateway(config)).wait_connected()
    client.set_cxn_params()
    codes = {method: client.call(method, EchoReq()).code for method in routes}
    assert codes == {
        "/v1/open/echo": Code.Success,
        "/v1/closed/white/echo": Code.AuthError,
        "/v1/a/echo": Code.Success,
        "/v1/open/b": Code.AuthError,
    }


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 7, 8, 6, 42, 100_000])
def test_a_common_resp_with_a_code_becomes_the_answer(client, code):
    """The enum is open: numbers that nobody knows yet are passed on."""
    judge = JudgeReq(code=code, msg="because", data=b"\x00\xff", text="dropped")
    answer = client.call("/v1/probe/judge", judge)
    expected = CommonResp(code=code, msg="because", data=b"\x00\xff").SerializeToString()
    assert (answer.code, answer.data) == (code, expected)


def test_a_common_resp_with_code_zero_is_a_success_with_the_whole_response(client):
    answer = client.call("/v1/probe/judge", JudgeReq(code=0, msg="well done", text="kept"))
    expected = JudgeResp(text="kept", commonResp=CommonResp(code=0, msg="well done"))
    assert (answer.code, answer.data) == (Code.Success, expected.SerializeToString())


def test_a_response_without_common_resp_is_a_success(client):
    answer = client.call("/v1/probe/judge", JudgeReq(silent=True, text="kept"))
    assert (answer.code, answer.data) == (Code.Success, JudgeResp(text="kept").SerializeToString())


def test_the_field_that_is_read_in_responses_is_configured(start_gateway, connect, services):
    config = gateway_config(services, identity={"response_field": "verdict"})
    client = connect(start_gateway(config)).log_in()
    answer = client.call("/v1/probe/judge", JudgeReq(code=5, text="kept"))
    assert (answer.code, JudgeResp.FromString(answer.data).text) == (Code.Success, "kept")


def test_a_service_that_takes_too_long_gets_retry_error(start_gateway, connect, services):
    routes = {"/v1/hurry": {"rpc": "probe.Probe/Work", "timeout": "200ms"}}
    gateway = start_gateway(gateway_config(services, upstream={"routes": routes}))
    client = connect(gateway).log_in()
    answer = client.call("/v1/hurry", WorkReq(id="too slow", millis=20_000), timeout=5)
    assert answer.code == Code.RetryError


def test_no_more_than_the_window_is_in_flight_and_nothing_is_lost(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services, session={"max_in_flight": 4}))
    client = connect(gateway).log_in()
    ids = [
        client.send("/v1/probe/work", WorkReq(id=f"window-{number}", group="window", millis=100))
        for number in range(10)
    ]
    answers = [client.receive() for _ in ids]
    assert {answer.code for answer in answers} == {Code.Success}
    assert {answer.reqId for answer in answers} == set(ids)
    count = services.count("window")
    assert (count.executed, count.peak) == (10, 4)


def test_a_full_window_of_one_client_leaves_others_alone(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services, session={"max_in_flight": 2}))
    busy = [connect(gateway).log_in() for _ in range(4)]
    for client in busy:
        for number in range(4):
            client.send("/v1/probe/work", WorkReq(id=f"busy-{number}", millis=3000))
    other = connect(gateway).log_in()
    assert other.call("/v1/probe/count", CountReq(), timeout=2).code == Code.Success


def test_a_method_that_two_upstreams_claim_is_a_configuration_error(start_gateway, services):
    twin = probe_upstream(services, routes={"/v1/probe/echo": "probe.Probe/Echo"})
    gateway = start_gateway(gateway_config(services, upstreams={"twin": twin}), wait=False)
    assert gateway.wait_exit() == 64
    assert "/v1/probe/echo" in gateway.tail()
