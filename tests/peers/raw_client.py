"""A client that controls every byte and does only what it is told.

It answers no pings, can put several frames into one TCP segment, and stops reading when a test
says so. websockets' protocol core does the framing; the socket is ours.
"""

import collections
import socket
import time

from bridgehead.session.v1 import session_pb2 as pb
from session_client import (
    PATIENCE,
    SET_CXN_PARAMS,
    SET_USER_PARAMS,
    Code,
    cxn_params,
    encode_request,
)
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri


class RawClient:
    def __init__(self, url, *, receive_buffer=None):
        uri = parse_uri(url)
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect((uri.host, uri.port))
        self.protocol = ClientProtocol(uri, max_size=None)
        self.arrived = collections.deque()
        self.protocol.send_request(self.protocol.connect())
        self.flush()
        assert self.next_frame().data == b"connected"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def flush(self):
        """Sends all that is queued in one write."""
        data = b"".join(self.protocol.data_to_send())
        if data:
            self.sock.sendall(data)

    def queue(self, payload):
        self.protocol.send_binary(payload)

    def queue_request(self, req_id, method, message=b""):
        data = message if isinstance(message, bytes) else message.SerializeToString()
        self.queue(encode_request(req_id, method, data))

    def log_in(self, user, token="t", **params):
        self.queue_request("describe", SET_CXN_PARAMS, cxn_params(**params))
        self.queue_request("log in", SET_USER_PARAMS, pb.SetUserParamsReq(userId=user, token=token))
        self.flush()
        answers = [self.next_answer() for _ in range(2)]
        assert [answer.code for answer in answers] == [Code.Success] * 2, answers
        return self

    def pong(self, payload):
        self.protocol.send_pong(payload)
        self.flush()

    def frames(self, timeout=PATIENCE):
        """Every frame until the peer ends the stream; control frames too. Replies to none."""
        deadline = time.monotonic() + timeout
        while True:
            while self.arrived:
                yield self.arrived.popleft()
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionError:
                return
            if not data:
                return
            self.protocol.receive_data(data)
            events = self.protocol.events_received()
            self.arrived.extend(event for event in events if hasattr(event, "opcode"))
            # Pongs and the reply to a close frame: dropped.
            self.protocol.data_to_send()

    def next_frame(self, timeout=PATIENCE):
        return next(self.frames(timeout))

    def next_of(self, opcode, timeout=PATIENCE):
        """The next frame of a kind; the others before it are skipped."""
        for frame in self.frames(timeout):
            if frame.opcode is opcode:
                return frame
        raise AssertionError(f"the connection ended instead of a {opcode.name}")

    def next_push(self, timeout=PATIENCE):
        return pb.PushBody.FromString(self.next_of(Opcode.BINARY, timeout).data)

    def next_ping(self, timeout=PATIENCE):
        """What is in the next ping."""
        return self.next_of(Opcode.PING, timeout).data

    def next_answer(self, timeout=PATIENCE):
        """The next answer; the control frames before it are skipped."""
        return pb.ResponseBody.FromString(self.next_push(timeout).data)

    def wait_closed(self, timeout=PATIENCE):
        """Reads to the end. Gives the close code, None where there was no close frame."""
        for frame in self.frames(timeout):
            if frame.opcode is Opcode.CLOSE:
                return int.from_bytes(frame.data[:2], "big")
        return None
