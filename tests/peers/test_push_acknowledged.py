"""ACKNOWLEDGED is honest: only the client's own WebSocket stack, having read the frame, makes it."""

import json
import signal
import sys

import pytest
from configuration import PUSH, gateway_config
from processes import HERE, Program
from push_client import ACKNOWLEDGED, WRITTEN, outcomes
from websockets.frames import Opcode

LONG = 60
# What an unconfirmed push waits for in vain.
SHORT = 0.3


@pytest.fixture
def listener(gateway, user):
    """A client in a process of its own, logged in as the user."""
    program = Program([sys.executable, HERE / "listener.py", gateway.url, user])
    program.wait_line(lambda line: line.startswith("{"))
    yield program
    program.process.send_signal(signal.SIGCONT)
    program.kill()


def test_a_client_that_is_stopped_acknowledges_when_it_goes_on(listener, backend, user):
    def push(confirm, deadline=LONG):
        return backend.begin_push(user_ids=[user], data=b"x", confirm=confirm, deadline=deadline)

    assert outcomes(push(ACKNOWLEDGED)) == ["ACKNOWLEDGED"]
    listener.process.send_signal(signal.SIGSTOP)
    waiting = [push(ACKNOWLEDGED) for _ in range(3)]
    # The kernel takes the bytes, as it always does. That is what WRITTEN says, and no more.
    assert outcomes(push(WRITTEN)) == ["WRITTEN"]
    assert outcomes(push(ACKNOWLEDGED, SHORT)) == ["EXPIRED"]
    assert not any(call.done() for call in waiting)
    lines = len(listener.lines)
    listener.process.send_signal(signal.SIGCONT)
    assert [outcomes(call) for call in waiting] == [["ACKNOWLEDGED"]] * 3
    for start in range(lines, lines + 5):
        line = listener.wait_line(lambda line: True, start=start)
        assert json.loads(line)["data"] == "x"


def begin(backend, user, data, deadline=LONG):
    """A push that wants to be acknowledged and has been given to the session."""
    call = backend.begin_push(user_ids=[user], data=data, confirm=ACKNOWLEDGED, deadline=deadline)
    call.initial_metadata()
    return call


def is_unconfirmed(backend, user):
    """Whether a push of this moment, and with it all before it, is not acknowledged."""
    return outcomes(begin(backend, user, b"probe", SHORT)) == ["EXPIRED"]


def test_a_pong_acknowledges_what_came_before_its_ping_and_nothing_behind_it(
    connect_raw, backend, user
):
    raw = connect_raw(user=user)
    first = begin(backend, user, b"first")
    assert raw.next_push().data == b"first"
    ping = raw.next_ping()
    second = begin(backend, user, b"second")
    assert raw.next_push().data == b"second"
    raw.pong(ping)
    assert outcomes(first) == ["ACKNOWLEDGED"]
    assert is_unconfirmed(backend, user)
    assert not second.done()
    raw.pong(raw.next_ping())
    assert outcomes(second) == ["ACKNOWLEDGED"]


def test_a_client_that_answers_late_is_believed_when_it_does(connect_raw, backend, user):
    raw = connect_raw(user=user)
    call = begin(backend, user, b"x")
    late = raw.next_ping()
    assert is_unconfirmed(backend, user)
    assert not call.done()
    raw.pong(late)
    assert outcomes(call) == ["ACKNOWLEDGED"]


def test_a_client_may_answer_the_latest_of_several_pings_alone(connect_raw, backend, user):
    """RFC 6455, section 5.5.3, allows it."""
    raw = connect_raw(user=user)
    calls = []
    for _ in range(4):
        calls.append(begin(backend, user, b"x"))
        latest = raw.next_ping()
    assert not any(call.done() for call in calls)
    raw.pong(latest)
    assert [outcomes(call) for call in calls] == [["ACKNOWLEDGED"]] * 4


def test_frames_come_before_the_ping_that_asks_for_them(connect_raw, backend, user):
    raw = connect_raw(user=user)
    calls = [begin(backend, user, b"%d" % number) for number in range(20)]
    arrived, acknowledged = [], None
    for frame in raw.frames():
        if frame.opcode is Opcode.BINARY:
            arrived.append(frame)
        elif frame.opcode is Opcode.PING:
            acknowledged = frame.data
        if len(arrived) == 20 and frame.opcode is Opcode.PING:
            break
    raw.pong(acknowledged)
    assert [outcomes(call) for call in calls] == [["ACKNOWLEDGED"]] * 20


def changed(ping, byte):
    return ping[:byte] + bytes([ping[byte] + 1 & 0xFF]) + ping[byte + 1 :]


UNASKED = {
    "an empty one": lambda ping: b"",
    "a text": lambda ping: b"pong",
    "zeros": lambda ping: bytes(len(ping)),
    "the highest number": lambda ping: b"\xff" * len(ping),
    # Whatever counts in a ping: the next value of it must not be foretold.
    **{f"byte {byte} counted up": lambda ping, byte=byte: changed(ping, byte) for byte in range(8)},
    "the last byte counted up": lambda ping: changed(ping, len(ping) - 1),
    "more than was asked": lambda ping: ping + b"\0",
    "less than was asked": lambda ping: ping[:-1],
    "the longest": lambda ping: b"x" * 125,
}


def test_pongs_that_nobody_asked_for_are_not_believed(connect_raw, backend, user):
    raw = connect_raw(user=user)
    # Before there was any ping.
    for payload in (b"", bytes(8), b"\xff" * 8):
        raw.pong(payload)
    call = begin(backend, user, b"x")
    ping = raw.next_ping()
    for make in UNASKED.values():
        raw.pong(make(ping))
    # One of them may be judged only when the ping of this has been sent.
    assert is_unconfirmed(backend, user)
    assert not call.done()
    raw.pong(ping)
    assert outcomes(call) == ["ACKNOWLEDGED"]


def test_a_pong_counts_once(connect_raw, backend, user):
    """The same pong again says nothing of what has been sent since."""
    raw = connect_raw(user=user)
    first = begin(backend, user, b"first")
    ping = raw.next_ping()
    raw.pong(ping)
    assert outcomes(first) == ["ACKNOWLEDGED"]
    second = begin(backend, user, b"second")
    for _ in range(3):
        raw.pong(ping)
    assert is_unconfirmed(backend, user)
    assert not second.done()


def test_heartbeats_and_acknowledgements_do_not_disturb_each_other(
    start_gateway, services, connect, connect_raw, open_backend
):
    """The pong of a heartbeat counts too, for what was sent before it."""
    session = {"ping_interval": "100ms", "pong_timeout": "5s"}
    gateway = start_gateway(gateway_config(services, session=session, push=PUSH))
    backend = open_backend(gateway)
    raw = connect_raw(gateway, user="raw")
    client = connect(gateway).log_in("real")
    heartbeat = raw.next_ping()
    call = begin(backend, "raw", b"x")
    assert raw.next_push().data == b"x"
    raw.pong(heartbeat)
    assert is_unconfirmed(backend, "raw")
    for _ in range(3):
        raw.pong(raw.next_ping())
    assert outcomes(call) == ["ACKNOWLEDGED"]
    for _ in range(20):
        receipts = backend.push(user_ids=["real"], confirm=ACKNOWLEDGED, deadline=LONG)
        assert outcomes(receipts) == ["ACKNOWLEDGED"]
        client.receive_push()


def test_a_client_that_the_gateway_closes_can_still_acknowledge(connect_raw, backend, user):
    """What was queued before a kick is written, and its pong is waited for."""
    raw = connect_raw(user=user)
    call = begin(backend, user, b"last")
    assert backend.kick(user_ids=[user]) == 1
    assert raw.next_push().data == b"last"
    raw.pong(raw.next_ping())
    assert outcomes(call) == ["ACKNOWLEDGED"]
    assert raw.wait_closed() == 3005
