"""Upstreams that are away: at start, and while calls are under way."""

import socket
import time

import pytest
from configuration import gateway_config, probe_upstream
from load import Load
from probe_pb2 import EchoBareReq, EchoReq, WorkReq
from processes import eventually
from session_client import Code, common_resp


@pytest.fixture
def restartable(start_services, tmp_path):
    """Services that can come back on the port, and with the journal, they had before."""

    class Restartable:
        def __init__(self):
            self.journal = tmp_path / "restartable.journal"
            self.current = start_services(journal=self.journal)
            self.address, self.port = self.current.address, self.current.port

        def kill(self):
            self.current.kill()

        def start(self):
            listen = f"127.0.0.1:{self.port}"
            self.current = start_services(journal=self.journal, listen=listen, instance="two")

        def executed(self):
            return self.journal.read_text().split()

    return Restartable()


def test_reflection_that_is_down_at_start_is_tried_again(start_gateway, connect, services, restartable):
    restartable.kill()
    late = {"address": restartable.address, "expose": ["probe.Extra"], "routes": {"/v1/late": "probe.Probe/Echo"}}
    gateway = start_gateway(gateway_config(services, upstreams={"late": late}))
    client = connect(gateway).log_in()
    assert client.call("/v1/late", EchoReq()).code == Code.RetryError
    assert client.call("/v1/probe/echo", EchoReq()).code == Code.Success
    restartable.start()
    eventually(lambda: client.call("/v1/late", EchoReq()).code == Code.Success, timeout=30)
    assert client.call("/probe.Extra/First", EchoBareReq()).code == Code.Success


def test_a_login_is_still_needed_for_routes_that_are_not_resolved_yet(
    start_gateway, connect, services, restartable
):
    restartable.kill()
    late = {"address": restartable.address, "routes": {"/v1/late": "probe.Probe/Echo"}}
    client = connect(start_gateway(gateway_config(services, upstreams={"late": late}))).wait_connected()
    client.set_cxn_params()
    assert client.call("/v1/late", EchoReq()).code == Code.AuthError


def test_an_upstream_that_refuses_connections_gets_retry_error(start_gateway, connect, restartable):
    client = connect(start_gateway(gateway_config(restartable))).log_in()
    assert client.call("/v1/probe/echo", EchoReq()).code == Code.Success
    restartable.kill()
    answer = client.call("/v1/probe/echo", EchoReq(), timeout=8)
    assert answer.code == common_resp(answer).code == Code.RetryError


def test_an_upstream_that_accepts_and_says_nothing_gets_retry_error(start_gateway, connect, services):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        descriptors = services_descriptors()
        mute = {
            "address": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "descriptors": [str(descriptors)],
            "timeout": "500ms",
            "routes": {"/v1/mute": "probe.Probe/Echo"},
        }
        client = connect(start_gateway(gateway_config(services, upstreams={"mute": mute}))).log_in()
        assert client.call("/v1/mute", EchoReq(), timeout=5).code == Code.RetryError


def services_descriptors():
    from conftest import ROOT

    return ROOT / "target" / "peers" / "gen" / "probe.binpb"


def test_a_killed_upstream_costs_no_answer_and_no_second_execution(start_gateway, restartable):
    """Every call gets exactly one answer, and the service does no work twice."""
    gateway = start_gateway(gateway_config(restartable))
    load = Load(gateway, clients=4, window=8, millis=2)
    load.wait_for(300)
    restartable.kill()
    load.wait_for(100)
    restartable.start()
    returned = time.monotonic()
    eventually(lambda: time.monotonic() > returned + 2.5)
    calls = load.stop()

    codes = {call.code for call in calls}
    assert codes == {Code.Success, Code.RetryError}, codes
    executed = restartable.executed()
    assert len(executed) == len(set(executed)), "a call was executed twice"
    succeeded = {call.id for call in calls if call.code == Code.Success}
    assert succeeded <= set(executed)
    late = [call for call in calls if call.sent > returned + 2]
    assert late, "no call was sent after the two seconds"
    failed = [call.reason for call in late if call.code != Code.Success]
    assert not failed, f"{len(failed)} of {len(late)} calls failed after two seconds: {failed[:5]}"


def test_a_call_that_may_be_repeated_survives_a_crash(start_gateway, connect, restartable):
    """`Look` says of itself that it has no side effects, and the route says so of `Work`."""
    routes = {
        "/v1/look": "probe.Probe/Look",
        "/v1/work": "probe.Probe/Work",
        "/v1/again": {"rpc": "probe.Probe/Work", "retry": True},
    }
    client = connect(start_gateway(gateway_config(restartable, upstream={"routes": routes}))).log_in()
    calls = {
        method: client.send(method, WorkReq(id=method, group="crash", millis=700)) for method in routes
    }
    eventually(lambda: restartable.current.count("crash").executing == 3)
    restartable.kill()
    restartable.start()
    codes = {method: client.answer_to(req_id).code for method, req_id in calls.items()}
    assert codes["/v1/work"] == Code.RetryError
    executed = restartable.executed()
    assert executed.count("/v1/work") == 1
    for method in ("/v1/look", "/v1/again"):
        assert codes[method] in (Code.Success, Code.RetryError)
        if codes[method] == Code.Success:
            assert executed.count(method) >= 2
