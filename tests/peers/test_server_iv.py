"""edge.paths: clients of both generations on one gateway, the later of which expect the gateway to
choose the IV."""

import os
import subprocess
import urllib.error
import urllib.request

import pytest
from bridgehead.session.v1 import session_pb2 as session
from configuration import PUSH, gateway_config
from probe_pb2 import EchoReq, EchoResp
from raw_client import RawClient
from session_client import (
    KEEP_ALIVE,
    SET_CXN_PARAMS,
    SET_USER_PARAMS,
    Code,
    LaterClient,
    SessionCipher,
    cxn_params,
    encode_request,
    rsa_encrypt,
)

PATHS = {"/ws": {}, "/ws2": {"server_iv": True}}


@pytest.fixture(scope="module")
def gateway(share_gateway, services, session_key):
    section = {"private_key": str(session_key.private_file)}
    config = gateway_config(services, edge={"paths": PATHS}, session=section, push=PUSH)
    return share_gateway(config)


@pytest.fixture
def later(gateway):
    """Opens connections of the later generation."""
    opened = []

    def connect():
        opened.append(LaterClient(gateway.url + "2"))
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


def echo(client, text):
    response = client.call_ok("/v1/probe/echo", EchoReq(text=text), EchoResp)
    return EchoReq.FromString(response.request)


@pytest.mark.parametrize("encrypted", [False, True])
def test_both_generations_are_served_side_by_side(
    gateway, connect, later, backend, session_key, user, encrypted
):
    key = session_key.public if encrypted else None
    old = connect(gateway).log_in(f"{user}-old", public_key=key)
    new = later().log_in(f"{user}-new", public_key=key)
    for client, name in ((old, "old"), (new, "new")):
        echoed = echo(client, name)
        assert (echoed.text, echoed.commonReq.userId) == (name, f"{user}-{name}")
        assert client.call(KEEP_ALIVE).code == Code.Success
        for event in (0, 77):
            backend.push(user_ids=[f"{user}-{name}"], event=event, data=b"news")
            push = client.receive_push()
            assert (push.event, push.data) == (event, b"news")
    sessions = backend.sessions(user_ids=[f"{user}-old", f"{user}-new"])
    assert [it.encrypted for it in sessions] == [encrypted] * 2


def test_the_first_frames_are_the_greeting_and_the_string_which_differs_each_time(later):
    seeds = {later().wait_connected().iv_seed for _ in range(20)}
    assert len(seeds) == 20
    assert all(len(seed) == 32 for seed in seeds)


def test_the_string_is_told_once_and_holds_for_a_second_key(later, session_key):
    client = later().wait_connected()
    for _ in range(2):
        answer = client.set_cxn_params(session_key.public)
        assert answer.code == Code.Success
    assert client.set_user_params().code == Code.Success


def test_a_client_need_not_wait_for_the_string(gateway, session_key):
    """What it sends with its request for the WebSocket is answered behind the string."""
    cipher_key = os.urandom(8).hex().encode()
    params = cxn_params(aesKey=rsa_encrypt(session_key.public, cipher_key))
    with RawClient(gateway.url + "2") as raw:
        raw.queue_request("early", KEEP_ALIVE)
        raw.queue_request("describe", SET_CXN_PARAMS, params)
        raw.flush()
        seed = raw.next_push()
        assert seed.event == 3
        assert raw.next_answer().reqId == "early"
        cipher = SessionCipher(cipher_key, seed.data[2:])
        push = session.PushBody.FromString(cipher.open(raw.next_frame().data))
        answer = session.ResponseBody.FromString(push.data)
        assert (answer.reqId, answer.code) == ("describe", Code.Success)
        user = session.SetUserParamsReq(userId="user-1", token="t").SerializeToString()
        raw.queue(cipher.seal(encode_request("log in", SET_USER_PARAMS, user)))
        raw.flush()
        push = session.PushBody.FromString(cipher.open(raw.next_frame().data))
        assert session.ResponseBody.FromString(push.data).code == Code.Success


@pytest.mark.parametrize("iv", [b"", b"short", os.urandom(256), os.urandom(5000)])
def test_an_iv_of_the_client_is_ignored_whatever_it_is(later, session_key, iv):
    client = later().wait_connected()
    req_id = client.send_cxn_params(session_key.public, aesIv=iv)
    assert client.answer_to(req_id).code == Code.Success
    assert client.set_user_params().code == Code.Success
    plain = later().wait_connected()
    assert plain.set_cxn_params(aesIv=iv).code == Code.Success, "without a key, nothing is encrypted"
    assert plain.set_user_params().code == Code.Success


def test_a_key_of_the_wrong_length_is_still_refused(later):
    client = later().wait_connected()
    client.send_cxn_params(aesKey=b"short")
    assert client.wait_closed() == (3001, "aesKey is not as long as the RSA modulus")


def test_a_later_client_on_the_path_of_the_earlier_ones_hears_of_no_string(gateway):
    client = LaterClient(gateway.url)
    with client, pytest.raises(TimeoutError):
        super(LaterClient, client).wait_connected()
        client.receive_frame(timeout=0.5)


def test_an_earlier_client_on_the_path_of_the_later_ones_cannot_go_on(gateway, connect, session_key):
    """It takes the string for a push, and its own IV is not the session's."""
    client = connect(gateway.url + "2").wait_connected()
    cipher = SessionCipher(b"key", b"iv")
    assert client.receive_push().event == 3
    client.send_cxn_params(session_key.public, cipher)
    first_block = client.receive_frame()[:16]
    assert first_block != cipher.seal(b"\x08\x02")[:16]
    client.send(SET_USER_PARAMS)
    assert client.wait_closed()[0] == 1008


def test_require_encryption_asks_for_the_key_alone(start_gateway, services, session_key):
    section = {"private_key": str(session_key.private_file), "require_encryption": True}
    config = gateway_config(services, edge={"paths": {"/ws": {"server_iv": True}}}, session=section)
    gateway = start_gateway(config)
    with LaterClient(gateway.url) as client:
        assert client.wait_connected().set_cxn_params().code == Code.RequestError
        assert client.set_cxn_params(session_key.public).code == Code.Success


def test_every_path_is_named_to_whoever_is_lost(gateway):
    http = gateway.url.replace("ws://", "http://")
    with urllib.request.urlopen(http.removesuffix("ws")) as answer:
        assert answer.read().endswith(b"Clients connect at /ws or /ws2\n")
    for path in ("/ws3", "/ws2/", "/ws/../ws2"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(http.removesuffix("/ws") + path)
        assert refused.value.code == 404
        assert refused.value.read() == b"not found; clients connect at /ws or /ws2\n"


@pytest.mark.parametrize("path", ["", "2"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_call_finds_out_which_generation_a_path_is_for(
    binary, gateway, session_key, tmp_path, path, encrypted
):
    public = tmp_path / "key.pem"
    public.write_bytes(session_key.public_pem())
    encrypt = ["--encrypt", public] if encrypted else []
    command = [binary, "call", "/v1/probe/echo", '{"text": "hello"}', "--url", gateway.url + path, *encrypt]
    command += ["--user", "u", "--token", "t", "-c", gateway.config_file]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 0, run.stderr
