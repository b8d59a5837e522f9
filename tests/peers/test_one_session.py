"""session.one_session_per: the newest session wins; and sessions that log in once more."""

import threading

import pytest
from bridgehead.session.v1 import session_pb2 as session
from configuration import PUSH, gateway_config
from probe_pb2 import EchoReq, EchoResp
from push_client import ACKNOWLEDGED, QUEUED, Kind, Outcome, outcomes
from session_client import KEEP_ALIVE, SET_CXN_PARAMS, SET_USER_PARAMS, Code

LONG = 60
REPLACED = (3004, "replaced by a newer connection")


@pytest.fixture(scope="module")
def gateways(share_gateway, services):
    """A gateway for each policy, started when it is first asked for."""
    started = {}

    def gateway_for(policy):
        if policy not in started:
            section = {"one_session_per": CLASSES if policy == "classes" else policy}
            config = gateway_config(services, session=section, push=PUSH)
            started[policy] = share_gateway(config)
        return started[policy]

    return gateway_for


@pytest.fixture
def gateway(gateways):
    """A gateway where a device has one session."""
    return gateways("device")


def echoed(client):
    response = client.call_ok("/v1/probe/echo", EchoReq(), EchoResp)
    return EchoReq.FromString(response.request).commonReq


OLDER = {
    # Sessions that are there, by user, platform and device, before ann logs in with ios and d1.
    "the same device": ("ann", "ios", "d1"),
    "another device": ("ann", "ios", "d2"),
    "another platform": ("ann", "web", "d1"),
    "another user": ("bob", "ios", "d1"),
}
ENDED = {
    "device": ["the same device"],
    "platform": ["the same device", "another device"],
    "user": ["the same device", "another device", "another platform"],
    "none": [],
}


CLASSES = {
    "mobile": ["ios", "android", "ipad"],
    "desktop": ["windows", "macos"],
    "web": ["web"],
}


def test_classes_of_platforms_have_one_session_each(gateways, connect, user):
    gateway = gateways("classes")
    there = {}
    for platform, ended in [
        ("ios", None),
        ("windows", None),
        ("web", None),
        ("android", "ios"),
        # Of no class: one by itself.
        ("linux", None),
        ("ipad", "android"),
        ("macos", "windows"),
        ("linux", "linux"),
    ]:
        client = connect(gateway).log_in(user, platform=platform, deviceId=f"{len(there)}-{platform}")
        if ended:
            assert there.pop(ended).wait_closed() == REPLACED, platform
        for name, other in there.items():
            assert other.call(KEEP_ALIVE).code == Code.Success, f"{platform} has ended {name}"
        there[platform] = client


@pytest.mark.parametrize("policy", ENDED)
def test_the_newest_session_ends_those_of_its_kind_and_no_other(
    gateways, connect, open_backend, user, policy
):
    gateway = gateways(policy)
    backend = open_backend(gateway)

    def log_in(name, platform, device):
        client = connect(gateway).log_in(f"{user}-{name}", platform=platform, deviceId=device)
        return client, echoed(client).sessionId

    # Not in the way of each other, whatever the policy: one after the other.
    for kind, older in OLDER.items():
        old, old_id = log_in(*older)
        new, new_id = log_in("ann", "ios", "d1")
        there = {it.session_id for it in backend.sessions(user_ids=[f"{user}-ann", f"{user}-bob"])}
        if kind in ENDED[policy]:
            assert there == {new_id}
            assert old.wait_closed() == REPLACED
        else:
            assert there == {old_id, new_id}
            assert old.call(KEEP_ALIVE).code == Code.Success
        assert new.call(KEEP_ALIVE).code == Code.Success
        assert backend.kick(user_ids=[f"{user}-ann", f"{user}-bob"]) == len(there)


def test_a_device_that_reconnects_in_a_hurry_is_left_with_its_newest_session(
    connect, backend, user
):
    """Each of many at once either wins or is told that it was replaced."""
    clients = [connect().wait_connected() for _ in range(20)]
    for client in clients:
        assert client.set_cxn_params().code == Code.Success
    watch = backend.watch(user_ids=[user])

    def log_in(client):
        client.send(SET_USER_PARAMS, session.SetUserParamsReq(userId=user, token="t"))

    threads = [threading.Thread(target=log_in, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there, came, gone = set(), 0, 0
    while came < 20 or gone < 19:
        event = next(watch)
        if event.kind == Kind.CONNECTED:
            came += 1
            assert not there
            there.add(event.session.session_id)
        else:
            gone += 1
            assert event.close_code == 3004
            there.remove(event.session.session_id)
    [receipt] = backend.push(user_ids=[user], data=b"x", confirm=ACKNOWLEDGED, deadline=LONG)
    assert (outcomes([receipt]), {receipt.session.session_id}) == (["ACKNOWLEDGED"], there)
    codes = []
    for client in clients:
        assert client.receive().code == Code.Success
        try:
            assert client.receive_push(timeout=0.2).data == b"x"
            codes.append(None)
        except Exception:  # noqa: BLE001: closed, which wait_closed looks at
            codes.append(client.wait_closed()[0])
    assert sorted(codes, key=str) == [3004] * 19 + [None]


def test_pushes_go_to_the_newest_session_from_its_login_on(connect, backend, user):
    older = connect().log_in(user)
    backend.push(user_ids=[user], data=b"to the older", confirm=QUEUED)
    newer = connect().log_in(user)
    [receipt] = backend.push(user_ids=[user], data=b"to the newer", deadline=LONG)
    assert receipt.session.session_id == echoed_after_push(newer, b"to the newer")
    assert older.receive_push().data == b"to the older"
    assert older.wait_closed() == REPLACED


def echoed_after_push(client, data):
    assert client.receive_push().data == data
    return echoed(client).sessionId


# Logging in once more.


@pytest.mark.parametrize("policy", ["device", "user"])
def test_a_session_that_logs_in_again_as_the_same_user_stays(
    gateways, connect, open_backend, user, policy
):
    gateway = gateways(policy)
    backend = open_backend(gateway)
    client = connect(gateway).log_in(user, "token-1")
    [before] = backend.sessions(user_ids=[user])
    watch = backend.watch(user_ids=[user])
    for number in range(3):
        assert client.set_user_params(user, f"token-{number}").code == Code.Success
    assert backend.sessions(user_ids=[user]) == [before]
    assert echoed(client).token == "token-2"
    [receipt] = backend.push(user_ids=[user], data=b"x", confirm=ACKNOWLEDGED, deadline=LONG)
    assert (outcomes([receipt]), receipt.session) == (["ACKNOWLEDGED"], before)
    assert client.receive_push().data == b"x"
    # Nothing has happened that a watcher would be told of, until this.
    client.close()
    event = next(watch)
    assert (Kind.Name(event.kind), event.session) == ("DISCONNECTED", before)


def test_a_session_can_become_another_users(connect, backend, user):
    old, new = f"{user}-old", f"{user}-new"
    client = connect().log_in(old)
    session_id = backend.session_id(old)
    watch = backend.watch(user_ids=[old, new])
    assert client.set_user_params(new).code == Code.Success
    gone, came = next(watch), next(watch)
    assert (Kind.Name(gone.kind), gone.session.user_id, gone.close_code) == ("DISCONNECTED", old, 0)
    assert (Kind.Name(came.kind), came.session.user_id) == ("CONNECTED", new)
    assert gone.session.session_id == came.session.session_id == session_id
    receipts = backend.push(user_ids=[old, new], data=b"x", deadline=LONG)
    assert [(*outcomes([it]), it.user_id or it.session.user_id) for it in receipts] == [
        ("OFFLINE", old),
        ("WRITTEN", new),
    ]
    assert client.receive_push().data == b"x"
    assert echoed(client).userId == new
    assert backend.sessions(user_ids=[old]) == []


def test_a_session_that_becomes_another_users_replaces_that_ones(connect, backend, user):
    first = connect().log_in(f"{user}-first")
    second = connect().log_in(f"{user}-second")
    assert second.set_user_params(f"{user}-first").code == Code.Success
    assert first.wait_closed() == REPLACED
    assert backend.session_id(f"{user}-first") == echoed(second).sessionId
    assert backend.push(user_ids=[f"{user}-second"])[0].outcome == Outcome.OFFLINE


def test_a_session_that_describes_itself_anew_is_found_as_what_it_says(connect, backend, user):
    client = connect().log_in(user, platform="ios", deviceId="d1", language="de")
    watch = backend.watch(user_ids=[user])
    assert client.set_cxn_params(platform="web", deviceId="d2", language="fr").code == Code.Success
    gone, came = next(watch), next(watch)
    assert (Kind.Name(gone.kind), gone.session.platform, gone.close_code) == ("DISCONNECTED", "ios", 0)
    assert (Kind.Name(came.kind), came.session.platform) == ("CONNECTED", "web")
    [listed] = backend.sessions(platforms=["web"], device_ids=["d2"], user_ids=[user])
    assert (listed.language, listed.session_id) == ("fr", gone.session.session_id)
    assert backend.push(user_ids=[user], platforms=["ios"])[0].outcome == Outcome.OFFLINE
    assert outcomes(backend.push(device_ids=["d1"], user_ids=[user])) == ["OFFLINE"]


def test_a_device_that_is_described_again_replaces_its_older_session(connect, backend, user):
    older = connect().log_in(user, deviceId="d1")
    newer = connect().log_in(user, deviceId="d2")
    assert newer.set_cxn_params(deviceId="d1").code == Code.Success
    assert older.wait_closed() == REPLACED
    assert backend.session_id(user) == echoed(newer).sessionId


# The answer to a login comes before any push.


class Pusher(threading.Thread):
    """Pushes numbers to a target, without a pause to speak of, until it is stopped."""

    def __init__(self, backend, **target):
        super().__init__(daemon=True)
        self.stream, self.target, self.count = backend.push_stream(), target, 0
        self._stopping = threading.Event()
        self.start()

    def run(self):
        while not self._stopping.wait(0.0005):
            self.stream.send(data=b"%d" % self.count, confirm=QUEUED, deadline=LONG, **self.target)
            self.count += 1
        self.stream.end()

    def stop(self):
        """How many it has pushed, and the outcomes."""
        self._stopping.set()
        self.join()
        return self.count, outcomes(self.stream)


@pytest.fixture
def keyed(start_gateway, services, session_key):
    """A gateway of the test's own, with a private key."""
    private_key = {"private_key": str(session_key.private_file)}
    return start_gateway(gateway_config(services, session=private_key, push=PUSH))


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_the_answer_to_a_login_comes_before_any_push(
    keyed, session_key, connect, open_backend, encrypted
):
    pusher = Pusher(open_backend(keyed), everyone=True)
    for number in range(30):
        client = connect(keyed).wait_connected()
        # Both in a row: the answers must come first all the same, and in order.
        client.send_cxn_params(session_key.public if encrypted else None)
        params = session.SetUserParamsReq(userId=f"user-{number}", token="t")
        client.send(SET_USER_PARAMS, params)
        answers = [client.receive() for _ in range(2)]
        assert [answer.method for answer in answers] == [SET_CXN_PARAMS, SET_USER_PARAMS]
        assert client.receive_push().data.isdigit()
        client.close()
    _, told = pusher.stop()
    assert set(told) <= {"QUEUED", "CLOSED"}


def test_a_session_that_turns_encryption_on_while_it_is_pushed_to_loses_nothing(
    keyed, session_key, connect, open_backend
):
    """Up to the answer all is plain, from the answer on all is encrypted."""
    client = connect(keyed).log_in("ann")
    pusher = Pusher(open_backend(keyed), user_ids=["ann"])
    received = [client.receive_push() for _ in range(20)]
    req_id = client.send_cxn_params(session_key.public)
    cipher = client.cipher
    while push := plain_push(frame := client.receive_frame()):
        received.append(push)
    answer = session.PushBody.FromString(cipher.open(frame))
    assert session.ResponseBody.FromString(answer.data).reqId == req_id
    received.extend(client.receive_push() for _ in range(20))
    count, told = pusher.stop()
    received.extend(client.receive_push() for _ in range(count - len(received)))
    assert [push.data for push in received] == [b"%d" % number for number in range(count)]
    assert told == ["QUEUED"] * count
    assert open_backend(keyed).sessions()[0].encrypted


def plain_push(frame):
    """The push in a frame that is not encrypted; None for any other frame."""
    try:
        push = session.PushBody.FromString(frame)
    except Exception:  # noqa: BLE001: what is encrypted is no protobuf, or an odd one
        return None
    return push if push.event == session.PushMsgDataList and push.data.isdigit() else None
