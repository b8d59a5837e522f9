"""A device has one session in the whole cluster, and it is the newest."""

import contextlib
import random
import threading
import time

import pytest
from cluster import start_cluster
from processes import eventually
from raw_client import RawClient
from session_client import KEEP_ALIVE, Code
from websockets.exceptions import InvalidState
from websockets.frames import Opcode

RECONNECTS = 1000
REPLACED = 3004


@pytest.fixture(scope="module")
def nodes(share_gateway, services, nats):
    def start(config, env):
        config["log"]["level"] = "info"
        return share_gateway(config, env=env)

    return start_cluster(start, services, nats.url)


def is_there(raw):
    raw.queue_request("alive", KEEP_ALIVE)
    raw.flush()
    return raw.next_answer().code == Code.Success


def test_a_reconnect_ends_the_older_session_and_never_itself(nodes, open_backend, user):
    chance = random.Random(4711)
    before = RawClient(nodes[0].url).log_in(user)
    for number in range(1, RECONNECTS + 1):
        # To another gateway each time, soon or at once.
        now = RawClient(nodes[number % len(nodes)].url).log_in(user)
        assert before.wait_closed() == REPLACED, f"reconnect {number}"
        before.sock.close()
        assert is_there(now), f"reconnect {number}"
        time.sleep(chance.choice([0, 0, chance.uniform(0, 0.02)]))
        before = now
    # The last word was not said yet: logins are said twice.
    time.sleep(2.5)
    assert is_there(before)
    [session] = open_backend(nodes[0]).sessions(user_ids=[user])
    assert session.node == f"node-{RECONNECTS % len(nodes)}"
    before.sock.close()


def test_of_two_at_the_same_instant_one_stays(nodes, open_backend, user):
    for number in range(50):
        name, claims = f"{user}-{number}", []
        start = threading.Barrier(2)

        def claim(node):
            raw = RawClient(node.url)
            start.wait()
            claims.append(raw.log_in(name))

        threads = [threading.Thread(target=claim, args=(node,)) for node in nodes[:2]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        backend = open_backend(nodes[2])
        eventually(lambda: len(backend.sessions(user_ids=[name])) == 1)
        time.sleep(0.02)
        [session] = backend.sessions(user_ids=[name])
        codes = []
        for raw in claims:
            # One may know already that it is over.
            with contextlib.suppress(InvalidState, OSError):
                raw.queue_request("alive", KEEP_ALIVE)
                raw.flush()
            frames = (it for it in raw.frames() if it.opcode in (Opcode.BINARY, Opcode.CLOSE))
            frame = next(frames)
            codes.append(frame.opcode is Opcode.CLOSE and int.from_bytes(frame.data[:2], "big"))
            raw.sock.close()
        assert sorted(codes) == [False, REPLACED], session


def test_another_device_is_left_alone(nodes, user):
    first = RawClient(nodes[0].url).log_in(user, deviceId="one")
    second = RawClient(nodes[1].url).log_in(user, deviceId="two")
    time.sleep(0.1)
    assert is_there(first) and is_there(second)
    for raw in (first, second):
        raw.sock.close()


def test_a_class_of_platforms_has_one_session_in_the_whole_cluster(
    share_gateway, services, nats, user
):
    classes = {"mobile": ["ios", "android"], "web": ["web"]}

    def start(config, env):
        config["session"]["one_session_per"] = classes
        return share_gateway(config, env=env)

    here, there = start_cluster(start, services, nats.url, count=2)
    phone = RawClient(here.url).log_in(user, platform="ios", deviceId="phone")
    browser = RawClient(there.url).log_in(user, platform="web", deviceId="browser")
    tablet = RawClient(there.url).log_in(user, platform="android", deviceId="tablet")
    assert phone.wait_closed() == REPLACED
    again = RawClient(here.url).log_in(user, platform="ios", deviceId="phone")
    assert tablet.wait_closed() == REPLACED
    # Logins are said twice.
    time.sleep(2.5)
    assert is_there(browser) and is_there(again)
    for raw in (phone, browser, tablet, again):
        raw.sock.close()
