"""session.device_id_from: package_id, for clients that all send the same deviceId."""

import pytest
from bridgehead.session.v1 import session_pb2 as session
from configuration import PUSH, gateway_config
from hook_service import HookService, hooks_config
from judge_service import JudgeService, login_rpc
from probe_pb2 import EchoReq, EchoResp
from push_client import Outcome
from session_client import KEEP_ALIVE, SET_USER_PARAMS, Code


@pytest.fixture(scope="module")
def gateway(share_gateway, services):
    section = {"device_id_from": "package_id", "one_session_per": "device"}
    return share_gateway(gateway_config(services, session=section, push=PUSH))


def browser(connect, gateway, user, package, **params):
    """All browsers of a family say that they are `Mozilla`."""
    params = {"platform": "web", "deviceId": "Mozilla", "packageId": package, **params}
    return connect(gateway).log_in(user, **params)


def test_browsers_of_one_family_do_not_end_each_other(gateway, connect, user):
    first = browser(connect, gateway, user, "install-1")
    second = browser(connect, gateway, user, "install-2")
    again = browser(connect, gateway, user, "install-1")
    assert first.wait_closed()[0] == 3004
    for client in (second, again):
        assert client.call(KEEP_ALIVE).code == Code.Success


def test_the_package_is_the_device_wherever_a_device_is_named(gateway, connect, backend, user):
    client = browser(connect, gateway, user, "install-1")
    answer = client.call_ok("/v1/probe/echo", EchoReq(), EchoResp)
    common = EchoReq.FromString(answer.request).commonReq
    assert (common.deviceId, common.packageId) == ("install-1", "install-1")
    [device] = [entry.value for entry in answer.metadata if entry.key == "x-device-id"]
    assert device == b"install-1"
    [found] = backend.sessions(user_ids=[user])
    assert found.device_id == "install-1"
    [receipt] = backend.push(user_ids=[user], device_ids=["install-1"], data=b"x")
    assert receipt.outcome == Outcome.WRITTEN
    [receipt] = backend.push(user_ids=[user], device_ids=["Mozilla"], data=b"x")
    assert receipt.outcome == Outcome.OFFLINE


def test_a_package_is_needed_at_the_login_and_a_device_is_not(gateway, connect):
    client = connect(gateway).wait_connected()
    assert client.set_cxn_params(packageId="").code == Code.Success
    client.send(SET_USER_PARAMS, session.SetUserParamsReq(userId="u", token="t"))
    assert client.wait_closed() == (3003, "packageId missing")
    client = connect(gateway).wait_connected()
    assert client.set_cxn_params(packageId="").code == Code.Success
    assert client.set_cxn_params(deviceId="", packageId="install-3").code == Code.Success
    assert client.set_user_params().code == Code.Success
    assert client.set_cxn_params(packageId="").code == Code.RequestError, "it stays a session's own"


def test_another_package_is_another_device_to_judge_and_hooks(start_gateway, connect, services):
    judge, told = JudgeService(), HookService().start()
    config = gateway_config(
        services,
        session={"device_id_from": "package_id"},
        auth={"rpc": login_rpc()},
        hooks=hooks_config(),
        upstreams={"judge": judge.upstream, "hooks": told.upstream},
    )
    client = browser(connect, start_gateway(config), "ann", "install-1")
    assert client.set_cxn_params(platform="web", deviceId="Other", packageId="install-1").code == Code.Success
    judge.judge = lambda question: "not this one" if question.connParam.deviceId == "stolen" else None
    assert client.set_cxn_params(platform="web", packageId="stolen").code == Code.AuthError
    assert client.set_cxn_params(platform="web", packageId="install-2").code == Code.Success
    asked = [question.connParam.deviceId for _, question in judge.asked]
    assert asked == ["install-1", "stolen", "install-2"], "deviceId is nobody's business"
    news = told.wait_told(3)
    devices = [(event, each.connParam.deviceId) for event, each in news]
    assert devices == [
        ("connected", "install-1"),
        ("disconnected", "install-1"),
        ("connected", "install-2"),
    ]
    judge.stop()
    told.stop()
