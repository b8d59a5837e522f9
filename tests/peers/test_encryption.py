"""Encrypted sessions: the same course, sealed."""

import os

import credentials
import pytest
from bridgehead.session.v1 import session_pb2 as session
from configuration import gateway_config
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from probe_pb2 import EchoReq, EchoResp
from raw_client import RawClient
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

SEEDS = (b"bridgehead-key-seed", b"bridgehead-iv-seed")

# Plaintext and ciphertext under the seeds above, computed with OpenSSL.
VECTORS = {
    "": "3c8552822f83bf3cc571897b688ddc50",
    "a": "fc8cfe59d55455a8b7817c8c013e2b0d",
    "0123456789abcdef": "07c070ce9175fc442f742674943f5716d8c03ef24b75aa22718948aa5fec4b3a",
    "connected to the bridgehead, 连接成功": (
        "11eb3f0aeb9dd71db4641358b15377496388acde241ada9e0b871862de28133c"
        "1de03d4a70637bd3c1b7b0b03b2a1be3"
    ),
}


@pytest.mark.parametrize("plaintext", VECTORS)
def test_this_client_encrypts_as_the_vectors_say(plaintext):
    cipher = SessionCipher(*SEEDS)
    assert cipher.key == b"2ad02d960321415077940ed8a0fea17c"
    assert cipher.iv == b"54770f8a65ee51da"
    assert cipher.seal(plaintext.encode()).hex() == VECTORS[plaintext]


def test_the_answer_to_set_cxn_params_is_already_encrypted(connect, session_key):
    client = connect().wait_connected()
    cipher = SessionCipher(*SEEDS)
    client.send_cxn_params(session_key.public, cipher)
    body = session.ResponseBody(reqId="r1", method=SET_CXN_PARAMS)
    push = session.PushBody(event=session.PushResponseBody, data=body.SerializeToString())
    assert client.receive_frame() == cipher.seal(push.SerializeToString())


def test_an_encrypted_session_takes_the_whole_course(connect, session_key):
    client = connect().log_in(public_key=session_key.public)
    response = client.call_ok("/v1/probe/echo", EchoReq(text="sealed"), EchoResp)
    echoed = EchoReq.FromString(response.request)
    assert (echoed.text, echoed.commonReq.userId) == ("sealed", "user-1")
    assert client.call(KEEP_ALIVE).code == Code.Success


def test_every_frame_is_encrypted_with_the_same_key_and_iv(connect, session_key):
    client = connect().log_in(public_key=session_key.public)
    frames = []
    for _ in range(2):
        client.send(KEEP_ALIVE, req_id="same")
        frames.append(client.receive_frame())
    assert frames[0] == frames[1]


def test_an_error_is_encrypted_too(connect, session_key):
    client = connect().log_in(public_key=session_key.public)
    assert client.call("/v1/no/such/method").code == Code.RequestError


def test_an_empty_ciphertext_vector_is_an_empty_request(connect, session_key):
    client = connect().wait_connected()
    client.set_cxn_params(session_key.public, SessionCipher(*SEEDS))
    client.set_user_params()
    client.send_frame(bytes.fromhex(VECTORS[""]))
    answer = client.receive()
    assert (answer.code, answer.reqId, answer.method) == (Code.RequestError, "", "")


def test_frames_in_one_segment_with_set_cxn_params_are_read_under_the_new_key(gateway, session_key):
    cipher = SessionCipher(*SEEDS)
    params = cxn_params(
        aesKey=rsa_encrypt(session_key.public, cipher.key_seed),
        aesIv=rsa_encrypt(session_key.public, cipher.iv_seed),
    )
    user = session.SetUserParamsReq(userId="user-1", token="t")
    with RawClient(gateway.url) as raw:
        raw.queue_request("1", SET_CXN_PARAMS, params)
        raw.queue(cipher.seal(encode_request("2", SET_USER_PARAMS, user.SerializeToString())))
        raw.queue(cipher.seal(encode_request("3", "/v1/probe/echo", b"")))
        raw.flush()
        for expected in "123":
            push = session.PushBody.FromString(cipher.open(raw.next_frame().data))
            answer = session.ResponseBody.FromString(push.data)
            assert (answer.reqId, answer.code) == (expected, Code.Success)


@pytest.mark.parametrize("seed", [b"x", b"\x00\xff" * 60, "钥匙".encode(), os.urandom(245)])
def test_any_string_will_do_as_a_seed(connect, session_key, seed):
    client = connect().wait_connected()
    client.set_cxn_params(session_key.public, SessionCipher(seed, seed[::-1]))
    assert client.set_user_params().code == Code.Success


@pytest.mark.parametrize("missing", ["aesKey", "aesIv"])
def test_one_of_key_and_iv_alone_is_a_request_error_and_changes_nothing(connect, session_key, missing):
    client = connect().wait_connected()
    client.set_cxn_params(deviceModel="before")
    seeds = {name: rsa_encrypt(session_key.public, b"seed") for name in ("aesKey", "aesIv")}
    del seeds[missing]
    assert client.set_cxn_params(deviceModel="after", **seeds).code == Code.RequestError
    # Still plain, and still the device of before.
    assert client.set_user_params().code == Code.Success
    response = client.call_ok("/v1/probe/echo", EchoReq(), EchoResp)
    assert EchoReq.FromString(response.request).commonReq.deviceModel == "before"


@pytest.mark.parametrize("length", [0, 1, 255, 257, 512])
@pytest.mark.parametrize("field", ["aesKey", "aesIv"])
def test_a_ciphertext_of_the_wrong_length_closes_with_3001(connect, session_key, field, length):
    client = connect().wait_connected()
    params = {name: rsa_encrypt(session_key.public, b"seed") for name in ("aesKey", "aesIv")}
    params[field] = b"\x01" * length
    client.send(SET_CXN_PARAMS, cxn_params(**params))
    assert client.wait_closed()[0] == 3001


def test_asking_for_encryption_without_a_key_configured_closes_with_3001(
    start_gateway, connect, services, session_key
):
    client = connect(start_gateway(gateway_config(services))).wait_connected()
    client.send_cxn_params(session_key.public)
    assert client.wait_closed()[0] == 3001


def bad_ciphertexts(session_key):
    """All of the right length; none is PKCS#1 v1.5 under the key."""
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return {
        "random": b"\x01" + os.urandom(255),
        "not below the modulus": b"\xff" * 256,
        "zero": bytes(256),
        "another padding": session_key.public.encrypt(b"seed", oaep),
    }


@pytest.mark.parametrize("kind", ["random", "not below the modulus", "zero", "another padding"])
def test_a_bad_ciphertext_looks_like_a_good_one_until_the_next_frame(connect, session_key, kind):
    bad = bad_ciphertexts(session_key)[kind]
    client = connect().wait_connected()
    client.send(SET_CXN_PARAMS, cxn_params(aesKey=bad, aesIv=bad))
    frame = client.receive_frame()
    good_length = len(SessionCipher(*SEEDS).seal(
        session.PushBody(
            event=session.PushResponseBody,
            data=session.ResponseBody(reqId="r1", method=SET_CXN_PARAMS).SerializeToString(),
        ).SerializeToString()
    ))
    assert isinstance(frame, bytes)
    assert len(frame) == good_length
    client.send_frame(SessionCipher(*SEEDS).seal(encode_request("x", KEEP_ALIVE, b"")))
    assert client.wait_closed() == (1008, "protocol error")


def test_the_same_bad_ciphertext_gives_the_same_key_every_time(connect, session_key):
    bad = bad_ciphertexts(session_key)["random"]
    frames = []
    for _ in range(2):
        client = connect().wait_connected()
        client.send(SET_CXN_PARAMS, cxn_params(aesKey=bad, aesIv=bad))
        frames.append(client.receive_frame())
    assert frames[0] == frames[1]


def test_different_bad_ciphertexts_give_different_keys(connect, session_key):
    frames = set()
    for _ in range(2):
        bad = bad_ciphertexts(session_key)["random"]
        client = connect().wait_connected()
        client.send(SET_CXN_PARAMS, cxn_params(aesKey=bad, aesIv=bad))
        frames.add(client.receive_frame())
    assert len(frames) == 2


def tampered(good):
    return good[:-1] + bytes([good[-1] ^ 1])


BAD_FRAMES = {
    "plaintext": lambda cipher, body: body,
    "not whole blocks": lambda cipher, body: cipher.seal(body)[:-1],
    "empty": lambda cipher, body: b"",
    "a bad padding": lambda cipher, body: tampered(cipher.seal(body)),
    "another key": lambda cipher, body: SessionCipher(b"other", b"iv").seal(body),
    # Told apart from a bad padding, it would be an oracle.
    "no request inside": lambda cipher, body: cipher.seal(b"a"),
}


@pytest.mark.parametrize("kind", BAD_FRAMES)
def test_a_frame_that_does_not_decrypt_closes_with_1008_and_no_detail(connect, session_key, kind):
    client = connect().log_in(public_key=session_key.public)
    client.send_frame(BAD_FRAMES[kind](client.cipher, encode_request("x", KEEP_ALIVE, b"")))
    assert client.wait_closed() == (1008, "protocol error")


@pytest.mark.parametrize(
    ("bits", "form"), [(2048, credentials.PKCS1), (3072, credentials.PKCS8), (4096, credentials.PKCS8)]
)
def test_other_forms_and_sizes_of_private_keys_work(start_gateway, connect, services, tmp_path, bits, form):
    pair = credentials.RsaKeyPair(tmp_path / "other.pem", bits=bits, form=form)
    gateway = start_gateway(gateway_config(services, session={"private_key": str(pair.private_file)}))
    client = connect(gateway).log_in(public_key=pair.public)
    assert client.call(KEEP_ALIVE).code == Code.Success
