"""SIGTERM: a gateway goes away without a call lost, and without sending all away at once."""

import datetime
import signal
import time

import grpc
import pytest
from configuration import PUSH, gateway_config
from crowd import Crowd
from grpc_health.v1 import health_pb2, health_pb2_grpc
from probe_pb2 import WorkReq, WorkResp
from processes import eventually
from push_client import ACKNOWLEDGED, SERVICE, Kind, Outcome, PushClient, outcomes
from session_client import Code

SESSIONS = 1000
# Three of ten have a call in flight.
CALLING = 300
PERIOD = 2.0
# How long the slowest call takes: it ends after the period.
SLOWEST = 2.6
# For a busy machine.
SLACK = 1.0


@pytest.fixture(scope="module")
def drained(binary, services, share_gateway):
    """What was seen of one drain of a thousand sessions, many with calls in flight."""
    drain = {"delay": "0s", "period": f"{PERIOD * 1000:.0f}ms"}
    config = gateway_config(services, drain=drain, push=PUSH)
    config["log"]["level"] = "info"
    return Drained(share_gateway(config), services)


class Drained:
    def __init__(self, gateway, services):
        self.gateway = gateway
        self.crowd = Crowd(gateway.url, SESSIONS)
        # Mixed: sessions leave in the order in which they came.
        members = list(enumerate(self.crowd.members))
        self.calling = [member for number, member in members if number % 10 < 3]
        self.idle = [member for number, member in members if number % 10 >= 3]
        for number, member in enumerate(self.calling):
            # Spread over the period, some of them behind it.
            millis = 400 + int((SLOWEST - 0.4) * 1000 * number / CALLING)
            work = WorkReq(id=f"drain-{number}", group="drained", millis=millis)
            self.crowd.send(member, "call", "/v1/probe/work", work)
        eventually(lambda: services.count("drained").executed == CALLING)
        backend = PushClient(gateway.push_address)
        watch = backend.watch()
        self.began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        self.gone = [next(watch) for _ in range(SESSIONS // 2)]
        stub = health_pb2_grpc.HealthStub(backend.channel)
        self.health = [
            stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status
            for service in ("", SERVICE)
        ]
        self.receipts = backend.push(everyone=True, data=b"still here", confirm=ACKNOWLEDGED, deadline=10)
        try:
            for event in watch:
                self.gone.append(event)
        except grpc.RpcError as ended:
            self.watch_ended = ended.code()
        self.crowd.wait_over()
        self.exit_code = gateway.wait_exit()
        self.took = time.monotonic() - self.began
        backend.close()
        self.crowd.close()

    def after(self, member):
        """When a session was closed, seconds after the signal."""
        return member.closed_at - self.began


def test_no_call_is_lost(drained):
    for number, member in enumerate(drained.calling):
        answer = member.answers["call"]
        assert answer.code == Code.Success
        assert WorkResp.FromString(answer.data).id == f"drain-{number}"


def test_every_session_is_closed_with_1001(drained):
    assert {member.close_code for member in drained.crowd.members} == {1001}
    assert len(drained.gone) == SESSIONS
    assert {(Kind.Name(it.kind), it.close_code) for it in drained.gone} == {("DISCONNECTED", 1001)}
    assert len({it.session.session_id for it in drained.gone}) == SESSIONS


def test_idle_sessions_are_closed_within_the_period(drained):
    assert max(drained.after(member) for member in drained.idle) < PERIOD + SLACK


def test_sessions_with_calls_are_closed_when_those_are_answered(drained):
    assert max(drained.after(member) for member in drained.calling) < SLOWEST + SLACK


def test_the_goodbyes_are_spread_over_the_period(drained):
    """By the gateway's own clock: in each half of a second about its share."""
    draining = drained.gateway.wait_event(lambda event: event.get("message") == "draining")
    began = datetime.datetime.fromisoformat(draining["timestamp"])
    idle = {member.user for member in drained.idle}
    width = datetime.timedelta(seconds=0.5)
    counts = [0] * round(PERIOD / 0.5)
    for event in drained.gone:
        if event.session.user_id in idle:
            after = event.at.ToDatetime(datetime.timezone.utc) - began
            counts[min(after // width, len(counts) - 1)] += 1
    share = len(idle) / len(counts)
    assert all(share * 0.5 < count < share * 1.5 for count in counts), counts


def test_pushes_reach_those_that_are_still_there(drained):
    """When half of them had gone. Whoever acknowledged it has it; most were there to do so."""
    acknowledged = {
        it.session.user_id for it in drained.receipts if it.outcome == Outcome.ACKNOWLEDGED
    }
    assert {Outcome.Name(it.outcome) for it in drained.receipts} <= {"ACKNOWLEDGED", "CLOSED"}
    assert len({it.session.session_id for it in drained.receipts}) == len(drained.receipts)
    received = {member.user for member in drained.crowd.members if member.pushes}
    assert acknowledged <= received
    assert all(len(member.pushes) <= 1 for member in drained.crowd.members)
    assert len(acknowledged) > SESSIONS // 4


def test_the_push_api_says_that_it_is_not_well(drained):
    assert drained.health == [health_pb2.HealthCheckResponse.NOT_SERVING] * 2


def test_the_push_api_stays_until_the_last_session_is_gone(drained):
    assert drained.watch_ended == grpc.StatusCode.UNAVAILABLE


def test_it_exits_with_0_as_soon_as_all_have_left(drained):
    assert drained.exit_code == 0
    assert drained.took < SLOWEST + 2 * SLACK


def test_the_log_says_how_many_there_were_and_how_long_it_took(drained):
    draining = drained.gateway.wait_event(lambda event: event.get("message") == "draining")
    stopped = drained.gateway.wait_event(lambda event: event.get("message") == "stopped")
    assert (draining["sessions"], stopped["sessions"], stopped["cut_off"]) == (SESSIONS, SESSIONS, 0)
    assert stopped["took"].endswith("s")
    assert PERIOD * 0.9 < float(stopped["took"].rstrip("ms")) < drained.took


def test_during_the_delay_all_goes_on_but_for_health(start_gateway, services, connect, open_backend):
    """Until load balancers have noticed, clients still come."""
    drain = {"delay": "1s", "period": "0s"}
    gateway = start_gateway(gateway_config(services, drain=drain, push=PUSH))
    backend = open_backend(gateway)
    stub = health_pb2_grpc.HealthStub(backend.channel)
    health = stub.Watch(health_pb2.HealthCheckRequest(), timeout=10)
    assert next(health).status == health_pb2.HealthCheckResponse.SERVING
    older = connect(gateway).log_in("older")
    gateway.process.send_signal(signal.SIGTERM)
    assert next(health).status == health_pb2.HealthCheckResponse.NOT_SERVING
    newer = connect(gateway).log_in("newer")
    receipts = backend.push(everyone=True, data=b"x", confirm=ACKNOWLEDGED, deadline=10)
    assert outcomes(receipts) == ["ACKNOWLEDGED"] * 2
    for client in (older, newer):
        assert client.receive_push().data == b"x"
        assert client.wait_closed()[0] == 1001
    # A watch of health has no end of its own, and holds up nobody.
    assert gateway.wait_exit() == 0
    assert list(health) == []
    assert not any("cut off" in line for line in gateway.lines)
