"""A backend that uses the Push API, through stubs that another gRPC implementation generates."""

import queue
import time

import grpc
from bridgehead.push.v1 import push_pb2 as pb
from bridgehead.push.v1 import push_pb2_grpc
from google.protobuf.duration_pb2 import Duration

# Seconds for a whole call. It is the caller's: what hangs ends with DEADLINE_EXCEEDED.
PATIENCE = 15

SERVICE = "bridgehead.push.v1.PushService"
TARGET = {field.name for field in pb.Target.DESCRIPTOR.fields}

QUEUED, WRITTEN, ACKNOWLEDGED = pb.CONFIRM_QUEUED, pb.CONFIRM_WRITTEN, pb.CONFIRM_ACKNOWLEDGED
Outcome = pb.PushReceipt.Outcome
Kind = pb.SessionEvent.Kind


def duration(seconds):
    given = Duration()
    given.FromNanoseconds(int(seconds * 1e9))
    return given


def split(fields):
    """The conditions of a target among the fields, and the other fields."""
    target = {name: value for name, value in fields.items() if name in TARGET}
    others = {name: value for name, value in fields.items() if name not in TARGET}
    return pb.Target(**target), others


def push_request(**fields):
    """A PushRequest from its fields and those of its target. The deadline is in seconds."""
    target, others = split(fields)
    if isinstance(others.get("deadline"), (int, float)):
        others["deadline"] = duration(others["deadline"])
    return pb.PushRequest(target=target, **others)


def outcomes(receipts):
    """The outcomes by name, in the order of their arrival."""
    return [Outcome.Name(receipt.outcome) for receipt in receipts]


def status_of(make_call):
    """The status of the call that `make_call` makes, and its text."""
    try:
        made = make_call()
        if hasattr(made, "__next__"):
            list(made)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


class PushClient:
    """One HTTP/2 connection to the Push API."""

    def __init__(self, address, *, token=None, credentials=None, options=()):
        options = [
            # A connection of its own for each channel.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_reconnect_backoff_ms", 200),
            *options,
        ]
        if credentials:
            self.channel = grpc.secure_channel(address, credentials, options)
        else:
            self.channel = grpc.insecure_channel(address, options)
        self.stub = push_pb2_grpc.PushServiceStub(self.channel)
        self.metadata = [("authorization", f"Bearer {token}")] if token else []

    def close(self):
        self.channel.close()

    def begin_push(self, request=None, **fields):
        """Begins a push. Gives the call, from which receipts can be read."""
        request = request or push_request(**fields)
        return self.stub.Push(request, timeout=PATIENCE, metadata=self.metadata)

    def push(self, **fields):
        """Pushes, and waits for all receipts."""
        return list(self.begin_push(**fields))

    def push_stream(self, timeout=PATIENCE):
        return PushStream(self.stub, self.metadata, timeout)

    def kick(self, reason="", **target):
        """How many sessions were kicked."""
        request = pb.KickRequest(target=pb.Target(**target), reason=reason)
        return self.stub.Kick(request, timeout=PATIENCE, metadata=self.metadata).kicked

    def sessions(self, **target):
        request = pb.ListSessionsRequest(target=pb.Target(**target))
        return list(self.stub.ListSessions(request, timeout=PATIENCE, metadata=self.metadata))

    def session_id(self, user):
        """The id of the user's one session."""
        [session] = self.sessions(user_ids=[user])
        return session.session_id

    def watch(self, *, snapshot=False, **target):
        """Begins to watch. When this returns, every later event is in the call."""
        request = pb.WatchSessionsRequest(target=pb.Target(**target), snapshot=snapshot)
        call = self.stub.WatchSessions(request, timeout=PATIENCE, metadata=self.metadata)
        call.initial_metadata()
        return call

    def call_bytes(self, method, payload, deserializer=None):
        """A call of a server-streaming method whose request is bytes made by hand."""
        call = self.channel.unary_stream(f"/{SERVICE}/{method}", None, deserializer)
        return call(payload, timeout=PATIENCE, metadata=self.metadata)


class PushStream:
    """A call of PushStream: requests go in, receipts come out, independently."""

    def __init__(self, stub, metadata=(), timeout=PATIENCE):
        self._requests = queue.SimpleQueue()
        requests = iter(self._requests.get, None)
        self.call = stub.PushStream(requests, timeout=timeout, metadata=metadata)

    def send(self, request=None, **fields):
        self._requests.put(request or push_request(**fields))

    def end(self):
        """Half-closes: no further request, receipts still come."""
        self._requests.put(None)

    def wait_stalled(self):
        """Waits until no more requests leave: they all have, or flow control holds them back."""
        left = None
        while left != (left := self._requests.qsize()):
            time.sleep(0.1)

    def __iter__(self):
        return self.call

    def __next__(self):
        return next(self.call)
