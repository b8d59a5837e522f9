"""A service that judges logins and requests: grpcio, in the test's own process, obeying the test."""

import threading
from concurrent import futures

import grpc
import probe_pb2 as pb
from grpc_reflection.v1alpha import reflection

SERVICE = "probe.Judge"
CONN_PARAM = {
    "userId": "{user_id}",
    "token": "{token}",
    "platform": "{platform}",
    "deviceId": "{device_id}",
    "ips": "{remote_ip}",
}
ACCEPT_WHEN = {"code": 0, "msg": ""}


def call(rpc, **request):
    return {
        "upstream": "judge",
        "rpc": f"{SERVICE}/{rpc}",
        "request": {"connParam": CONN_PARAM, **request},
        "accept_when": ACCEPT_WHEN,
        "reason": "msg",
    }


def login_rpc(**request):
    """`auth.rpc`, asking this service."""
    return call("BeforeLogin", **request)


def each_request(cache="0s", **request):
    """`auth.each_request`, asking this service."""
    return {**call("BeforeRequest", **request), "cache": cache}


class JudgeService:
    """Refuses for the reason that `judge(question)` gives, and accepts where that gives none.

    `judge` may also raise, or give a status. All questions are in `asked`, as (rpc, question).
    """

    def __init__(self):
        self.asked = []
        self.judge = lambda question: None
        self.held = threading.Event()
        self.held.set()
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=256))
        handlers = {rpc: self._handler(rpc) for rpc in ("BeforeLogin", "BeforeRequest")}
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
        reflection.enable_server_reflection([SERVICE, reflection.SERVICE_NAME], self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self):
        self.held.set()
        self._server.stop(None).wait()

    @property
    def upstream(self):
        return {"address": f"http://127.0.0.1:{self.port}", "timeout": "5s"}

    def count(self, rpc):
        return sum(asked == rpc for asked, _ in list(self.asked))

    def _handler(self, rpc):
        def handle(question, context):
            self.asked.append((rpc, question))
            self.held.wait(30)
            verdict = self.judge(question)
            if isinstance(verdict, grpc.StatusCode):
                context.abort(verdict, "as the test wants it")
            return pb.BeforeConnectResp(msg=verdict or "")

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=pb.Question.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
