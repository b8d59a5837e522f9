"""Logins judged by an RPC of the services, and by nobody."""

import pytest
from bridgehead.session.v1 import session_pb2 as session
from configuration import gateway_config, probe_upstream
from probe_pb2 import EchoReq
from session_client import SET_USER_PARAMS, Code, common_resp


def rpc_auth(**settings):
    return {
        "rpc": {
            "upstream": "probe",
            "rpc": "probe.Probe/BeforeConnect",
            "request": {
                "connParam": {
                    "userId": "{user_id}",
                    "token": "{token}",
                    "platform": "{platform}",
                    "deviceId": "{device_id}",
                    "ips": "{remote_ip}",
                }
            },
            "accept_when": {"code": 0, "msg": ""},
            "reason": "msg",
            **settings,
        }
    }


@pytest.fixture(scope="module")
def judged(share_gateway, services):
    return share_gateway(gateway_config(services, auth=rpc_auth(), upstream={"timeout": "500ms"}))


# The probe accepts exactly the token that repeats all else that it was told.
GOOD_TOKEN = "alice/ios/device-1/127.0.0.1"


def ready_to_log_in(connect, gateway):
    client = connect(gateway).wait_connected()
    client.set_cxn_params()
    return client


def test_a_login_that_the_rpc_accepts_is_a_login(judged, connect):
    client = ready_to_log_in(connect, judged)
    assert client.set_user_params("alice", GOOD_TOKEN).code == Code.Success
    assert client.call("/v1/probe/echo", EchoReq()).code == Code.Success


def test_a_login_that_the_rpc_refuses_is_told_the_reason(judged, connect):
    client = ready_to_log_in(connect, judged)
    answer = client.set_user_params("alice", "a wrong token")
    assert (answer.code, common_resp(answer).msg) == (Code.AuthError, "not the token of alice")
    assert client.wait_closed()[0] == 3000


def test_a_refusal_with_another_code_is_one_too(judged, connect):
    client = ready_to_log_in(connect, judged)
    answer = client.set_user_params("alice", "seven")
    assert (answer.code, common_resp(answer).msg) == (Code.AuthError, "seven")


@pytest.mark.parametrize(
    ("patterns", "refuses"),
    [
        ({"accept_when": None, "reject_when": {"msg": {"not": ""}}}, ["a wrong token", "seven"]),
        ({"accept_when": {}, "reject_when": {"code": 7}}, ["seven"]),
        ({"accept_when": {"code": 0}, "reject_when": {"msg": {"not": ""}}}, ["a wrong token", "seven"]),
    ],
)
def test_what_refuses_may_be_said_instead(start_gateway, connect, services, patterns, refuses):
    auth = rpc_auth(**patterns)
    auth["rpc"] = {key: value for key, value in auth["rpc"].items() if value is not None}
    gateway = start_gateway(gateway_config(services, auth=auth))
    assert ready_to_log_in(connect, gateway).set_user_params("alice", GOOD_TOKEN).code == Code.Success
    for token in refuses:
        answer = ready_to_log_in(connect, gateway).set_user_params("alice", token)
        assert answer.code == Code.AuthError, token


# A judge whose user ids are no texts: whatever else it would read as the same number is nobody.
ODD = ["05", "+5", "-0", "1e3", " 5", "5 ", "0x5", "NaN", "1.0", "5_0"]
FIELDS = ["int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64"]


@pytest.mark.parametrize(
    ("numbers", "good", "odd"),
    [
        *[({field: "{user_id}"}, ["5", "0"], ODD) for field in FIELDS],
        *[({field: "{user_id}"}, ["5", "0.5"], [*ODD, "Infinity", "inf", ".5"]) for field in ("float", "double")],
        ({"wrapped": "{user_id}"}, ["-5"], ODD),
        ({"list": ["{user_id}"]}, ["5"], ODD),
        ({"map": {"id": "{user_id}"}}, ["5"], ODD),
        ({"code": "{user_id}"}, ["AuthError"], ["4", "autherror", "AUTHERROR", "04"]),
        ({"at": "{user_id}"}, ["2020-01-01T00:00:00Z"], ["2020-01-01T01:00:00+01:00", "2020-01-01T00:00:00.0Z"]),
    ],
    ids=str,
)
def test_only_the_one_spelling_of_a_value_is_a_user(start_gateway, connect, services, numbers, good, odd):
    request = {"connParam": {"token": "{token}"}, "numbers": numbers}
    gateway = start_gateway(gateway_config(services, auth=rpc_auth(request=request)))
    for user in good:
        answer = ready_to_log_in(connect, gateway).set_user_params(user, "anybody's")
        assert answer.code == Code.Success, user
    for user in odd:
        answer = ready_to_log_in(connect, gateway).set_user_params(user, "anybody's")
        assert answer.code == Code.AuthError, user


def test_values_cannot_break_out_of_the_template(judged, connect):
    """The values are texts in JSON, whatever they contain; placeholders in them are not filled."""
    user = 'alice", "token": "{token}\\'
    client = ready_to_log_in(connect, judged)
    token = f"{user}/ios/device-1/127.0.0.1"
    assert client.set_user_params(user, token).code == Code.Success


@pytest.mark.parametrize("token", ["unavailable", "slow"])
def test_a_judge_that_cannot_be_asked_is_no_judgement(judged, connect, token):
    """A passing failure: nobody is logged in, and nobody was refused either."""
    client = ready_to_log_in(connect, judged)
    # In the upstream's own time.
    login = client.send(SET_USER_PARAMS, session.SetUserParamsReq(userId="alice", token=token))
    assert client.answer_to(login, timeout=3).code == Code.RetryError
    assert client.call("/v1/probe/echo", EchoReq()).code == Code.AuthError
    assert client.set_user_params("alice", GOOD_TOKEN).code == Code.Success


def test_frames_behind_set_user_params_wait_for_the_judgement(judged, connect):
    client = ready_to_log_in(connect, judged)
    login = client.send(SET_USER_PARAMS, session.SetUserParamsReq(userId="alice", token=GOOD_TOKEN))
    echo = client.send("/v1/probe/echo", EchoReq())
    assert client.answer_to(login).code == Code.Success
    assert client.answer_to(echo).code == Code.Success


def test_a_refusal_without_a_configured_reason_does_not_tell_the_services_text(
    start_gateway, connect, services
):
    auth = rpc_auth()
    del auth["rpc"]["reason"]
    client = ready_to_log_in(connect, start_gateway(gateway_config(services, auth=auth)))
    answer = client.set_user_params("alice", "a wrong token")
    assert answer.code == Code.AuthError
    assert "not the token" not in common_resp(answer).msg


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"rpc": "probe.Probe/BeforeConnec"}, "BeforeConnec"),
        ({"rpc": "probe.Probe/Watch"}, "Watch"),
        ({"upstream": "prob"}, "prob"),
        ({"request": {"connParam": {"nobody": "{user_id}"}}}, "nobody"),
        ({"reject_when": {"message": ""}}, "has no field `message`"),
        ({"reject_when": {}}, "every response is a refusal"),
    ],
)
def test_an_rpc_that_cannot_be_called_is_a_configuration_error(start_gateway, services, settings, named):
    gateway = start_gateway(gateway_config(services, auth=rpc_auth(**settings)), wait=False)
    assert gateway.wait_exit() == 64
    assert named in gateway.tail()


def test_a_judge_needs_to_be_understood(start_gateway, services):
    auth = rpc_auth()
    del auth["rpc"]["accept_when"]
    gateway = start_gateway(gateway_config(services, auth=auth), wait=False)
    assert gateway.wait_exit() == 64
    assert "reject_when" in gateway.tail()


DOUBT = "an empty response is accepted"


def test_a_pattern_that_takes_a_refusal_for_a_yes_is_warned_of(start_gateway, services):
    """At start and at each reload."""
    auth = rpc_auth(accept_when={"code": 0})
    gateway = start_gateway(gateway_config(services, auth=auth))
    warned = gateway.wait_event(lambda event: DOUBT in event.get("warning", ""))
    assert warned["level"] == "WARN" and "`msg`" in warned["warning"]

    def reload(auth):
        start = len(gateway.lines)
        gateway.write_config(gateway_config(services, auth=auth))
        gateway.wait_event(lambda event: event.get("message") == "configuration reloaded", start=start)
        return [line for line in gateway.lines[start:] if DOUBT in str(line)]

    assert reload(rpc_auth()) == []
    assert len(reload(auth)) == 1


# `none`


def test_believing_everybody_is_refused_where_others_can_connect(start_gateway, services):
    config = gateway_config(services, edge={"listen": "0.0.0.0:0"})
    gateway = start_gateway(config, wait=False)
    assert gateway.wait_exit() == 64
    assert "insecure" in gateway.tail()


def test_believing_everybody_can_be_insisted_on(start_gateway, services):
    config = gateway_config(services, edge={"listen": "0.0.0.0:0"}, auth={"none": {"insecure": True}})
    start_gateway(config)


def test_two_ways_at_once_are_a_configuration_error(start_gateway, services):
    gateway = start_gateway(gateway_config(services, auth={**rpc_auth(), "none": {}}), wait=False)
    assert gateway.wait_exit() == 64


def test_the_judge_may_be_an_upstream_without_routes(start_gateway, connect, services):
    judge = probe_upstream(services, routes=None)
    config = gateway_config(services, auth=rpc_auth(upstream="judge"), upstreams={"judge": judge})
    client = ready_to_log_in(connect, start_gateway(config))
    assert client.set_user_params("alice", GOOD_TOKEN).code == Code.Success
