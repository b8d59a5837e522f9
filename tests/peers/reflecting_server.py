"""A gRPC server whose files, and whose habits of telling them, are the test's: grpcio, in its own process."""

from concurrent import futures
from pathlib import Path

import grpc
import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_tools import protoc

# The files under google/protobuf/, as grpcio-tools bring them.
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"

V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
V1 = "grpc.reflection.v1.ServerReflection"


def compile_set(folder, files, wanted, include_imports=True):
    """Compiles proto files, given as texts by name, to a serialized FileDescriptorSet."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    out = folder / "set.binpb"
    imports = ["--include_imports"] if include_imports else []
    arguments = [f"-I{folder}", f"-I{WELL_KNOWN}", f"--descriptor_set_out={out}", *imports, *wanted]
    assert protoc.main(["protoc", *arguments]) == 0
    return out.read_bytes()


class ReflectingServer:
    """Tells the files of a set but for those that it `lacks`, and answers every method with the request."""

    def __init__(self, descriptor_set, services, lacks=(), code=grpc.StatusCode.NOT_FOUND, versions=(V1ALPHA,), refuses=()):
        files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file
        self.files = {file.name: file for file in files if file.name not in lacks}
        self.services, self.code, self.refuses = services, code, refuses
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
        for version in versions:
            self._server.add_generic_rpc_handlers([self._reflection(version)])
        self._server.add_generic_rpc_handlers([self._echo()])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        self._server.stop(None).wait()

    def _echo(self):
        class Echo(grpc.GenericRpcHandler):
            def service(self, details):
                if details.method.lstrip("/").startswith("grpc.reflection."):
                    return None
                return grpc.unary_unary_rpc_method_handler(lambda raw, _context: raw)

        return Echo()

    def _reflection(self, version):
        def converse(questions, context):
            if version in self.refuses:
                context.abort(self.code, "not this version")
            for question in questions:
                yield self._answer(question)

        handler = grpc.stream_stream_rpc_method_handler(
            converse,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(version, {"ServerReflectionInfo": handler})

    def _answer(self, question):
        answer = reflection_pb2.ServerReflectionResponse()
        if question.WhichOneof("message_request") == "list_services":
            for name in self.services:
                answer.list_services_response.service.add(name=name)
            return answer
        file = self.files.get(question.file_by_filename)
        for known in self.files.values():
            if question.file_containing_symbol in [f"{known.package}.{service.name}" for service in known.service]:
                file = known
        if file is None:
            answer.error_response.error_code = self.code.value[0]
            answer.error_response.error_message = "no such file"
        else:
            answer.file_descriptor_response.file_descriptor_proto.append(file.SerializeToString())
        return answer
