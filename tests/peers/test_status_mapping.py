"""What a gRPC status becomes, row by row."""

import json

import grpc
import pytest
from configuration import PROBE_ROUTES, gateway_config
from probe_pb2 import FailReq, JudgeReq, JudgeResp
from session_client import Code, common_resp

DEFAULTS = {
    "UNAUTHENTICATED": "AuthError",
    "INVALID_ARGUMENT": "RequestError",
    "NOT_FOUND": "RequestError",
    "ALREADY_EXISTS": "RequestError",
    "FAILED_PRECONDITION": "RequestError",
    "OUT_OF_RANGE": "RequestError",
    "PERMISSION_DENIED": "RequestError",
    "UNIMPLEMENTED": "RequestError",
    "UNAVAILABLE": "RetryError",
    "DEADLINE_EXCEEDED": "RetryError",
    "RESOURCE_EXHAUSTED": "RetryError",
    "ABORTED": "RetryError",
    "CANCELLED": "RetryError",
    "INTERNAL": "InternalError",
    "DATA_LOSS": "InternalError",
    "UNKNOWN": "UnknownError",
}

SECRET = "row 17 of table users 泄密"


def fail(client, status, method="/v1/probe/fail"):
    request = FailReq(status=grpc.StatusCode[status].value[0], text=SECRET)
    answer = client.call(method, request)
    assert common_resp(answer).code == answer.code, "data is a CommonResp of the same code"
    return answer


def test_the_table_is_complete():
    assert {*DEFAULTS, "OK"} == set(grpc.StatusCode.__members__)


def test_ok_is_success(client):
    client.call_ok("/v1/probe/judge", JudgeReq(text="fine"), JudgeResp)


@pytest.mark.parametrize(("status", "code"), DEFAULTS.items())
def test_a_status_becomes_the_code_of_its_row(client, status, code):
    assert Code.Name(fail(client, status).code) == code


@pytest.mark.parametrize("status", DEFAULTS)
def test_the_services_text_does_not_reach_the_client(client, status):
    answer = fail(client, status)
    assert SECRET.encode() not in answer.data
    assert b"row 17" not in answer.data


def test_the_services_text_is_logged_with_the_requests_id(gateway, client):
    start = len(gateway.lines)
    req_id = client.send("/v1/probe/fail", FailReq(status=13, text="disk 4 is full"), req_id="the-request")
    client.answer_to(req_id)
    gateway.wait_line(lambda line: "disk 4 is full" in line and "the-request" in line, start=start)


# An upstream that overrides every row with another code, and a route that overrides two of those.

OTHERS = ["UnknownError", "InternalError", "RequestError", "AuthError", "ToastError", "AlertError", "RetryError"]


def other_than(code):
    return OTHERS[(OTHERS.index(code) + 1) % len(OTHERS)]


@pytest.fixture(scope="module")
def overriding(share_gateway, services):
    routes = {
        **PROBE_ROUTES,
        "/v1/route/fail": {
            "rpc": "probe.Probe/Fail",
            "error_codes": {"NOT_FOUND": "ToastError", "INTERNAL": "AlertError"},
        },
    }
    upstream = {
        "routes": routes,
        "expose_errors": True,
        "error_codes": {status: other_than(code) for status, code in DEFAULTS.items()},
    }
    return share_gateway(gateway_config(services, upstream=upstream))


@pytest.mark.parametrize(("status", "code"), DEFAULTS.items())
def test_an_upstream_may_override_a_row(overriding, connect, status, code):
    client = connect(overriding).log_in()
    assert Code.Name(fail(client, status).code) == other_than(code)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("NOT_FOUND", "ToastError"),
        ("INTERNAL", "AlertError"),
        # Not said by the route: the upstream's.
        ("UNKNOWN", other_than(DEFAULTS["UNKNOWN"])),
    ],
)
def test_a_route_may_override_its_upstream(overriding, connect, status, code):
    client = connect(overriding).log_in()
    assert Code.Name(fail(client, status, "/v1/route/fail").code) == code


def test_a_row_that_is_not_overridden_keeps_its_default(start_gateway, connect, services):
    upstream = {"error_codes": {"NOT_FOUND": "ToastError"}}
    client = connect(start_gateway(gateway_config(services, upstream=upstream))).log_in()
    assert fail(client, "NOT_FOUND").code == Code.ToastError
    assert fail(client, "ALREADY_EXISTS").code == Code.RequestError


@pytest.fixture(scope="module")
def exposing(share_gateway, services):
    return share_gateway(gateway_config(services, upstream={"expose_errors": True}))


@pytest.mark.parametrize(
    "status", [status for status, code in DEFAULTS.items() if code != "RequestError"]
)
def test_the_services_text_is_the_message_where_errors_are_exposed(exposing, connect, status):
    answer = fail(connect(exposing).log_in(), status)
    assert common_resp(answer).msg == SECRET


def test_an_exposed_alert_is_json_as_clients_expect_it(overriding, connect):
    answer = fail(connect(overriding).log_in(), "INTERNAL", "/v1/route/fail")
    alert = json.loads(common_resp(answer).msg)
    assert {"title", "msg", "actions"} <= set(alert)
    assert SECRET in alert["msg"]
    for action in alert["actions"]:
        assert {"action", "title", "jumpTo"} <= set(action)
