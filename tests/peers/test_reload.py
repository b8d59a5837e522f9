"""Changing routes.yaml while the gateway is at work."""

import json
import signal
import socket

import pytest
from configuration import PROBE_ROUTES, gateway_config
from load import Load
from probe_pb2 import EchoBareReq, EchoReq, EchoResp, WorkReq
from processes import PATIENCE, Gateway, eventually
from session_client import Code

ADDED = "/v1/probe/added"


def config_with(services, routes, **upstream):
    return gateway_config(services, upstream={"routes": {**PROBE_ROUTES, **routes}, **upstream})


def code_of(client, method):
    return client.call(method, EchoReq()).code


def test_a_method_is_added_and_removed_without_one_failed_call(start_gateway, connect, services):
    gateway = start_gateway(config_with(services, {}))
    client = connect(gateway).log_in()
    load = Load(gateway, clients=4)
    load.wait_for(100)
    for _ in range(3):
        assert code_of(client, ADDED) == Code.RequestError
        gateway.write_config(config_with(services, {ADDED: "probe.Probe/Echo"}))
        eventually(lambda: code_of(client, ADDED) == Code.Success)
        load.wait_for(100)
        gateway.write_config(config_with(services, {}))
        eventually(lambda: code_of(client, ADDED) == Code.RequestError)
        load.wait_for(100)
    load.stop_without_failures()


def test_a_call_in_flight_while_its_route_goes_away_is_answered(start_gateway, connect, services):
    gateway = start_gateway(config_with(services, {ADDED: "probe.Probe/Work"}))
    client = connect(gateway).log_in()
    going = client.send(ADDED, WorkReq(id="going", millis=1500))
    gateway.write_config(config_with(services, {}))
    eventually(lambda: code_of(client, ADDED) == Code.RequestError)
    assert client.answer_to(going).code == Code.Success


def test_a_whole_new_upstream_can_be_added_and_removed(start_gateway, start_services, connect, services):
    gateway = start_gateway(gateway_config(services))
    client = connect(gateway).log_in()
    other = start_services(instance="other")
    upstream = {"address": other.address, "expose": ["probe.Extra"]}
    gateway.write_config(gateway_config(services, upstreams={"other": upstream}))
    eventually(lambda: client.call("/probe.Extra/First", EchoBareReq()).code == Code.Success)
    gateway.write_config(gateway_config(services))
    eventually(lambda: client.call("/probe.Extra/First", EchoBareReq()).code == Code.RequestError)


def test_an_edit_right_after_the_start_is_not_missed(start_gateway, connect, services):
    gateway = start_gateway(config_with(services, {}))
    gateway.write_config(config_with(services, {ADDED: "probe.Probe/Echo"}))
    client = connect(gateway).log_in()
    eventually(lambda: code_of(client, ADDED) == Code.Success)


def test_an_edit_in_place_counts_too(start_gateway, connect, services):
    """Not every editor replaces the file."""
    gateway = start_gateway(config_with(services, {}))
    client = connect(gateway).log_in()
    gateway.config_file.write_text(json.dumps(config_with(services, {ADDED: "probe.Probe/Echo"})))
    eventually(lambda: code_of(client, ADDED) == Code.Success)


class MountedGateway(Gateway):
    """Reads its file as Kubernetes mounts it: a link through ..data, the one link that is switched."""

    versions = 0

    def write_config(self, config):
        self.config = config
        self.versions += 1
        version = self.directory / f"..v{self.versions}"
        version.mkdir()
        (version / self.config_file.name).write_text(json.dumps(config))
        link = self.directory / "..new"
        link.symlink_to(version.name)
        link.replace(self.directory / "..data")
        if not self.config_file.is_symlink():
            self.config_file.symlink_to(f"..data/{self.config_file.name}")


def test_a_config_map_that_is_switched_counts_too(start_gateway, connect, services):
    gateway = start_gateway(config_with(services, {}), kind=MountedGateway)
    client = connect(gateway).log_in()
    gateway.write_config(config_with(services, {ADDED: "probe.Probe/Echo"}))
    eventually(lambda: code_of(client, ADDED) == Code.Success)


BROKEN = {
    # What is written, and what the complaint must name: the mistake, and what would be right.
    "no YAML": ("upstreams: [", ["routes.yaml"]),
    "an empty file": ("", ["routes.yaml"]),
    "an unknown key": (
        {"edge": {"listen": "127.0.0.1:0", "max_mesage": "1MiB"}},
        ["max_mesage", "max_message"],
    ),
    "a method that does not exist": ({"routes": {ADDED: "probe.Probe/Ecko"}}, ["Ecko", "Echo"]),
    "a method that is not unary": ({"routes": {ADDED: "probe.Probe/Watch"}}, ["Watch"]),
    "a service that does not exist": (
        {"routes": {ADDED: "probe.Prob/Echo"}},
        ["probe.Prob", "probe.Probe"],
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_edit_changes_nothing_and_says_why(start_gateway, connect, services, kind):
    edit, named = BROKEN[kind]
    gateway = start_gateway(config_with(services, {}))
    client = connect(gateway).log_in()
    load = Load(gateway, clients=1)
    load.wait_for(20)
    start = len(gateway.lines)
    if isinstance(edit, str):
        gateway.config_file.write_text(edit)
    elif "routes" in edit:
        gateway.write_config(config_with(services, edit["routes"]))
    else:
        gateway.write_config({**config_with(services, {}), **edit})
    gateway.wait_line(
        lambda line: "ERROR" in line and all(word in line for word in named), start=start
    )
    assert code_of(client, ADDED) == Code.RequestError
    assert code_of(client, "/v1/probe/echo") == Code.Success
    load.wait_for(20)
    load.stop_without_failures()
    # And a good one afterwards is taken.
    gateway.write_config(config_with(services, {ADDED: "probe.Probe/Echo"}))
    eventually(lambda: code_of(client, ADDED) == Code.Success)


def test_sighup_reads_the_file_again(start_gateway, services):
    """The broken file is complained of once for the edit, and once more for the signal."""
    gateway = start_gateway(config_with(services, {}))
    start = len(gateway.lines)
    gateway.write_config(config_with(services, {ADDED: "probe.Probe/Ecko"}))
    gateway.wait_line(lambda line: "ERROR" in line and "Ecko" in line, start=start)
    # The watcher may speak more than once of one edit; wait until it is through.
    quiet = eventually(lambda: quiet_for(gateway, 1.0))
    gateway.process.send_signal(signal.SIGHUP)
    gateway.wait_line(lambda line: "ERROR" in line and "Ecko" in line, start=quiet)


def quiet_for(gateway, seconds):
    """The number of log lines, once there has been none for a while."""
    count = len(gateway.lines)
    try:
        gateway.wait_line(lambda line: True, start=count, timeout=seconds)
    except AssertionError:
        return count
    return None


def test_sessions_survive_a_reload(start_gateway, connect, services):
    gateway = start_gateway(config_with(services, {}))
    client = connect(gateway).log_in()
    before = session_id(client)
    gateway.write_config(config_with(services, {ADDED: "probe.Probe/Echo"}))
    eventually(lambda: code_of(client, ADDED) == Code.Success)
    assert session_id(client) == before


def test_a_reload_with_a_wrong_address_is_taken_and_warned_of(start_gateway, connect, services):
    gateway = start_gateway(config_with(services, {}))
    client = connect(gateway).log_in()
    client.call_ok("/v1/probe/echo", EchoReq(), EchoResp)
    mark = len(gateway.lines)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        wrong = f"http://127.0.0.1:{closed.getsockname()[1]}"
        gateway.write_config(gateway_config(services, upstream={"address": wrong}))
        event = gateway.wait_event(lambda event: "not known yet" in event.get("message", ""), start=mark)
        assert (event["level"], event["upstream"], event["address"]) == ("WARN", "probe", wrong)
        assert "refused" in event["reason"], event
        assert code_of(client, "/v1/probe/echo") == Code.RetryError


def session_id(client):
    response = client.call_ok("/v1/probe/echo", EchoReq(), EchoResp)
    return EchoReq.FromString(response.request).commonReq.sessionId


def test_a_hangup_while_the_gateway_starts_does_not_end_it(start_gateway, services):
    """It is still asking a service that does not answer for its descriptors."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        upstreams = {"silent": {"address": f"http://127.0.0.1:{silent.getsockname()[1]}", "expose": ["a.B"]}}
        gateway = start_gateway(gateway_config(services, upstreams=upstreams), wait=False)
        asked, _ = silent.accept()
        gateway.process.send_signal(signal.SIGHUP)
        asked.close()
    gateway.wait_listening()
    gateway.wait_line(lambda line: "configuration reloaded" in line)
