"""How long a login holds, and for what: expiry, other devices, judging again, judging requests."""

import json
import math
import time

import grpc
import pytest
from admin_client import metrics
from cluster import start_cluster
from configuration import PUSH, gateway_config
from credentials import LEEWAY, hs256, jwt, symmetric_jwk
from hook_service import HookService, hooks_config
from judge_service import JudgeService, each_request, login_rpc
from probe_pb2 import EchoReq, EchoResp
from processes import eventually
from push_client import ACKNOWLEDGED, QUEUED, WRITTEN, Kind, outcomes
from session_client import SET_CXN_PARAMS, Code, SessionCipher, common_resp, cxn_params, rsa_encrypt

SECRET = b"thirty-two bytes of shared secret"
ECHO = "/v1/probe/echo"


@pytest.fixture
def judge():
    service = JudgeService()
    yield service
    service.stop()


@pytest.fixture
def start(with_admin, services, judge):
    """Starts a gateway whose logins the judge decides; further keys are those of `auth`."""

    def start_one(*, session_section=None, **auth):
        auth = {"rpc": login_rpc(), **auth}
        config = gateway_config(
            services, auth=auth, upstreams={"judge": judge.upstream}, push=PUSH, session=session_section
        )
        return with_admin(config)

    return start_one


def token(user="alice", **claims):
    return jwt(hs256(SECRET), {"sub": user, **claims})


def write_keys(path, secret):
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"keys": [symmetric_jwk(secret, "k")]}))
    new.replace(path)


@pytest.fixture
def start_jwt(with_admin, services, tmp_path):
    """Starts a gateway whose tokens are JWTs."""

    def start_one(session_section=None, **auth):
        write_keys(tmp_path / "jwks.json", SECRET)
        auth = {"jwt": {"keys": str(tmp_path / "jwks.json")}, **auth}
        return with_admin(gateway_config(services, auth=auth, push=PUSH, session=session_section))

    return start_one


def sees(client):
    """The metadata of a call as the service sees it."""
    answer = client.call_ok(ECHO, EchoReq(), EchoResp)
    return {item.key: item.value.decode() for item in answer.metadata}


# The leeway for clocks.


def test_a_token_within_the_leeway_is_good_for_calls_as_for_the_login(start_jwt, connect):
    client = connect(start_jwt()).log_in("alice", token(exp=int(time.time()) - 20))
    assert client.call(ECHO, EchoReq()).code == Code.Success


# Expiry.


def expiring(connect, gateway, seconds=2, user="alice"):
    """A session whose login expires in so many seconds, or up to one more: `exp` has whole ones."""
    return connect(gateway).log_in(user, token(user, exp=math.ceil(time.time()) - LEEWAY + seconds))


def test_an_expired_session_gets_no_pushes_and_is_closed_after_its_grace(start_jwt, connect, open_backend):
    gateway = start_jwt(grace="3s")
    backend = open_backend(gateway)
    client = expiring(connect, gateway)
    assert outcomes(backend.push(user_ids=["alice"], data=b"early")) == ["WRITTEN"]
    assert client.receive_push().data == b"early"
    eventually(lambda: not backend.sessions(user_ids=["alice"]))
    assert outcomes(backend.push(user_ids=["alice"], data=b"late", confirm=QUEUED)) == ["OFFLINE"]
    assert client.call(ECHO, EchoReq()).code == Code.AuthError
    assert metrics(gateway)['bridgehead_sessions{state="expired"}'] == 1
    began = time.monotonic()
    assert client.wait_closed() == (3000, "login expired")
    assert time.monotonic() - began < 6


def test_what_waited_for_a_session_that_expires_was_closed(start_jwt, connect_raw, open_backend):
    """A client that does not read: pushes wait for it, and are given up with its login."""
    gateway = start_jwt(session_section={"outbox": "64MiB"}, grace="60s")
    backend = open_backend(gateway)
    raw = connect_raw(gateway)
    raw.log_in("alice", token=token(exp=int(time.time()) - LEEWAY + 3))
    many = [
        # More than the kernel takes.
        backend.begin_push(user_ids=["alice"], data=bytes(3_000_000), confirm=WRITTEN, deadline=6)
        for _ in range(10)
    ]
    got = [outcome for push in many for outcome in outcomes(push)]
    # One is in the socket's hands by half.
    assert got.count("EXPIRED") <= 1 and got.count("CLOSED") >= 3, got
    assert set(got) <= {"WRITTEN", "EXPIRED", "CLOSED"}
    assert outcomes(backend.push(user_ids=["alice"], data=b"x", confirm=QUEUED)) == ["OFFLINE"]


def test_watchers_are_told_that_a_login_has_expired(start_jwt, connect, open_backend):
    gateway = start_jwt(grace="1s")
    backend = open_backend(gateway)
    watch = backend.watch(user_ids=["alice"])
    client = expiring(connect, gateway)
    assert next(watch).kind == Kind.CONNECTED
    gone = next(watch)
    assert (gone.kind, gone.close_code, gone.reason) == (Kind.DISCONNECTED, 3000, "login expired")
    client.wait_closed()


def test_hooks_are_told_that_a_login_has_expired_and_that_it_is_back(start_gateway, services, connect, tmp_path):
    told = HookService().start()
    write_keys(tmp_path / "jwks.json", SECRET)
    auth = {"jwt": {"keys": str(tmp_path / "jwks.json")}}
    config = gateway_config(services, auth=auth, hooks=hooks_config(), upstreams={"hooks": told.upstream})
    client = expiring(connect, start_gateway(config))
    (_, _), (event, news) = told.wait_told(2)
    assert (event, news.closeCode, news.reason) == ("disconnected", 3000, "login expired")
    client.set_user_params("alice", token(exp=int(time.time()) + 600))
    assert told.wait_told(3)[2][0] == "connected"
    client.close()
    assert told.wait_told(4)[3][0] == "disconnected"
    told.stop()


def test_an_expired_session_is_offline_to_the_whole_cluster(start_gateway, services, connect, open_backend, nats, tmp_path):
    write_keys(tmp_path / "jwks.json", SECRET)
    auth = {"jwt": {"keys": str(tmp_path / "jwks.json")}}
    here, there = start_cluster(
        lambda config, env: start_gateway({**config, "auth": auth}, env=env), services, nats.url, count=2
    )
    backend = open_backend(there)
    client = expiring(connect, here)
    pushed = backend.begin_push(user_ids=["alice"], data=b"early", confirm=WRITTEN)
    assert (outcomes(pushed), client.receive_push().data) == (["WRITTEN"], b"early")
    eventually(lambda: not backend.sessions(user_ids=["alice"]))
    assert outcomes(backend.push(user_ids=["alice"], data=b"late", confirm=QUEUED)) == ["OFFLINE"]
    client.set_user_params("alice", token(exp=int(time.time()) + 600))
    pushed = backend.begin_push(user_ids=["alice"], data=b"again", confirm=WRITTEN)
    assert (outcomes(pushed), client.receive_push().data) == (["WRITTEN"], b"again")


def test_a_new_login_within_the_grace_brings_the_session_back(start_jwt, connect, open_backend):
    gateway = start_jwt(grace="60s")
    backend = open_backend(gateway)
    client = expiring(connect, gateway)
    eventually(lambda: not backend.sessions(user_ids=["alice"]))
    assert client.set_user_params("alice", token(exp=int(time.time()) + 600)).code == Code.Success
    assert client.call(ECHO, EchoReq()).code == Code.Success
    pushed = backend.begin_push(user_ids=["alice"], data=b"again", confirm=ACKNOWLEDGED)
    assert client.receive_push().data == b"again"
    client.call(ECHO, EchoReq())
    assert outcomes(pushed) == ["ACKNOWLEDGED"]


def test_a_session_that_logs_in_in_time_never_leaves(start_jwt, connect, open_backend):
    gateway = start_jwt(grace="1s")
    backend = open_backend(gateway)
    client = expiring(connect, gateway, seconds=2)
    watch = backend.watch(user_ids=["alice"], snapshot=True)
    assert [next(watch).kind, next(watch).kind] == [Kind.SNAPSHOT, Kind.SNAPSHOT_END]
    assert client.set_user_params("alice", token(exp=int(time.time()) + 600)).code == Code.Success
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        assert client.call(ECHO, EchoReq()).code == Code.Success
        time.sleep(0.2)
    # The first that watchers are told of it is its end.
    backend.kick(user_ids=["alice"])
    assert next(watch).close_code == 3005


# Another device.


def test_another_device_is_judged_as_a_login_is(start, connect, judge):
    judge.judge = lambda question: "stolen device" if question.connParam.deviceId == "stolen" else None
    client = connect(start()).log_in()
    asked = judge.count("BeforeLogin")
    answer = client.set_cxn_params(deviceId="stolen", appVersion="9")
    assert (answer.code, common_resp(answer).msg) == (Code.AuthError, "stolen device")
    assert judge.count("BeforeLogin") == asked + 1
    # The old values stay, all of them, and the session goes on.
    seen = client.call_ok(ECHO, EchoReq(), EchoResp)
    assert {m.key: m.value for m in seen.metadata}["x-device-id"] == b"device-1"
    assert EchoReq.FromString(seen.request).commonReq.appVersion == "2.0.1"
    assert client.set_cxn_params(deviceId="device-2").code == Code.Success
    assert sees(client)["x-device-id"] == "device-2"


def test_another_platform_is_judged_too(start, connect, judge):
    judge.judge = lambda question: "no web here" if question.connParam.platform == "web" else None
    client = connect(start()).log_in()
    assert client.set_cxn_params(platform="web").code == Code.AuthError
    assert sees(client)["x-platform"] == "ios"
    assert client.set_cxn_params(platform="android").code == Code.Success
    assert sees(client)["x-platform"] == "android"


def test_whatever_the_judge_is_asked_about_is_judged_and_nothing_else(start, connect, judge):
    gateway = start(rpc=login_rpc(appVersion="{app_version}"))
    judge.judge = lambda question: "too old" if question.appVersion == "1" else None
    client = connect(gateway).log_in()
    asked = judge.count("BeforeLogin")
    assert client.set_cxn_params(networkUsed="4g", osVersion="18").code == Code.Success
    assert judge.count("BeforeLogin") == asked, "the judge does not ask for it"
    assert client.set_cxn_params(appVersion="1").code == Code.AuthError
    assert client.set_cxn_params(appVersion="3").code == Code.Success


def test_the_key_of_a_message_that_is_refused_does_not_hold(start, connect, judge, session_key):
    judge.judge = lambda question: "no" if question.connParam.deviceId == "stolen" else None
    gateway = start(session_section={"private_key": str(session_key.private_file)})
    client = connect(gateway).log_in(public_key=session_key.public)
    cipher = SessionCipher(b"another", b"other")
    secrets = {
        "aesKey": rsa_encrypt(session_key.public, cipher.key_seed),
        "aesIv": rsa_encrypt(session_key.public, cipher.iv_seed),
    }
    refused = client.send(SET_CXN_PARAMS, cxn_params(deviceId="stolen", **secrets))
    # Both are read, and answered, under the old key.
    behind = client.send(ECHO, EchoReq())
    assert client.answer_to(refused).code == Code.AuthError
    assert client.answer_to(behind).code == Code.Success
    # And where it is accepted the new one holds, from the answer on.
    assert client.set_cxn_params(session_key.public, deviceId="device-2").code == Code.Success
    assert sees(client)["x-device-id"] == "device-2"


@pytest.mark.parametrize("missing", ["deviceId", "platform"])
def test_a_session_that_is_logged_in_cannot_lose_its_device(start, connect, missing):
    client = connect(start()).log_in()
    assert client.set_cxn_params(**{missing: ""}).code == Code.RequestError
    seen = sees(client)
    assert (seen["x-device-id"], seen["x-platform"]) == ("device-1", "ios")


def test_a_judge_that_cannot_be_asked_about_a_device_is_a_passing_failure(start, connect, judge):
    client = connect(start()).log_in()
    judge.judge = lambda _: grpc.StatusCode.UNAVAILABLE
    assert client.set_cxn_params(deviceId="device-2").code == Code.RetryError
    judge.judge = lambda _: None
    assert sees(client)["x-device-id"] == "device-1"
    assert client.set_cxn_params(deviceId="device-2").code == Code.Success


def test_a_client_cannot_go_on_asking_for_devices_that_it_may_not_be(start, connect, judge):
    judge.judge = lambda question: "no" if question.connParam.deviceId != "device-1" else None
    client = connect(start()).log_in()
    asked = judge.count("BeforeLogin")
    sent = [client.send(SET_CXN_PARAMS, cxn_params(deviceId=f"other-{n}")) for n in range(20)]
    assert all(client.answer_to(one).code == Code.AuthError for one in sent[:8])
    assert client.wait_closed() == (3000, "authentication failed")
    assert judge.count("BeforeLogin") == asked + 8


def test_a_jwt_is_judged_for_another_device_as_well(start_jwt, connect):
    client = expiring(connect, start_jwt(), seconds=1)
    eventually(lambda: client.call(ECHO, EchoReq()).code == Code.AuthError)
    assert client.set_cxn_params(deviceId="device-2").code == Code.AuthError


def test_devices_may_be_described_freely_before_the_login(start, connect, judge):
    client = connect(start()).wait_connected()
    for device in ("a", "", "b"):
        assert client.set_cxn_params(deviceId=device).code == Code.Success
    assert judge.count("BeforeLogin") == 0


# Judged again.


def test_a_login_that_is_revoked_is_found_out(start, connect, judge, open_backend):
    gateway = start(recheck="2s")
    backend = open_backend(gateway)
    revoked, other = connect(gateway).log_in("alice"), connect(gateway).log_in("bob")
    eventually(lambda: judge.count("BeforeLogin") >= 6)
    assert revoked.call(ECHO, EchoReq()).code == Code.Success
    judge.judge = lambda question: "revoked" if question.connParam.userId == "alice" else None
    began = time.monotonic()
    assert revoked.wait_closed() == (3000, "login revoked")
    assert time.monotonic() - began < 5
    assert outcomes(backend.push(user_ids=["alice"], data=b"x", confirm=QUEUED)) == ["OFFLINE"]
    assert other.call(ECHO, EchoReq()).code == Code.Success
    counted = metrics(gateway)
    assert counted['bridgehead_login_reviews_total{cause="recheck",outcome="refused"}'] == 1
    assert counted['bridgehead_login_reviews_total{cause="recheck",outcome="accepted"}'] >= 4


def test_sessions_outlast_a_judge_that_is_away_and_requests_do_not_wait_for_it(start, connect, judge):
    gateway = start(recheck="1s")
    clients = [connect(gateway).log_in(f"u{n}") for n in range(5)]
    judge.judge = lambda _: grpc.StatusCode.UNAVAILABLE
    unavailable = 'bridgehead_login_reviews_total{cause="recheck",outcome="unavailable"}'
    eventually(lambda: metrics(gateway)[unavailable] >= 5)
    judge.held.clear()
    asked = judge.count("BeforeLogin")
    eventually(lambda: judge.count("BeforeLogin") >= asked + 5)
    assert all(client.call(ECHO, EchoReq()).code == Code.Success for client in clients)
    judge.judge = lambda _: None
    judge.held.set()


def test_a_judge_that_hangs_is_not_asked_by_everybody_at_once(start, connect, judge):
    gateway = start(recheck="1s", rpc=login_rpc())
    clients = [connect(gateway).log_in(f"u{n}") for n in range(100)]
    judge.held.clear()
    asked = judge.count("BeforeLogin")
    # Each worker has so many under way, and there are two; until they time out.
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        assert judge.count("BeforeLogin") - asked <= 2 * 32 + 36, "the rest of the rounds before"
        time.sleep(0.1)
    judge.held.set()
    assert clients[0].call(ECHO, EchoReq()).code == Code.Success


def test_a_key_that_is_taken_away_ends_its_sessions(start_jwt, connect, tmp_path):
    gateway = start_jwt(recheck="1s")
    client = connect(gateway).log_in("alice", token())
    write_keys(tmp_path / "jwks.json", b"another secret of more than thirty-two bytes")
    assert client.wait_closed(timeout=20) == (3000, "login revoked")


def test_recheck_can_be_turned_on_by_a_reload(start, connect, judge):
    gateway = start()
    client = connect(gateway).log_in("alice")
    judge.judge = lambda _: "revoked"
    config = {**gateway.config, "auth": {**gateway.config["auth"], "recheck": "1s"}}
    gateway.write_config(config)
    assert client.wait_closed(timeout=20) == (3000, "login revoked")


# Each request.


def test_each_request_is_judged_and_a_public_one_is_not(start, connect, judge):
    gateway = start(each_request=each_request(method="{method}"))
    client = connect(gateway).log_in("alice", "t0ken")
    judge.judge = lambda question: "not this" if question.method == "/v1/probe/echoBare" else None
    assert client.call(ECHO, EchoReq()).code == Code.Success
    answer = client.call("/v1/probe/echoBare", b"")
    assert (answer.code, common_resp(answer).msg) == (Code.AuthError, "not this")
    assert client.call("/v1/probe/white/echo", EchoReq()).code == Code.Success
    asked = [question for rpc, question in judge.asked if rpc == "BeforeRequest"]
    assert [question.method for question in asked] == [ECHO, "/v1/probe/echoBare"]
    param = asked[0].connParam
    assert (param.userId, param.token, param.deviceId) == ("alice", "t0ken", "device-1")
    refused = metrics(gateway)['bridgehead_requests_refused_total{code="AuthError",reason="login_refused"}']
    assert refused == 1


def test_a_user_who_is_revoked_is_refused_once_the_verdict_is_old(start, connect, judge):
    client = connect(start(each_request=each_request(cache="1s"))).log_in()
    assert client.call(ECHO, EchoReq()).code == Code.Success
    judge.judge = lambda _: "revoked"
    began = time.monotonic()
    eventually(lambda: client.call(ECHO, EchoReq()).code == Code.AuthError)
    assert time.monotonic() - began < 3
    judge.judge = lambda _: None
    eventually(lambda: client.call(ECHO, EchoReq()).code == Code.Success)


def test_requests_that_come_together_ask_once(start, connect, judge):
    client = connect(start(each_request=each_request(cache="30s"))).log_in()
    sent = [client.send(ECHO, EchoReq()) for _ in range(100)]
    assert all(client.answer_to(one).code == Code.Success for one in sent)
    assert judge.count("BeforeRequest") == 1


def test_without_a_judge_requests_are_to_be_tried_again(start, connect, judge):
    client = connect(start(each_request=each_request(cache="30s"))).log_in()
    judge.judge = lambda _: grpc.StatusCode.UNAVAILABLE
    assert client.call(ECHO, EchoReq()).code == Code.RetryError
    judge.judge = lambda _: None
    assert client.call(ECHO, EchoReq()).code == Code.Success


def test_a_mistake_in_the_judge_of_requests_is_a_configuration_error(start_gateway, services, judge):
    auth = {"none": {}, "each_request": {**each_request(), "rpc": "probe.Judge/BeforeRequst"}}
    gateway = start_gateway(gateway_config(services, auth=auth, upstreams={"judge": judge.upstream}), wait=False)
    assert gateway.wait_exit() == 64
    assert "BeforeRequst" in gateway.tail() and "BeforeRequest" in gateway.tail()
