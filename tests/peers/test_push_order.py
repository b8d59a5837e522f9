"""Many pushes over one call: their order, their receipts, and how the call ends."""

import threading

import grpc
import pytest
from bridgehead.session.v1 import session_pb2 as session
from probe_pb2 import WorkReq
from push_client import ACKNOWLEDGED, QUEUED, WRITTEN, outcomes, push_request
from websockets.frames import Opcode

LONG = 60


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_pushes_of_one_stream_arrive_in_order(connect, backend, user, session_key, encrypted):
    key = session_key.public if encrypted else None
    clients = [connect().log_in(user, public_key=key) for _ in range(3)]
    stream = backend.push_stream()
    for number in range(300):
        confirm = (QUEUED, WRITTEN, ACKNOWLEDGED)[number % 3]
        data = b"%d" % number
        stream.send(push_id=f"p{number}", user_ids=[user], data=data, confirm=confirm, deadline=LONG)
    stream.end()
    receipts = list(stream)
    assert sorted(it.push_id for it in receipts) == sorted(f"p{n}" for n in range(300) for _ in clients)
    assert set(outcomes(receipts)) == {"QUEUED", "WRITTEN", "ACKNOWLEDGED"}
    for client in clients:
        assert [client.receive_push().data for _ in range(300)] == [b"%d" % n for n in range(300)]


def test_pushes_keep_their_order_between_answers_of_calls(connect, backend, user):
    client = connect().log_in(user)
    stream = backend.push_stream()
    total = 200

    def call():
        for number in range(total):
            client.send("/v1/probe/work", WorkReq(id=f"{user}-{number}"), req_id=str(number))

    caller = threading.Thread(target=call)
    caller.start()
    for number in range(total):
        stream.send(user_ids=[user], data=b"%d" % number, confirm=WRITTEN, deadline=LONG)
    stream.end()
    pushes, answers = [], set()
    while len(pushes) + len(answers) < 2 * total:
        push = client.receive_push()
        if push.event == session.PushResponseBody:
            answer = session.ResponseBody.FromString(push.data)
            assert answer.code == session.ResponseBody.Success and answer.reqId not in answers
            answers.add(answer.reqId)
        else:
            pushes.append(push.data)
    caller.join()
    assert pushes == [b"%d" % number for number in range(total)]
    assert answers == {str(number) for number in range(total)}
    assert outcomes(stream) == ["WRITTEN"] * total


def test_a_push_that_has_returned_comes_before_the_next_call(connect, backend, user):
    """Also over several connections, one push after the other."""
    client = connect().log_in(user)
    for number in range(100):
        assert outcomes(backend.push(user_ids=[user], data=b"%d" % number, confirm=QUEUED)) == ["QUEUED"]
    assert [client.receive_push().data for _ in range(100)] == [b"%d" % n for n in range(100)]


def test_receipts_come_while_the_stream_is_open(connect, backend, user):
    client = connect().log_in(user)
    stream = backend.push_stream()
    for number in range(5):
        stream.send(push_id=str(number), user_ids=[user], data=b"x", confirm=ACKNOWLEDGED)
        receipt = next(stream)
        assert (receipt.push_id, receipt.session.user_id) == (str(number), user)
        assert client.receive_push().data == b"x"
    stream.send(push_id="absent", user_ids=[f"{user}-absent"])
    receipt = next(stream)
    assert (receipt.push_id, *outcomes([receipt])) == ("absent", "OFFLINE")
    stream.end()
    assert list(stream) == []
    assert stream.call.code() == grpc.StatusCode.OK


def test_a_slow_receipt_holds_up_no_other(connect, connect_raw, backend, user):
    """Receipts come as they become known, in whatever order."""
    silent = connect_raw(user=f"{user}-silent")
    connect().log_in(user)
    stream = backend.push_stream()
    stream.send(push_id="slow", user_ids=[f"{user}-silent"], confirm=ACKNOWLEDGED, deadline=LONG)
    for number in range(5):
        stream.send(push_id=str(number), user_ids=[user], confirm=ACKNOWLEDGED, deadline=LONG)
    assert sorted(next(stream).push_id for _ in range(5)) == ["0", "1", "2", "3", "4"]
    stream.end()
    silent.pong(silent.next_ping())
    assert [(it.push_id, *outcomes([it])) for it in stream] == [("slow", "ACKNOWLEDGED")]


@pytest.mark.parametrize("size", [0, 64 * 1024], ids=["small", "large"])
def test_a_stream_with_too_much_under_way_waits_and_holds_up_nobody(
    connect, connect_raw, backend, user, size
):
    """It is not read for a while: neither its connection nor another call is the worse for it."""
    raw = connect_raw(user=f"{user}-silent")
    client = connect().log_in(user)
    stream = backend.push_stream()
    request = {"user_ids": [f"{user}-silent"], "confirm": ACKNOWLEDGED, "deadline": LONG}
    # As many as may be under way at once.
    for number in range(1024):
        stream.send(data=b"%d" % number, **request)
    for number in range(1024):
        assert raw.next_push().data == b"%d" % number
    # What comes behind them waits, however much it is.
    more = 100 if size else 5000
    for number in range(1024, 1024 + more):
        stream.send(data=b"%d" % number + bytes(size), **request)
    stream.end()
    stream.wait_stalled()
    for number in range(50):
        data = b"%d" % number + bytes(size)
        assert outcomes(backend.push(user_ids=[user], data=data, deadline=LONG)) == ["WRITTEN"]
        assert client.receive_push().data == data
    # Until those before it are acknowledged, which the latest pong does.
    arrived = 1024
    for frame in raw.frames():
        if frame.opcode is Opcode.PING:
            raw.pong(frame.data)
        else:
            push = session.PushBody.FromString(frame.data)
            assert push.data.rstrip(b"\0") == b"%d" % arrived
            arrived += 1
        if arrived == 1024 + more and frame.opcode is Opcode.PING:
            break
    assert outcomes(stream) == ["ACKNOWLEDGED"] * (1024 + more)


def test_half_closing_the_stream_still_delivers_every_receipt(connect_raw, backend, user):
    raw = connect_raw(user=user)
    stream = backend.push_stream()
    for number in range(3):
        stream.send(push_id=str(number), user_ids=[user], data=b"x", confirm=ACKNOWLEDGED, deadline=LONG)
    stream.send(push_id="expires", user_ids=[user], data=b"x", confirm=ACKNOWLEDGED, deadline=0.2)
    stream.end()
    assert next(stream).push_id == "expires"
    # The last of four frames has come; the latest ping is behind it, or still on its way.
    for _ in range(4):
        assert raw.next_push().data == b"x"
    raw.pong(raw.next_ping())
    assert sorted(it.push_id for it in stream) == ["0", "1", "2"]
    assert stream.call.code() == grpc.StatusCode.OK


def test_an_empty_stream_ends_well(backend):
    stream = backend.push_stream()
    stream.end()
    assert list(stream) == []
    assert stream.call.code() == grpc.StatusCode.OK


def test_a_stream_whose_pushes_have_no_receipts_ends_well(connect, backend, user):
    connect().log_in(user)
    session_id = backend.session_id(user)
    stream = backend.push_stream()
    for _ in range(5):
        stream.send(user_ids=[user], except_session_ids=[session_id])
    stream.end()
    assert list(stream) == []


def test_a_bad_request_ends_the_stream_after_the_receipts_of_those_before(
    connect, connect_raw, backend, user
):
    client = connect().log_in(user)
    connect_raw(user=user)  # acknowledges nothing
    stream = backend.push_stream()
    for number in range(10):
        request = {"data": b"%d" % number, "confirm": ACKNOWLEDGED, "deadline": 0.3}
        stream.send(push_id=str(number), user_ids=[user], **request)
    stream.send(push_id="bad", user_ids=[user], data=b"bad", event=2)
    stream.send(push_id="after", user_ids=[user], data=b"after")
    receipts = []
    with pytest.raises(grpc.RpcError) as ended:
        for receipt in stream:
            receipts.append(receipt)
    assert ended.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "event 2" in ended.value.details()
    told = sorted((int(it.push_id), *outcomes([it])) for it in receipts)
    assert told == [(n, outcome) for n in range(10) for outcome in ("ACKNOWLEDGED", "EXPIRED")]
    assert [client.receive_push().data for _ in range(10)] == [b"%d" % n for n in range(10)]
    # Neither the bad one nor any behind it was sent.
    assert outcomes(backend.push(user_ids=[user], data=b"next", confirm=QUEUED)) == ["QUEUED"] * 2
    assert client.receive_push().data == b"next"


def test_streams_and_single_pushes_go_on_side_by_side(connect, open_backend, gateway, user):
    clients = {f"{user}-{n}": connect().log_in(f"{user}-{n}") for n in range(8)}
    backends = [open_backend(gateway) for _ in range(4)]
    streams = [(name, backends[nth % 4].push_stream()) for nth, name in enumerate(clients)]
    for number in range(50):
        for name, stream in streams:
            stream.send(push_request(push_id=name, user_ids=[name], data=b"%d" % number, deadline=LONG))
        single = backends[number % 4].push(user_ids=list(clients), event=1, data=b"single", deadline=LONG)
        assert outcomes(single) == ["WRITTEN"] * 8
    for name, stream in streams:
        stream.end()
        receipts = list(stream)
        assert outcomes(receipts) == ["WRITTEN"] * 50
        assert {(it.push_id, it.session.user_id) for it in receipts} == {(name, name)}
        pushes = [clients[name].receive_push() for _ in range(100)]
        assert [p.data for p in pushes if p.event == 0] == [b"%d" % n for n in range(50)]
        assert [p.data for p in pushes if p.event == 1] == [b"single"] * 50
