"""Pushes and their receipts: every outcome, each exactly once."""

import time

import pytest
from bridgehead.session.v1 import session_pb2 as session
from configuration import PUSH, gateway_config
from processes import eventually
from push_client import ACKNOWLEDGED, QUEUED, WRITTEN, Outcome, outcomes
from websockets.exceptions import ConnectionClosed

# Far longer than a test may take: a receipt that comes at the deadline comes too late.
LONG = 60
KIB = 1024


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    ("confirm", "outcome"),
    [(QUEUED, "QUEUED"), (WRITTEN, "WRITTEN"), (ACKNOWLEDGED, "ACKNOWLEDGED")],
)
def test_a_push_arrives_and_is_confirmed_as_far_as_was_wanted(
    connect, backend, user, session_key, confirm, outcome, encrypted
):
    client = connect().log_in(user, public_key=session_key.public if encrypted else None)
    [receipt] = backend.push(push_id="p1", user_ids=[user], data=b"hello", confirm=confirm, deadline=LONG)
    assert (receipt.push_id, Outcome.Name(receipt.outcome)) == ("p1", outcome)
    [listed] = backend.sessions(user_ids=[user])
    assert (receipt.session, receipt.user_id) == (listed, "")
    assert listed.encrypted == encrypted
    push = client.receive_push()
    assert (push.event, push.data) == (session.PushMsgDataList, b"hello")


@pytest.mark.parametrize("event", [0, 1, 4, 77, -1, 2**31 - 1, -(2**31)])
def test_an_event_keeps_its_number(connect, backend, user, event):
    client = connect().log_in(user)
    assert outcomes(backend.push(user_ids=[user], event=event, data=b"x")) == ["WRITTEN"]
    assert client.receive_push().event == event


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65536, 3 * 1024 * KIB])
def test_data_of_any_size_arrives_as_it_is(connect, backend, user, size):
    client = connect().log_in(user)
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert outcomes(backend.push(user_ids=[user], data=data)) == ["WRITTEN"]
    assert client.receive_push().data == data


def test_a_push_to_many_sessions_has_one_receipt_of_each(connect, backend, user):
    clients = [connect().log_in(user, deviceId=f"d{number}") for number in range(40)]
    for confirm in (QUEUED, WRITTEN, ACKNOWLEDGED):
        receipts = backend.push(user_ids=[user], data=b"all", confirm=confirm, deadline=LONG)
        assert len(set(outcomes(receipts))) == 1
        devices = sorted(receipt.session.device_id for receipt in receipts)
        assert devices == sorted(f"d{number}" for number in range(40))
        assert {client.receive_push().data for client in clients} == {b"all"}


def test_all_conditions_of_a_target_must_hold(connect, backend, user):
    clients = {
        (platform, device): connect().log_in(user, platform=platform, deviceId=device)
        for platform in ("ios", "web")
        for device in ("a", "b")
    }
    ids = {
        (it.platform, it.device_id): it.session_id for it in backend.sessions(user_ids=[user])
    }

    def reached(**target):
        receipts = backend.push(user_ids=[user], data=b"x", deadline=LONG, **target)
        assert set(outcomes(receipts)) <= {"WRITTEN"}
        for receipt in receipts:
            assert clients[receipt.session.platform, receipt.session.device_id].receive_push()
        return sorted((it.session.platform, it.session.device_id) for it in receipts)

    assert reached(platforms=["web"]) == [("web", "a"), ("web", "b")]
    assert reached(platforms=["web", "ios"], device_ids=["b"]) == [("ios", "b"), ("web", "b")]
    assert reached(device_ids=["a"], except_session_ids=[ids["ios", "a"]]) == [("web", "a")]
    assert reached(session_ids=[ids["ios", "a"], ids["web", "b"]], platforms=["ios"]) == [("ios", "a")]
    assert len(reached(everyone=True)) == 4


def test_everyone_is_every_session_that_has_logged_in(connect, start_gateway, services, open_backend):
    gateway = start_gateway(gateway_config(services, push=PUSH))
    backend = open_backend(gateway)
    assert backend.push(everyone=True, deadline=LONG) == []
    clients = [connect(gateway).log_in(f"user-{number}") for number in range(5)]
    stranger = connect(gateway).wait_connected()
    stranger.set_cxn_params()
    receipts = backend.push(everyone=True, data=b"x", deadline=LONG)
    assert outcomes(receipts) == ["WRITTEN"] * 5
    assert {client.receive_push().data for client in clients} == {b"x"}
    # Nothing came before the answer.
    assert stranger.set_user_params("late").code == session.ResponseBody.Success


# OFFLINE


def test_a_user_who_is_not_there_is_offline_at_once(backend, user):
    began = time.monotonic()
    [receipt] = backend.push(push_id="p", user_ids=[user], deadline=LONG)
    assert time.monotonic() - began < 2
    assert (outcomes([receipt]), receipt.user_id, receipt.push_id) == (["OFFLINE"], user, "p")
    assert not receipt.HasField("session")


def test_a_user_who_has_left_is_offline(connect, backend, user):
    client = connect().log_in(user)
    watch = backend.watch(user_ids=[user])
    client.close()
    next(watch)
    assert outcomes(backend.push(user_ids=[user], deadline=LONG)) == ["OFFLINE"]


def test_a_user_without_a_session_of_the_platform_is_offline(connect, backend, user):
    client = connect().log_in(user, platform="ios")
    receipts = backend.push(user_ids=[user], platforms=["web"], deadline=LONG)
    assert [(it.user_id, *outcomes([it])) for it in receipts] == [(user, "OFFLINE")]
    with pytest.raises(TimeoutError):
        client.receive_frame(0.05)


def test_a_user_whose_only_session_is_excepted_is_not_offline(connect, backend, user):
    connect().log_in(user)
    session_id = backend.session_id(user)
    assert backend.push(user_ids=[user], except_session_ids=[session_id], deadline=LONG) == []


def test_who_is_there_and_who_is_not_are_told_apart(connect, backend, user):
    connect().log_in(user)
    absent = [f"{user}-absent-{number}" for number in range(3)]
    # Named twice, told of once.
    receipts = backend.push(user_ids=[*absent, user, *absent], deadline=LONG)
    told = sorted((*outcomes([it]), it.user_id or it.session.user_id) for it in receipts)
    assert told == [*(("OFFLINE", name) for name in absent), ("WRITTEN", user)]


# OVERFLOWED


def stuck(connect_raw, backend, user, gateway=None, **target):
    """A client that does not read, with as much on its way as the sockets take."""
    raw = connect_raw(gateway, user=user, receive_buffer=4096)
    target = target or {"user_ids": [user]}
    request = {"data": b"x" * 256 * KIB, "deadline": 0.3}
    eventually(lambda: backend.push(**target, **request)[0].outcome == Outcome.EXPIRED)
    return raw


@pytest.fixture
def tight(start_gateway, services):
    """A gateway whose outboxes are small."""
    return start_gateway(gateway_config(services, session={"outbox": "1MiB"}, push=PUSH))


def test_a_client_that_stops_reading_overflows_and_is_closed_with_3006(
    tight, connect, connect_raw, open_backend
):
    backend = open_backend(tight)
    raw = stuck(connect_raw, backend, "slow", tight)
    other = connect(tight).log_in("other")
    watch = backend.watch(user_ids=["slow"])
    waiting = backend.begin_push(user_ids=["slow"], data=b"before", deadline=LONG)
    waiting.initial_metadata()
    # The outbox holds 1 MiB; one of these is too much.
    seen = []
    while "OVERFLOWED" not in seen:
        receipts = backend.push(user_ids=["slow", "other"], data=b"y" * 256 * KIB, confirm=QUEUED)
        seen = outcomes(receipts)
        assert len(seen) == 2 and "QUEUED" in seen
        assert len(other.receive_push().data) == 256 * KIB
    # What waited in the outbox is lost as well, and its pusher hears so.
    assert outcomes(waiting) == ["OVERFLOWED"]
    gone = next(watch)
    assert (gone.close_code, gone.reason) == (3006, "too slow")
    assert outcomes(backend.push(user_ids=["slow"], deadline=LONG)) == ["OFFLINE"]
    assert raw.wait_closed() == 3006


def test_a_client_that_stops_reading_delays_no_other(tight, connect, connect_raw, open_backend):
    backend = open_backend(tight)
    stuck(connect_raw, backend, "slow", tight)
    others = [connect(tight).log_in(f"other-{number}") for number in range(5)]
    call = backend.begin_push(everyone=True, data=b"x", deadline=LONG)
    began = time.monotonic()
    assert outcomes(next(call) for _ in others) == ["WRITTEN"] * 5
    assert time.monotonic() - began < 2
    call.cancel()
    assert {other.receive_push().data for other in others} == {b"x"}


def test_a_client_that_does_not_read_takes_no_more_memory_than_its_outbox(
    tight, connect_raw, open_backend
):
    backend = open_backend(tight)
    connect_raw(tight, user="slow", receive_buffer=4096)
    before = tight.memory()
    # Every push is a buffer of its own; a hundred of them would be seen.
    for _ in range(100):
        backend.push(user_ids=["slow"], data=b"z" * 1024 * KIB, confirm=QUEUED)
    assert tight.memory() - before < 40 * 1024 * KIB


def test_small_pushes_overflow_as_well(tight, connect_raw, open_backend):
    """Many small frames take memory too, though they have hardly any bytes."""
    backend = open_backend(tight)
    stuck(connect_raw, backend, "slow", tight)
    stream = backend.push_stream()
    for _ in range(1024 * KIB // 100):
        stream.send(user_ids=["slow"], confirm=QUEUED)
    stream.end()
    assert {"QUEUED", "OVERFLOWED"} <= set(outcomes(stream))


def test_a_client_that_answers_no_ping_gathers_no_memory(gateway, connect_raw, backend, user):
    """It reads, so nothing overflows; what it never acknowledges expires."""
    raw = connect_raw(user=user)
    taken = []
    for _ in range(3):
        stream = backend.push_stream()
        for _ in range(10_000):
            stream.send(user_ids=[user], data=b"x", confirm=ACKNOWLEDGED, deadline=0)
        stream.end()
        for _ in range(10_000):
            raw.next_push()
        assert set(outcomes(stream)) == {"EXPIRED"}
        taken.append(gateway.memory())
    assert taken[2] - taken[0] < 2 * 1024 * KIB


# CLOSED


@pytest.mark.parametrize("name", ["0" * 32, "f" * 32, "no session's name", "0" * 31, "ABCDEF" + "0" * 26])
def test_a_named_session_that_does_not_exist_is_closed(backend, name):
    [receipt] = backend.push(session_ids=[name], deadline=LONG)
    assert (outcomes([receipt]), receipt.session.session_id) == (["CLOSED"], name)
    assert receipt.user_id == ""


def test_what_is_named_twice_is_told_of_once(connect, backend, user):
    connect().log_in(user)
    session_id = backend.session_id(user)
    names = [session_id, "0" * 32, "no session"] * 2
    receipts = backend.push(session_ids=names, deadline=LONG)
    told = sorted((*outcomes([it]), it.session.session_id) for it in receipts)
    assert told == [("CLOSED", "0" * 32), ("CLOSED", "no session"), ("WRITTEN", session_id)]


def test_a_user_who_does_not_have_the_named_session_is_offline(connect, backend, user):
    other = f"{user}-other"
    for name in (user, other):
        connect().log_in(name)
    receipts = backend.push(user_ids=[user], session_ids=[backend.session_id(other)], deadline=LONG)
    assert [(*outcomes([it]), it.user_id) for it in receipts] == [("OFFLINE", user)]


def test_a_session_that_is_gone_is_closed_by_its_name(connect, backend, user):
    client = connect().log_in(user)
    session_id = backend.session_id(user)
    watch = backend.watch(user_ids=[user])
    client.close()
    next(watch)
    assert outcomes(backend.push(session_ids=[session_id], deadline=LONG)) == ["CLOSED"]


def test_a_session_that_ends_before_it_has_acknowledged_is_closed(connect_raw, backend, user):
    raw = connect_raw(user=user)
    call = backend.begin_push(user_ids=[user], data=b"x", confirm=ACKNOWLEDGED, deadline=LONG)
    assert raw.next_push().data == b"x"
    raw.sock.close()
    assert outcomes(call) == ["CLOSED"]


def test_a_session_that_ends_before_the_frame_is_written_is_closed(
    tight, connect_raw, open_backend
):
    backend = open_backend(tight)
    raw = stuck(connect_raw, backend, "slow", tight)
    call = backend.begin_push(user_ids=["slow"], data=b"x", deadline=LONG)
    call.initial_metadata()
    raw.sock.close()
    assert outcomes(call) == ["CLOSED"]


# EXPIRED


def test_what_is_not_confirmed_at_the_deadline_has_expired(connect, connect_raw, backend, user):
    """Among the receipts of those that are in time, and no sooner than asked."""
    connect().log_in(user)
    silent = connect_raw(user=user)
    began = time.monotonic()
    receipts = backend.push(user_ids=[user], data=b"x", confirm=ACKNOWLEDGED, deadline=0.4)
    assert outcomes(receipts) == ["ACKNOWLEDGED", "EXPIRED"]
    assert 0.4 <= time.monotonic() - began < 3
    assert len({it.session.session_id for it in receipts}) == 2
    assert silent.next_push().data == b"x"


def test_a_deadline_of_zero_waits_for_nothing(connect_raw, backend, user):
    raw = connect_raw(user=user)
    receipts = backend.push(user_ids=[user], data=b"x", confirm=ACKNOWLEDGED, deadline=0)
    assert outcomes(receipts) == ["EXPIRED"]
    # It is sent all the same.
    assert raw.next_push().data == b"x"


def test_a_push_that_its_backend_gives_up_arrives_all_the_same(connect_raw, backend, user):
    raw = connect_raw(user=user)
    call = backend.begin_push(user_ids=[user], data=b"given up", confirm=ACKNOWLEDGED, deadline=LONG)
    call.initial_metadata()
    call.cancel()
    assert raw.next_push().data == b"given up"


def test_a_session_that_is_closing_takes_no_push(connect, backend, user):
    """What is sent at the moment of a close is told of truly, one way or the other."""
    client = connect().log_in(user)
    backend.kick(user_ids=[user])
    assert outcomes(backend.push(user_ids=[user], data=b"late", deadline=LONG)) == ["OFFLINE"]
    with pytest.raises(ConnectionClosed):
        client.receive_push()
