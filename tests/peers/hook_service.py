"""A service that is told of sessions: grpcio, in the test's own process, obeying the test."""

import threading
from concurrent import futures

import grpc
import probe_pb2 as pb
from grpc_reflection.v1alpha import reflection
from processes import eventually

SERVICE = "probe.Hooks"
REQUEST = {
    "connParam": {
        "userId": "{user_id}",
        "token": "{token}",
        "platform": "{platform}",
        "deviceId": "{device_id}",
        "ips": "{remote_ip}",
    },
    "sessionId": "{session_id}",
}
HOW_IT_ENDED = {"closeCode": "{close_code}", "reason": "{reason}"}


class HookService:
    """Notes what it is told, in the order of arrival, in `told` as (event, SessionNews).

    `behave(event, news, nth)` may raise, or return a status or a NewsTaken; `nth` counts the
    earlier calls for the same event of the same session. What is refused is in `refused` instead.
    """

    def __init__(self, port=0):
        self.told, self.refused = [], []
        self.behave = lambda event, news, nth: None
        self.held = threading.Event()
        self.held.set()
        self.calls = 0
        self._lock = threading.Lock()
        self._nth = {}
        self.port = port
        self._server = None

    def start(self):
        self._server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=128), options=[("grpc.so_reuseport", 0)]
        )
        handlers = {
            "AfterConnect": self._handler("connected"),
            "AfterDisconnect": self._handler("disconnected"),
        }
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
        reflection.enable_server_reflection([SERVICE, reflection.SERVICE_NAME], self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()
        return self

    def stop(self):
        self.held.set()
        self._server.stop(None).wait()

    def hold(self):
        """From now on no call is answered, until `release`."""
        self.held.clear()

    def release(self):
        self.held.set()

    @property
    def upstream(self):
        return {"address": f"http://127.0.0.1:{self.port}", "timeout": "5s"}

    def events(self):
        """What it was told, as `connected user-1`."""
        return [f"{event} {news.connParam.userId}" for event, news in list(self.told)]

    def wait_told(self, count, timeout=15):
        eventually(lambda: len(self.told) >= count, timeout)
        return list(self.told)

    def _handler(self, event):
        def handle(news, context):
            with self._lock:
                self.calls += 1
            self.held.wait(60)
            with self._lock:
                key = (event, news.sessionId)
                nth = self._nth.get(key, 0)
                self._nth[key] = nth + 1
                answer = self.behave(event, news, nth)
                taken = answer is None or answer == pb.NewsTaken()
                (self.told if taken else self.refused).append((event, news))
            if isinstance(answer, grpc.StatusCode):
                context.abort(answer, "as the test wants it")
            return answer or pb.NewsTaken()

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=pb.SessionNews.FromString,
            response_serializer=pb.NewsTaken.SerializeToString,
        )


def hooks_config(connected=None, disconnected=None, request=None):
    """Both hooks at upstream `hooks`; arguments add to one of them, or to both requests."""
    request = {**REQUEST, **(request or {})}
    return {
        "connected": {
            "upstream": "hooks",
            "rpc": f"{SERVICE}/AfterConnect",
            "request": request,
            **(connected or {}),
        },
        "disconnected": {
            "upstream": "hooks",
            "rpc": f"{SERVICE}/AfterDisconnect",
            "request": {**request, **HOW_IT_ENDED},
            **(disconnected or {}),
        },
    }
