"""The services behind the gateway: grpcio, with server reflection, unaware of WebSockets.

Run as a program, in a process of its own, so that tests can kill it like any backend:

    python services.py --listen 127.0.0.1:0 --journal FILE

It prints one line of JSON, {"port": N}, once it serves. `Work` and `Look` write each id that they
execute to the journal before anything else, so the record outlives a kill.
"""

import argparse
import asyncio
import collections
import json
import os
import signal
import sys
from pathlib import Path

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "target" / "peers" / "gen"))

import probe_pb2 as pb  # noqa: E402

STATUS = {code.value[0]: code for code in grpc.StatusCode}


class Probe:
    """The handlers of probe.Probe and probe.Extra."""

    def __init__(self, instance, journal):
        self.instance = instance
        self.journal = journal
        self.groups = collections.defaultdict(pb.CountResp)
        self.begun = collections.defaultdict(asyncio.Event)

    async def echo(self, request, context):
        raw, _, rpc = request
        left = context.time_remaining()
        metadata = [
            pb.Metadata(key=key, value=value.encode() if isinstance(value, str) else value)
            for key, value in context.invocation_metadata()
        ]
        return pb.EchoResp(
            request=raw,
            metadata=metadata,
            timeout_ms=-1 if left is None else int(left * 1000),
            rpc=rpc,
            instance=self.instance,
        )

    async def fail(self, request, context):
        _, message, _ = request
        await context.abort(STATUS[message.status], message.text)

    async def judge(self, request, _context):
        _, message, _ = request
        answer = pb.JudgeResp(text=message.text)
        if not message.silent:
            answer.commonResp.code = message.code
            answer.commonResp.data = message.data
            if message.HasField("msg"):
                answer.commonResp.msg = message.msg
        return answer

    async def work(self, request, _context):
        _, message, _ = request
        os.write(self.journal, f"{message.id}\n".encode())
        group = self.groups[message.group]
        group.executed += 1
        group.executing += 1
        group.peak = max(group.peak, group.executing)
        self.begun[message.id].set()
        try:
            if message.wait_for:
                await self.begun[message.wait_for].wait()
            await asyncio.sleep(message.millis / 1000)
        except asyncio.CancelledError:
            group.cancelled += 1
            raise
        finally:
            group.executing -= 1
        padding = b"x" * message.answer_bytes
        return pb.WorkResp(id=message.id, instance=self.instance, padding=padding)

    async def count(self, request, _context):
        _, message, _ = request
        return self.groups[message.group]

    async def watch(self, request, _context):
        _, message, _ = request
        yield self.groups[message.group]

    async def before_connect(self, request, context):
        """Accepts a token that repeats everything else it was told; obeys a few others.

        It refuses with a text, and mostly with code 0, as many services do."""
        _, message, _ = request
        param = message.connParam
        if param.token == "unavailable":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the judge is away")
        if param.token == "slow":
            await asyncio.sleep(30)
        expected = f"{param.userId}/{param.platform}/{param.deviceId}/{param.ips}"
        if param.token == "seven":
            return pb.BeforeConnectResp(code=7, msg="seven")
        if param.token == "anybody's" or param.token == expected:
            return pb.BeforeConnectResp()
        return pb.BeforeConnectResp(msg=f"not the token of {param.userId}")

    async def stream(self, request, context):
        yield await self.echo(request, context)


def unary(service, name, request_type, handler):
    """A method whose handler sees the request's bytes, the message, and the method's name."""
    rpc = f"{service}/{name}"
    return grpc.unary_unary_rpc_method_handler(
        handler,
        request_deserializer=lambda raw: (raw, request_type.FromString(raw), rpc),
        response_serializer=lambda message: message.SerializeToString(),
    )


def server_stream(service, name, request_type, handler):
    rpc = f"{service}/{name}"
    return grpc.unary_stream_rpc_method_handler(
        handler,
        request_deserializer=lambda raw: (raw, request_type.FromString(raw), rpc),
        response_serializer=lambda message: message.SerializeToString(),
    )


def handlers(probe):
    first, extra = "probe.Probe", "probe.Extra"
    return [
        grpc.method_handlers_generic_handler(
            first,
            {
                "Echo": unary(first, "Echo", pb.EchoReq, probe.echo),
                "EchoSnake": unary(first, "EchoSnake", pb.EchoSnakeReq, probe.echo),
                "EchoBare": unary(first, "EchoBare", pb.EchoBareReq, probe.echo),
                "EchoNumbers": unary(first, "EchoNumbers", pb.EchoNumbersReq, probe.echo),
                "EchoBatch": unary(first, "EchoBatch", pb.EchoBatchReq, probe.echo),
                "Fail": unary(first, "Fail", pb.FailReq, probe.fail),
                "Judge": unary(first, "Judge", pb.JudgeReq, probe.judge),
                "Work": unary(first, "Work", pb.WorkReq, probe.work),
                "Look": unary(first, "Look", pb.WorkReq, probe.work),
                "Count": unary(first, "Count", pb.CountReq, probe.count),
                "BeforeConnect": unary(
                    first, "BeforeConnect", pb.BeforeConnectReq, probe.before_connect
                ),
                "Watch": server_stream(first, "Watch", pb.CountReq, probe.watch),
            },
        ),
        grpc.method_handlers_generic_handler(
            extra,
            {
                "First": unary(extra, "First", pb.EchoBareReq, probe.echo),
                "Second": unary(extra, "Second", pb.EchoBareReq, probe.echo),
                "Stream": server_stream(extra, "Stream", pb.EchoBareReq, probe.stream),
            },
        ),
    ]


def reflect(server, version):
    """Turns reflection on. grpcio knows only v1alpha; v1 has the same messages."""
    services = ["probe.Probe", "probe.Extra"]
    if version == "v1alpha":
        reflection.enable_server_reflection([*services, reflection.SERVICE_NAME], server)
    elif version == "v1":
        servicer = reflection.aio.ReflectionServicer([*services, "grpc.reflection.v1.ServerReflection"])
        handler = grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers([
            grpc.method_handlers_generic_handler(
                "grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": handler}
            )
        ])


def credentials(args):
    client_ca = args.client_ca.read_bytes() if args.client_ca else None
    return grpc.ssl_server_credentials(
        [(args.tls_key.read_bytes(), args.tls_cert.read_bytes())],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )


class Guard(grpc.aio.ServerInterceptor):
    """Refuses calls without the key, and calls with a client's token."""

    def __init__(self, key):
        self.key = key

    async def intercept_service(self, continuation, call):
        metadata = dict(call.invocation_metadata)
        handler = await continuation(call)
        if metadata.get("x-api-key") == self.key and (
            "authorization" not in metadata or call.method == "/probe.Probe/Echo"
        ):
            return handler

        async def refuse(_request, context):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the api key is missing")

        if handler is not None and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(refuse)
        return grpc.unary_unary_rpc_method_handler(refuse)


async def serve(args):
    journal = os.open(args.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    guards = [Guard(args.api_key)] if args.api_key else []
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)], interceptors=guards)
    server.add_generic_rpc_handlers(handlers(Probe(args.instance, journal)))
    reflect(server, args.reflection)
    if args.tls_cert:
        port = server.add_secure_port(args.listen, credentials(args))
    else:
        port = server.add_insecure_port(args.listen)
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(json.dumps({"port": port}), flush=True)
    await stop.wait()
    await server.stop(grace=None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", default="127.0.0.1:0", help="host:port, or unix:/path")
    parser.add_argument("--instance", default="one", help="the name it gives itself in answers")
    parser.add_argument("--journal", type=Path, default=Path(os.devnull))
    parser.add_argument("--reflection", choices=["v1", "v1alpha", "none"], default="v1alpha")
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--client-ca", type=Path, help="clients must show a certificate of it")
    parser.add_argument("--api-key", help="calls must carry it as x-api-key")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
