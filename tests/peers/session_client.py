"""A client of the session protocol, written from its description alone.

It shares no code with the gateway: websockets carries the frames, protobuf the messages, and
cryptography the encryption. Calls block, and give up after a while instead of hanging a test.
"""

import contextlib
import hashlib
import itertools
import os
import socket
from urllib.parse import urlsplit

import websockets.sync.client
from bridgehead.session.v1 import session_pb2 as pb
from cryptography.hazmat.primitives import padding as block_padding
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from websockets.exceptions import ConnectionClosed

SET_CXN_PARAMS = "/v1/conn/white/setCxnParams"
SET_USER_PARAMS = "/v1/conn/white/setUserParams"
KEEP_ALIVE = "/v1/conn/keepAlive"

# Seconds. Long enough for a busy machine, short enough to notice.
PATIENCE = 10

Code = pb.ResponseBody.Code


class SessionCipher:
    """AES-256-CBC with a key and an IV made from two strings of the client's."""

    def __init__(self, key_seed, iv_seed):
        self.key_seed, self.iv_seed = key_seed, iv_seed
        self.key = hashlib.md5(key_seed).hexdigest().encode()
        self.iv = hashlib.md5(iv_seed).hexdigest()[8:24].encode()

    def _cipher(self):
        return Cipher(algorithms.AES(self.key), modes.CBC(self.iv))

    def seal(self, plaintext):
        padder = block_padding.PKCS7(128).padder()
        encryptor = self._cipher().encryptor()
        return encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()

    def open(self, ciphertext):
        decryptor = self._cipher().decryptor()
        unpadder = block_padding.PKCS7(128).unpadder()
        return unpadder.update(decryptor.update(ciphertext) + decryptor.finalize()) + unpadder.finalize()


def rsa_encrypt(public_key, plaintext):
    return public_key.encrypt(plaintext, rsa_padding.PKCS1v15())


def cxn_params(**overrides):
    """A SetCxnParamsReq with every member filled."""
    members = {
        "packageId": "package-1",
        "platform": "ios",
        "deviceId": "device-1",
        "deviceModel": "Model 3",
        "osVersion": "17.4",
        "appVersion": "2.0.1",
        "language": "zh-CN",
        "networkUsed": "wifi",
    }
    return pb.SetCxnParamsReq(**{**members, **overrides})


def encode_request(req_id, method, data):
    return pb.RequestBody(reqId=req_id, method=method, data=data).SerializeToString()


def common_resp(answer):
    """The CommonResp in an answer that is not a success."""
    return pb.CommonResp.FromString(answer.data)


class SessionClient:
    """One WebSocket connection to the gateway."""

    def _handshake_cipher(self, public_key, cipher, params):
        """Makes a cipher, and puts what the gateway has to know of it into `params`."""
        cipher = cipher or SessionCipher(os.urandom(16).hex().encode(), os.urandom(16).hex().encode())
        params["aesKey"] = rsa_encrypt(public_key, cipher.key_seed)
        params["aesIv"] = rsa_encrypt(public_key, cipher.iv_seed)
        return cipher

    def __init__(self, url, *, headers=None, source=None, ssl=None, **options):
        """Connects. `source` is the local address, for tests that need several."""
        address = urlsplit(url)
        sock = None
        if source:
            sock = socket.create_connection(
                (address.hostname, address.port), PATIENCE, source_address=(source, 0)
            )
        connection = websockets.sync.client.connect(
            url,
            legacy=False,
            sock=sock,
            ssl=ssl,
            proxy=None,
            max_size=None,
            max_queue=None,
            ping_interval=None,
            open_timeout=PATIENCE,
            close_timeout=0.5,
            additional_headers=headers,
            **options,
        )
        self._open = contextlib.ExitStack()
        self.ws = self._open.enter_context(connection)
        self.cipher = None
        self._numbers = itertools.count(1)
        self._set_aside = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._open.close()

    # Frames.

    def receive_frame(self, timeout=PATIENCE):
        """The next frame as it came: str or bytes."""
        return self.ws.recv(timeout)

    def send_frame(self, payload):
        self.ws.send(payload)

    def wait_connected(self):
        frame = self.receive_frame()
        assert frame == "connected", frame
        return self

    def wait_closed(self, timeout=PATIENCE):
        """Reads to the end. Gives the close code and reason."""
        try:
            while True:
                self.receive_frame(timeout)
        except ConnectionClosed as closed:
            assert closed.rcvd, "the connection ended without a close frame"
            return closed.rcvd.code, closed.rcvd.reason

    # Messages.

    def send(self, method, message=b"", req_id=None):
        """Sends a request; does not wait. Gives the request's id."""
        req_id = req_id or f"r{next(self._numbers)}"
        data = message if isinstance(message, bytes) else message.SerializeToString()
        body = encode_request(req_id, method, data)
        self.send_frame(self.cipher.seal(body) if self.cipher else body)
        return req_id

    def receive_push(self, timeout=PATIENCE):
        """The next PushBody."""
        frame = self.receive_frame(timeout)
        assert isinstance(frame, bytes), f"a text frame: {frame!r}"
        return pb.PushBody.FromString(self.cipher.open(frame) if self.cipher else frame)

    def receive(self, timeout=PATIENCE):
        """The next answer, in the order of arrival."""
        push = self.receive_push(timeout)
        assert push.event == pb.PushResponseBody, push
        return pb.ResponseBody.FromString(push.data)

    def answer_to(self, req_id, timeout=PATIENCE):
        """The answer to one request; others that come before it are set aside."""
        for index, answer in enumerate(self._set_aside):
            if answer.reqId == req_id:
                return self._set_aside.pop(index)
        while True:
            answer = self.receive(timeout)
            if answer.reqId == req_id:
                return answer
            self._set_aside.append(answer)

    def call(self, method, message=b"", timeout=PATIENCE):
        """Sends a request and waits for its answer."""
        return self.answer_to(self.send(method, message), timeout)

    def call_ok(self, method, message, response_type, timeout=PATIENCE):
        """The same, for a call that must succeed. Gives the response message."""
        answer = self.call(method, message, timeout)
        assert answer.code == Code.Success, f"{method}: {answer}{common_resp(answer)}"
        return response_type.FromString(answer.data)

    # The course of a session.

    def set_cxn_params(self, public_key=None, cipher=None, **params):
        """Describes the device; with a public key, turns encryption on."""
        req_id = self.send_cxn_params(public_key, cipher, **params)
        return self.answer_to(req_id)

    def send_cxn_params(self, public_key=None, cipher=None, **params):
        """The same, without waiting. From here on frames are read and written encrypted."""
        if public_key:
            cipher = self._handshake_cipher(public_key, cipher, params)
        req_id = self.send(SET_CXN_PARAMS, cxn_params(**params))
        if public_key:
            self.cipher = cipher
        return req_id

    def set_user_params(self, user="user-1", token="token-1"):
        return self.call(SET_USER_PARAMS, pb.SetUserParamsReq(userId=user, token=token))

    def log_in(self, user="user-1", token="token-1", public_key=None, **params):
        """Steps 2 to 4 in one."""
        self.wait_connected()
        answer = self.set_cxn_params(public_key, **params)
        assert answer.code == Code.Success, answer
        answer = self.set_user_params(user, token)
        assert answer.code == Code.Success, answer
        return self


class LaterClient(SessionClient):
    """The later generation: the gateway says what the IV is made of, behind its greeting."""

    iv_seed = None

    def wait_connected(self):
        super().wait_connected()
        return self.wait_iv()

    def wait_iv(self):
        push = self.receive_push()
        assert push.event == 3, push
        # AfterConnectBody: string aesIv = 1.
        assert push.data[:1] == b"\x0a" and push.data[1] == len(push.data) - 2, push
        self.iv_seed = push.data[2:]
        return self

    def _handshake_cipher(self, public_key, cipher, params):
        assert cipher is None
        cipher = SessionCipher(os.urandom(16).hex().encode(), self.iv_seed)
        params["aesKey"] = rsa_encrypt(public_key, cipher.key_seed)
        return cipher
