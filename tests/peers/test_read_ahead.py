"""A session that takes no further request still answers pings: what is behind is read ahead."""

import threading

import pytest
from bridgehead.session.v1 import session_pb2 as session
from configuration import PUSH, gateway_config
from judge_service import JudgeService, login_rpc
from probe_pb2 import WorkReq
from processes import eventually
from push_client import ACKNOWLEDGED, Outcome
from session_client import (
    KEEP_ALIVE,
    SET_CXN_PARAMS,
    SET_USER_PARAMS,
    Code,
    SessionCipher,
    cxn_params,
    encode_request,
    rsa_encrypt,
)
from websockets.frames import Opcode

WORK = "/v1/probe/work"
WINDOW = 8
# Far longer than anything here takes but the calls that are slow on purpose.
SLOW = 3000


@pytest.fixture(scope="module")
def gateway(share_gateway, services, session_key):
    section = {"max_in_flight": WINDOW, "private_key": str(session_key.private_file)}
    return share_gateway(gateway_config(services, session=section, push=PUSH))


def fill_window(raw, user):
    """So many slow calls as there may be."""
    for number in range(WINDOW):
        raw.queue_request(f"slow-{number}", WORK, WorkReq(id=f"{user}-{number}", millis=SLOW))


def order_of(raw, answers):
    """What comes, until so many answers have: the payloads of pongs, and the ids of answers."""
    seen, left = [], answers
    for frame in raw.frames(timeout=20):
        if frame.opcode is Opcode.PONG:
            seen.append(bytes(frame.data))
        elif frame.opcode is Opcode.BINARY:
            answer = session.ResponseBody.FromString(session.PushBody.FromString(frame.data).data)
            assert answer.code == Code.Success, answer
            seen.append(answer.reqId)
            left -= 1
            if not left:
                return seen
        else:
            raise AssertionError(frame)
    raise AssertionError(f"the connection ended: {seen}")


def send_ping(raw, payload):
    raw.protocol.send_ping(payload)
    raw.flush()


@pytest.mark.parametrize("more", [0, 1, 200])
def test_a_ping_behind_requests_is_answered_before_the_calls_that_they_wait_for(connect_raw, user, more):
    raw = connect_raw(user=user)
    fill_window(raw, user)
    for number in range(more):
        raw.queue_request(f"more-{number}", KEEP_ALIVE)
    raw.flush()
    send_ping(raw, b"are you there")
    seen = order_of(raw, WINDOW + more)
    assert seen[0] == b"are you there"
    assert seen.count(b"are you there") == 1
    # Requests that wait are still answered in their order.
    assert [it for it in seen if str(it).startswith("more")] == [f"more-{n}" for n in range(more)]


def test_each_of_several_pings_is_answered_and_once(connect_raw, user):
    raw = connect_raw(user=user)
    fill_window(raw, user)
    raw.flush()
    pongs = []
    for number in range(5):
        raw.queue_request(f"more-{number}", KEEP_ALIVE)
        send_ping(raw, b"ping %d" % number)
        pongs.append(bytes(raw.next_frame().data))
    assert pongs == [b"ping %d" % number for number in range(5)]
    assert all(isinstance(it, str) for it in order_of(raw, WINDOW + 5)), "no pong comes twice"


def test_a_ping_among_the_fragments_of_a_waiting_message_is_answered(connect_raw, user):
    raw = connect_raw(user=user)
    fill_window(raw, user)
    request = encode_request("fragmented", KEEP_ALIVE, b"")
    raw.protocol.send_binary(request[:3], fin=False)
    raw.protocol.send_continuation(request[3:7], fin=False)
    raw.protocol.send_ping(b"within")
    raw.protocol.send_continuation(request[7:], fin=True)
    raw.flush()
    assert order_of(raw, WINDOW + 1)[0] == b"within"


def test_beyond_64_kib_the_socket_is_not_read_and_nothing_is_lost(connect_raw, gateway, user):
    raw = connect_raw(user=user)
    fill_window(raw, user)
    large = 4000
    for number in range(40):
        raw.queue_request(f"more-{number}", KEEP_ALIVE, bytes(large))
    raw.protocol.send_ping(b"far behind")
    raw.flush()
    seen = order_of(raw, WINDOW + 40)
    assert seen.index(b"far behind") >= 1, "it was read together with all that is before it"
    assert [it for it in seen if str(it).startswith("more")] == [f"more-{n}" for n in range(40)]


def test_a_flood_of_pings_is_held_back_and_costs_nothing(connect_raw, gateway, user):
    raw = connect_raw(user=user)
    fill_window(raw, user)
    raw.flush()
    sent = 0
    raw.sock.settimeout(0.5)
    flood = b"".join(b"\x89\x84\0\0\0\0ping" for _ in range(10_000))
    before = gateway.memory()
    try:
        while sent < 200:
            raw.sock.sendall(flood)
            sent += 1
    except TimeoutError:
        pass
    assert gateway.memory() - before < 20 << 20
    raw.sock.close()
    # Others do not feel it.
    assert connect_raw(user=f"{user}-other")


def test_a_client_that_leaves_behind_its_requests_has_them_made(connect_raw, gateway, services, user):
    """A close frame has its turn behind the requests that came before it."""
    raw = connect_raw(user=user)
    fill_window(raw, user)
    raw.queue_request("last", WORK, WorkReq(id=f"{user}-last", group=user))
    raw.protocol.send_close(1000, "had enough")
    raw.flush()
    assert raw.wait_closed() == 1000
    eventually(lambda: f"{user}-last" in services.executed())


@pytest.fixture
def judge():
    service = JudgeService()
    yield service
    service.stop()


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_ping_is_answered_while_a_login_or_another_device_is_judged(
    start_gateway, connect_raw, services, session_key, judge, encrypted
):
    section = {"private_key": str(session_key.private_file)}
    auth = {"rpc": login_rpc()}
    config = gateway_config(services, auth=auth, session=section, upstreams={"judge": judge.upstream})
    gateway = start_gateway(config)
    raw = connect_raw(gateway)
    raw.queue_request("describe", SET_CXN_PARAMS, cxn_params())
    raw.flush()
    assert raw.next_answer().code == Code.Success
    judge.held.clear()
    raw.queue_request("log in", SET_USER_PARAMS, session.SetUserParamsReq(userId="u", token="t"))
    raw.queue_request("behind", KEEP_ALIVE)
    raw.flush()
    send_ping(raw, b"one")
    assert raw.next_frame().data == b"one"
    judge.held.set()
    assert [raw.next_answer().reqId for _ in range(2)] == ["log in", "behind"]
    # Frames behind another device's key are read under it, however early they came.
    judge.held.clear()
    cipher = SessionCipher(b"key", b"iv")
    params = cxn_params(deviceId="another")
    if encrypted:
        params.aesKey = rsa_encrypt(session_key.public, cipher.key_seed)
        params.aesIv = rsa_encrypt(session_key.public, cipher.iv_seed)
    raw.queue_request("describe", SET_CXN_PARAMS, params)
    request = encode_request("behind", KEEP_ALIVE, b"")
    raw.queue(cipher.seal(request) if encrypted else request)
    raw.flush()
    send_ping(raw, b"two")
    assert raw.next_frame().data == b"two"
    judge.held.set()
    for req_id in ("describe", "behind"):
        frame = raw.next_of(Opcode.BINARY).data
        push = session.PushBody.FromString(cipher.open(frame) if encrypted else frame)
        answer = session.ResponseBody.FromString(push.data)
        assert (answer.reqId, answer.code) == (req_id, Code.Success)


def test_a_push_is_acknowledged_by_a_pong_behind_waiting_requests(connect_raw, backend, user):
    """The pong to the gateway's own ping is heard as well."""
    raw = connect_raw(user=user)
    fill_window(raw, user)
    raw.queue_request("more", KEEP_ALIVE)
    raw.flush()
    receipts = []

    def push():
        receipts.extend(backend.push(user_ids=[user], data=b"x", confirm=ACKNOWLEDGED, deadline=2))

    pushing = threading.Thread(target=push)
    pushing.start()
    raw.pong(raw.next_ping())
    pushing.join()
    assert [it.outcome for it in receipts] == [Outcome.ACKNOWLEDGED]
