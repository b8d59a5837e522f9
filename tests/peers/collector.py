"""Receivers of OTLP: a gRPC server that keeps what it gets, and a collector from the outside world."""

import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import rotel
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service_grpc
from opentelemetry.proto.trace.v1 import trace_pb2 as pb
from processes import Program

PATIENCE = 10

Kind = pb.Span.SpanKind
ERROR = pb.Status.STATUS_CODE_ERROR


def value_of(value):
    """An attribute's value as Python has it."""
    return getattr(value, value.WhichOneof("value"))


def attributes(carrier):
    """The attributes of a span, an event or a resource; no key may come twice."""
    found = {}
    for attribute in carrier.attributes:
        assert attribute.key not in found, f"{attribute.key} comes twice"
        found[attribute.key] = value_of(attribute.value)
    return found


class Collector(service_grpc.TraceServiceServicer):
    """Takes spans on a port of its own. `answers`: an export waits until it is set."""

    def __init__(self, address="127.0.0.1:0", credentials=None):
        self.exports = []
        self.metadata = []
        self.answers = threading.Event()
        self.answers.set()
        self._changed = threading.Condition()
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        service_grpc.add_TraceServiceServicer_to_server(self, self._server)
        if credentials:
            port = self._server.add_secure_port(address, credentials)
        else:
            port = self._server.add_insecure_port(address)
        self.port = port
        self.url = f"{'https' if credentials else 'http'}://127.0.0.1:{port}"
        self._server.start()

    def stop(self):
        self.answers.set()
        self._server.stop(0).wait(PATIENCE)

    def Export(self, request, context):
        with self._changed:
            self.exports.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            self._changed.notify_all()
        self.answers.wait()
        return service_pb.ExportTraceServiceResponse()

    @property
    def resources(self):
        return [each.resource for export in self.exports for each in export.resource_spans]

    @property
    def spans(self):
        """Everything that came so far, in its order."""
        return [
            span
            for export in self.exports
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def wait(self, matches, count=1, timeout=PATIENCE):
        """The first `count` spans that match."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while len(found := [span for span in self.spans if matches(span)]) < count:
                left = deadline - time.monotonic()
                assert left > 0, f"{len(found)} of {count} spans came; all: {self.spans}"
                self._changed.wait(left)
        return found[:count]

    def wait_trace(self, trace_id, count, timeout=PATIENCE):
        """The spans of one trace by name, when there are as many."""
        spans = self.wait(lambda span: span.trace_id.hex() == trace_id, count, timeout)
        by_name = {span.name: span for span in spans}
        assert len(by_name) == count, spans
        return by_name


class Rotel(Program):
    """The collector of that name; it prints the spans that it gets."""

    def __init__(self, port, http_port):
        # Beside its package, of the environment that runs this.
        binary = Path(rotel.__file__).with_name("rotel-agent")
        listen = ["--otlp-grpc-endpoint", f"127.0.0.1:{port}", "--otlp-http-endpoint", f"127.0.0.1:{http_port}"]
        show = ["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]
        super().__init__([binary, "start", *show, *listen])
        self.wait_line(lambda line: "Starting Rotel" in line)
        self.url = f"http://127.0.0.1:{port}"
