"""Upstreams that take calls and answer none: stopped processes, and links that lead nowhere."""

import signal
import threading
import time
from dataclasses import dataclass

import pytest
from admin_client import metrics, readiness
from configuration import gateway_config
from lossy_proxy import LossyProxy
from probe_pb2 import EchoReq, EchoResp, WorkReq
from processes import as_event, eventually
from session_client import Code, SessionClient

# The route's timeout, and the pause between two calls of one of four clients: 40 calls a second.
TIMEOUT = 0.5
PAUSE = 0.1
CLIENTS = 4


@dataclass
class Call:
    sent: float
    ended: float = None
    code: int = None
    instance: str = ""


class SteadyClient(threading.Thread):
    """One session that calls ten times a second, whatever becomes of its calls."""

    def __init__(self, url, name):
        super().__init__(name=name, daemon=True)
        self.url, self.calls, self.failure = url, {}, None
        self._stopping = threading.Event()
        self.start()

    def run(self):
        try:
            with SessionClient(self.url) as client:
                client.log_in(user=self.name)
                while not self._stopping.is_set():
                    self.calls[client.send("/v1/probe/echo", EchoReq(text="x"))] = Call(time.monotonic())
                    self._answers(client, time.monotonic() + PAUSE)
                self._answers(client, time.monotonic() + 5, last=True)
        except Exception as failure:  # noqa: BLE001: told to the test by stop()
            self.failure = failure

    def _answers(self, client, until, last=False):
        while (left := until - time.monotonic()) > 0:
            if last and all(call.ended for call in self.calls.values()):
                return
            try:
                answer = client.receive(timeout=left)
            except TimeoutError:
                return
            call = self.calls.get(answer.reqId)
            if call:
                call.ended, call.code = time.monotonic(), answer.code
                if answer.code == Code.Success:
                    call.instance = EchoResp.FromString(answer.data).instance

    def stop(self):
        self._stopping.set()
        self.join(30)
        if self.failure:
            raise self.failure
        assert all(call.ended for call in self.calls.values()), "a call was never answered"
        return list(self.calls.values())


class SteadyLoad:
    """Forty calls a second in all, spread over the gateway's threads."""

    def __init__(self, gateway):
        self.clients = [SteadyClient(gateway.url, f"steady-{number}") for number in range(CLIENTS)]

    def ended(self):
        return [call for client in self.clients for call in list(client.calls.values()) if call.ended]

    def instances(self, since):
        """Who has answered calls that were sent since then."""
        return {call.instance for call in self.ended() if call.sent > since and call.instance}

    def stop(self):
        return [call for client in self.clients for call in client.stop()]


def time_to_heal(what, calls, broken):
    """From the third failure to the last one, printed."""
    failed = sorted((call for call in calls if call.code != Code.Success), key=lambda call: call.ended)
    assert len(failed) >= 3, f"{what}: only {len(failed)} calls failed, so nothing was shown"
    assert {call.code for call in failed} == {Code.RetryError}
    healed = failed[-1].ended - failed[2].ended
    print(
        f"{what}: {len(failed)} of {len(calls)} calls failed, the last {failed[-1].ended - broken:.2f} s"
        f" after it began and {healed:.2f} s after the third"
    )
    return healed


def state(gateway, upstream="probe"):
    """The state that endpoints are in, and how many."""
    name = "bridgehead_upstream_endpoints"
    found = metrics(gateway)
    states = ("up", "unresponsive", "ejected", "down")
    counts = {it: int(found[f'{name}{{state="{it}",upstream="{upstream}"}}']) for it in states}
    return {it: count for it, count in counts.items() if count}


def attempts(gateway):
    """Connections that were made, and those that could not be."""
    found = metrics(gateway)
    names = ("bridgehead_upstream_connects_total", "bridgehead_upstream_connect_failures_total")
    return sum(int(found[f'{name}{{upstream="probe"}}']) for name in names)


@pytest.fixture
def two_services(start_services, tmp_path):
    """Two of the probe services; the second may be stopped, and goes on at the end."""
    one = start_services(journal=tmp_path / "one")
    two = start_services(journal=tmp_path / "two", instance="two")
    yield one, two
    two.process.send_signal(signal.SIGCONT)


def test_a_stopped_process_is_left_alone_and_used_again(with_admin, two_services):
    one, two = two_services
    upstream = {"address": [one.address, two.address], "timeout": "500ms"}
    gateway = with_admin(gateway_config(one, upstream=upstream))
    load = SteadyLoad(gateway)
    begun = time.monotonic()
    eventually(lambda: len(load.instances(begun)) == 2)
    made = attempts(gateway)

    broken = time.monotonic()
    two.process.send_signal(signal.SIGSTOP)
    eventually(lambda: state(gateway).get("up") == 1, timeout=5)
    status, report = readiness(gateway)
    assert (status, report["status"]) == (200, "degraded")
    [reason] = report["checks"]["upstreams"]["reasons"]
    assert reason.startswith(f"probe: {two.address} ")
    time.sleep(12)
    storm = attempts(gateway) - made
    print(f"{storm} attempts to connect in 12 s")
    # Two threads with two connections each, and an attempt takes five seconds.
    assert storm <= 20

    back = time.monotonic()
    two.process.send_signal(signal.SIGCONT)
    eventually(lambda: len(load.instances(back)) == 2, timeout=5)
    print(f"in use again {time.monotonic() - back:.2f} s after SIGCONT")
    eventually(lambda: state(gateway) == {"up": 2})
    assert readiness(gateway)[1]["status"] == "ready"
    eventually(lambda: last_said(gateway) == "INFO")
    calls = load.stop()
    assert time_to_heal("a stopped process", calls, broken) < 5
    # Nothing fails any more when it is stopped for longer.
    late = [call for call in calls if broken + 5 < call.sent < back]
    assert len(late) > 100 and {call.code for call in late} == {Code.Success}


def test_the_only_process_stopped_is_known_fails_fast_and_is_used_at_once(with_admin, two_services, connect):
    _, only = two_services
    gateway = with_admin(gateway_config(only, upstream={"timeout": "500ms"}))
    load = SteadyLoad(gateway)
    eventually(lambda: len(load.ended()) > 20)
    made = attempts(gateway)
    only.process.send_signal(signal.SIGSTOP)
    eventually(lambda: state(gateway) == {"unresponsive": 1}, timeout=5)
    gateway.wait_event(lambda event: event.get("message") == "does not answer, trying another connection")
    client = connect(gateway).log_in()

    def fails_fast():
        begun = time.monotonic()
        assert client.call("/v1/probe/echo", EchoReq()).code == Code.RetryError
        return time.monotonic() - begun < TIMEOUT / 2

    eventually(fails_fast)
    time.sleep(5)
    assert fails_fast()
    assert attempts(gateway) - made <= 24
    status, report = readiness(gateway)
    assert (status, report["status"]) == (200, "degraded")
    back = time.monotonic()
    only.process.send_signal(signal.SIGCONT)
    eventually(lambda: client.call("/v1/probe/echo", EchoReq()).code == Code.Success, timeout=3)
    print(f"answered {time.monotonic() - back:.2f} s after SIGCONT")
    eventually(lambda: state(gateway) == {"up": 1}, timeout=5)
    assert readiness(gateway)[1]["status"] == "ready"
    load.stop()


def last_said(gateway):
    """The level of the last line about an endpoint, after a warning: what was warned of must end."""
    events = [event for event in map(as_event, gateway.lines) if "endpoint" in event]
    levels = [event["level"] for event in events if event["level"] in ("WARN", "INFO")]
    assert "WARN" in levels, gateway.tail()
    return levels[-1]


def test_connections_that_lead_nowhere_are_replaced(with_admin, services):
    proxy = LossyProxy(services.port)
    try:
        gateway = with_admin(gateway_config(services, upstream={"address": proxy.address, "timeout": "500ms"}))
        load = SteadyLoad(gateway)
        eventually(lambda: len(load.ended()) > 40)
        before = proxy.accepted
        broken = time.monotonic()
        proxy.forget()
        time.sleep(8)
        calls = load.stop()
        assert time_to_heal("connections that lead nowhere", calls, broken) < 5
        late = [call for call in calls if call.sent > broken + 5]
        assert len(late) > 80 and {call.code for call in late} == {Code.Success}
        print(f"{proxy.accepted - before} connections in place of {before}")
        # Each that had calls is replaced once. An idle one need not be.
        assert proxy.accepted <= 2 * before + 1
        replaced = metrics(gateway)['bridgehead_upstream_replacements_total{upstream="probe"}']
        assert replaced >= 2
        assert state(gateway) == {"up": 1}
        assert last_said(gateway) == "INFO"
    finally:
        proxy.close()


def test_a_slow_method_is_no_hung_service(with_admin, services, connect):
    routes = {"/v1/probe/echo": "probe.Probe/Echo", "/v1/slow": {"rpc": "probe.Probe/Work", "timeout": "300ms"}}
    gateway = with_admin(gateway_config(services, upstream={"routes": routes}))
    load = SteadyLoad(gateway)
    client = connect(gateway).log_in()
    for round_ in range(3):
        ids = [client.send("/v1/slow", WorkReq(id=f"slow-{round_}-{it}", millis=3000)) for it in range(20)]
        assert {client.answer_to(req_id).code for req_id in ids} == {Code.RetryError}
    calls = load.stop()
    assert {call.code for call in calls} == {Code.Success}
    found = metrics(gateway)
    assert found['bridgehead_upstream_ejections_total{upstream="probe"}'] == 0
    assert state(gateway) == {"up": 1}
    assert client.call("/v1/probe/echo", EchoReq()).code == Code.Success


def test_quick_calls_of_another_thread_speak_for_a_service_with_a_slow_method(with_admin, services, connect):
    """Sixteen clients that call nothing but the slow method, and one that calls the quick one: on a gateway
    of two threads and more, some thread sees nothing but time-outs."""
    routes = {"/v1/probe/echo": "probe.Probe/Echo", "/v1/slow": {"rpc": "probe.Probe/Work", "timeout": "300ms"}}
    gateway = with_admin(gateway_config(services, upstream={"routes": routes}))
    quick = SteadyClient(gateway.url, "quick")
    clients = [connect(gateway).log_in(user=f"slow-{number}") for number in range(16)]
    for _ in range(4):
        sent = [(client, client.send("/v1/slow", WorkReq(id="slow", millis=3000))) for client in clients]
        assert {client.answer_to(req_id).code for client, req_id in sent} == {Code.RetryError}
        assert state(gateway) == {"up": 1}
    assert {call.code for call in quick.stop()} == {Code.Success}
