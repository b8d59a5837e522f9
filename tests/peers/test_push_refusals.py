"""What the Push API refuses, each with its status, and that nobody else is harmed by it."""

import contextlib
import random
import socket

import grpc
import pytest
from bridgehead.push.v1 import push_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from push_client import ACKNOWLEDGED, SERVICE, duration, outcomes, push_request, status_of
from session_client import KEEP_ALIVE, Code

LONG = 60
MIB = 1024 * 1024

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(autouse=True)
def nobody_is_harmed(connect, open_backend, user):
    """Another client and another backend, who notice nothing of what a test does."""
    name = f"{user}-bystander"
    bystander, other = connect().log_in(name), open_backend()
    yield
    receipts = other.push(user_ids=[name], data=b"as ever", confirm=ACKNOWLEDGED, deadline=LONG)
    assert outcomes(receipts) == ["ACKNOWLEDGED"]
    # The first push that it gets: what was refused has reached nobody.
    assert bystander.receive_push().data == b"as ever"
    assert bystander.call(KEEP_ALIVE).code == Code.Success


def field(number, wire_type, payload):
    tag = number << 3 | wire_type
    encoded = bytes([tag]) if tag < 128 else bytes([tag & 0x7F | 0x80, tag >> 7])
    return encoded + (bytes([len(payload)]) + payload if wire_type == 2 else payload)


GOOD = push_request(everyone=True, data=b"not to be sent").SerializeToString()
TARGET = pb.Target(everyone=True).SerializeToString()

REQUESTS = {
    # What is asked, and what the refusal must name.
    "no target": (pb.PushRequest(data=b"x"), "target"),
    "an empty target": (push_request(data=b"x"), "target"),
    "nothing but exceptions": (push_request(except_session_ids=["0" * 32]), "target"),
    "an empty user": (push_request(user_ids=["a", ""]), "user_ids"),
    "an empty platform": (push_request(everyone=True, platforms=[""]), "platforms"),
    "an empty device": (push_request(everyone=True, device_ids=[""]), "device_ids"),
    "an empty session": (push_request(everyone=True, session_ids=[""]), "session_ids"),
    "an empty exception": (push_request(everyone=True, except_session_ids=[""]), "except_session_ids"),
    "the event of answers": (push_request(everyone=True, event=2), "event 2"),
    "the event of IVs": (push_request(everyone=True, event=3), "event 3"),
    "an unknown level": (push_request(everyone=True, confirm=3), "confirm"),
    "a negative level": (push_request(everyone=True, confirm=-1), "confirm"),
    "a negative deadline": (push_request(everyone=True, deadline=duration(-1)), "deadline"),
    "a deadline of negative nanoseconds": (
        push_request(everyone=True, deadline=Duration(nanos=-1)),
        "deadline",
    ),
    "a deadline of too many nanoseconds": (
        push_request(everyone=True, deadline=Duration(nanos=10**9)),
        "deadline",
    ),
    "a deadline of hours": (push_request(everyone=True, deadline=duration(3600)), "deadline"),
    "the longest deadline": (
        push_request(everyone=True, deadline=Duration(seconds=2**63 - 1, nanos=2**31 - 1)),
        "deadline",
    ),
    "the shortest deadline": (
        push_request(everyone=True, deadline=Duration(seconds=-(2**63), nanos=-(2**31))),
        "deadline",
    ),
    "a long push_id": (push_request(everyone=True, push_id="x" * 257), "push_id"),
}

BYTES = {
    "an unknown number": (GOOD + field(9, 0, b"\x01"), "field 9"),
    "an unknown text": (GOOD + field(1000, 2, b"x"), "1000"),
    "an unknown condition": (field(2, 2, TARGET + field(7, 2, b"beta")), "target.7"),
    "an unknown condition in a second target": (GOOD + field(2, 2, field(7, 2, b"beta")), "target.7"),
    "an unknown part of the deadline": (GOOD + field(6, 2, field(3, 0, b"\x01")), "deadline.3"),
    "garbage": (b"\xff\xff\xff\xff", ""),
    "half a request": (GOOD[:-3], ""),
    "another type": (GOOD + field(1, 0, b"\x01"), ""),
    "a target of another type": (GOOD + field(2, 0, b"\x01"), ""),
    "no UTF-8": (GOOD + field(1, 2, b"\xff\xfe"), ""),
    "a group": (GOOD + b"\x4b\x4c", ""),
    "the field zero": (GOOD + b"\x00\x00", ""),
}


def over_stream(backend, payload):
    """The same bytes as a request of PushStream."""
    call = backend.channel.stream_stream(f"/{SERVICE}/PushStream", None, None)
    return call(iter([payload]), timeout=15, metadata=backend.metadata)


def over_push(backend, payload):
    return backend.call_bytes("Push", payload)


@pytest.mark.parametrize("send", [over_push, over_stream])
@pytest.mark.parametrize("kind", [*REQUESTS, *BYTES])
def test_a_push_that_cannot_be_meant_is_refused_and_says_why(backend, send, kind):
    if kind in REQUESTS:
        request, named = REQUESTS[kind]
        payload = request.SerializeToString()
    else:
        payload, named = BYTES[kind]
    code, text = status_of(lambda: send(backend, payload))
    assert code == INVALID, text
    assert named in text


@pytest.mark.parametrize("method", ["Kick", "ListSessions", "WatchSessions"])
@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (field(1, 2, TARGET + field(7, 2, b"beta")), "target.7"),
        (field(9, 0, b"\x01"), "field 9"),
        (field(1, 2, field(1, 2, b"")), "user_ids"),
        (b"\xff\xff", ""),
    ],
    ids=["unknown condition", "unknown field", "empty user", "garbage"],
)
def test_the_other_methods_are_as_strict(backend, method, payload, named):
    code, text = status_of(lambda: backend.call_bytes(method, payload))
    assert code == INVALID, text
    assert named in text


def test_a_kick_must_say_whom_it_means(backend):
    code, text = status_of(lambda: backend.kick())
    assert (code, "target" in text) == (INVALID, True)


def test_the_reason_of_a_kick_must_fit_into_a_close_frame(backend, user):
    code, text = status_of(lambda: backend.kick(reason="é" * 62, user_ids=[user]))
    assert (code, "reason" in text) == (INVALID, True)


NOISE = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no HTTP": bytes(range(256)) * 20,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "a frame of the longest length": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200,
}


@pytest.mark.parametrize("kind", NOISE)
def test_who_does_not_speak_http_2_is_hung_up_on(gateway, kind):
    host, port = gateway.push_address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 10) as sock:
        sock.sendall(NOISE[kind])
        try:
            while sock.recv(4096):
                pass
        except ConnectionError:
            pass


def test_connections_that_say_nothing_are_in_nobodys_way(gateway, open_backend, user):
    host, port = gateway.push_address.rsplit(":", 1)
    with contextlib.ExitStack() as silent:
        for _ in range(300):
            silent.enter_context(socket.create_connection((host, int(port)), 10))
        assert outcomes(open_backend().push(user_ids=[user])) == ["OFFLINE"]


def test_a_method_that_does_not_exist_is_unimplemented(backend):
    code, _ = status_of(lambda: backend.call_bytes("Shout", b""))
    assert code == grpc.StatusCode.UNIMPLEMENTED


def test_compression_is_refused_rather_than_misread(backend, user):
    request = push_request(user_ids=[user], data=b"x" * 1000)
    compressed = lambda: backend.stub.Push(request, timeout=15, compression=grpc.Compression.Gzip)  # noqa: E731
    assert status_of(compressed)[0] == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("size", [4 * MIB, 100 * MIB], ids=["4 MiB", "100 MiB"])
@pytest.mark.parametrize("send", [over_push, over_stream])
def test_a_message_over_the_limit_exhausts_resources(backend, gateway, send, size):
    before = gateway.memory()
    payload = push_request(everyone=True, data=bytes(size)).SerializeToString()
    code, text = status_of(lambda: send(backend, payload))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED, text
    # It was not read to the end.
    assert gateway.memory() - before < 24 * MIB


def test_a_backend_that_reads_no_receipts_takes_little_memory_and_harms_nobody(
    gateway, open_backend, connect, user
):
    connect().log_in(user)
    # The window of the whole connection, so that nothing is read ahead.
    narrow = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
    lazy, busy = open_backend(gateway, options=narrow), open_backend(gateway)
    before = gateway.memory()
    # A receipt each, told at once: there is far more to be told than is read.
    absent = [f"{user}-absent-{number}" for number in range(1000)]
    single = lazy.begin_push(user_ids=absent, deadline=LONG)
    stream = lazy.push_stream()
    total = 20
    for number in range(total):
        stream.send(push_id=str(number), user_ids=absent, deadline=LONG)
    stream.end()
    for _ in range(50):
        assert outcomes(busy.push(user_ids=[user], deadline=LONG)) == ["WRITTEN"]
    assert gateway.memory() - before < 32 * MIB
    # Nothing was lost meanwhile.
    assert outcomes(single) == ["OFFLINE"] * 1000
    receipts = list(stream)
    assert outcomes(receipts) == ["OFFLINE"] * 1000 * total
    assert len({(it.push_id, it.user_id) for it in receipts}) == 1000 * total


def test_pushes_that_are_cancelled_at_random_harm_no_call_beside_them(connect_raw, backend, user):
    """Over one connection: a burst of cancelled calls must not close it under the others."""
    raw = connect_raw(user=user)
    chance = random.Random(7)
    kept = []
    for number in range(400):
        request = {"data": b"%d" % number, "confirm": ACKNOWLEDGED, "deadline": LONG}
        call = backend.begin_push(user_ids=[user], **request)
        if number % 40 == 0:
            kept.append(call)
            continue
        if chance.random() < 0.3:
            call.initial_metadata()
        call.cancel()
    # Every one of those that were kept has been sent when its receipts have begun.
    for call in kept:
        call.initial_metadata()
    last = backend.begin_push(user_ids=[user], data=b"last", confirm=ACKNOWLEDGED, deadline=LONG)
    while raw.next_push().data != b"last":
        pass
    raw.pong(raw.next_ping())
    assert [outcomes(call) for call in [*kept, last]] == [["ACKNOWLEDGED"]] * (len(kept) + 1)
