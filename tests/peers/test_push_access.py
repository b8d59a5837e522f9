"""Who may use the Push API: tokens, certificates, and how they are renewed."""

import shutil
import socket

import credentials
import grpc
import pytest
from bridgehead.push.v1 import push_pb2 as pb
from configuration import PUSH, gateway_config
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from processes import eventually
from push_client import SERVICE, outcomes, push_request, status_of

OK, UNAUTHENTICATED = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
TOKENS = ["first-secret-token", "second-secret-token"]


@pytest.fixture(scope="module")
def gateway(share_gateway, services):
    """A gateway that asks for one of two tokens."""
    return share_gateway(gateway_config(services, push={**PUSH, "tokens": TOKENS}))


def push_to_nobody(backend):
    return status_of(lambda: backend.push(user_ids=["nobody"]))[0]


# Tokens.


@pytest.mark.parametrize("token", TOKENS)
def test_any_of_the_tokens_is_accepted(open_backend, connect, user, token):
    client = connect().log_in(user)
    backend = open_backend(token=token)
    assert outcomes(backend.push(user_ids=[user], data=b"x")) == ["WRITTEN"]
    assert client.receive_push().data == b"x"


def test_the_scheme_may_be_written_in_any_case(open_backend):
    backend = open_backend()
    backend.metadata = [("authorization", f"bEARER {TOKENS[0]}")]
    assert push_to_nobody(backend) == OK


WRONG = {
    "nothing": [],
    "another token": [("authorization", "Bearer another")],
    "the beginning of a token": [("authorization", f"Bearer {TOKENS[0][:-1]}")],
    "more than a token": [("authorization", f"Bearer {TOKENS[0]}x")],
    "two tokens": [("authorization", f"Bearer {TOKENS[0]},{TOKENS[1]}")],
    "a token in another case": [("authorization", f"Bearer {TOKENS[0].upper()}")],
    "another scheme": [("authorization", f"Basic {TOKENS[0]}")],
    "no scheme": [("authorization", TOKENS[0])],
    "no token": [("authorization", "Bearer ")],
    "nothing but the scheme": [("authorization", "Bearer")],
    "another header": [("x-token", TOKENS[0])],
    "bytes": [("authorization-bin", TOKENS[0].encode())],
}

METHODS = {
    "Push": lambda stub, **options: stub.Push(push_request(everyone=True, data=b"forged"), **options),
    "PushStream": lambda stub, **options: stub.PushStream(
        iter([push_request(everyone=True, data=b"forged")]), **options
    ),
    "Kick": lambda stub, **options: stub.Kick(pb.KickRequest(target=pb.Target(everyone=True)), **options),
    "ListSessions": lambda stub, **options: stub.ListSessions(pb.ListSessionsRequest(), **options),
    "WatchSessions": lambda stub, **options: stub.WatchSessions(pb.WatchSessionsRequest(), **options),
}


@pytest.mark.parametrize("method", METHODS)
def test_without_a_token_nothing_can_be_done(open_backend, connect, user, method):
    client = connect().log_in(user)
    stub = open_backend().stub
    for shown, metadata in WRONG.items():
        code, text = status_of(lambda: METHODS[method](stub, metadata=metadata, timeout=10))
        assert code == UNAUTHENTICATED, f"{shown}: {code}"
        assert not any(token in text for token in TOKENS)
    receipts = open_backend(token=TOKENS[0]).push(user_ids=[user], data=b"real")
    assert outcomes(receipts) == ["WRITTEN"]
    assert client.receive_push().data == b"real"


def test_health_is_open_to_everybody(open_backend):
    stub = health_pb2_grpc.HealthStub(open_backend().channel)
    for service in ("", SERVICE):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    unknown = lambda: stub.Check(health_pb2.HealthCheckRequest(service="x.Y"), timeout=10)  # noqa: E731
    assert status_of(unknown)[0] == grpc.StatusCode.NOT_FOUND


def reflect(backend, version, **request):
    call = backend.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    request = reflection_pb2.ServerReflectionRequest(**request)
    return call(iter([request]), timeout=10, metadata=backend.metadata)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_shows_the_api_to_those_with_a_token(open_backend, version):
    backend = open_backend(token=TOKENS[0])
    [answer] = reflect(backend, version, list_services="")
    assert SERVICE in [service.name for service in answer.list_services_response.service]
    [answer] = reflect(backend, version, file_containing_symbol=f"{SERVICE}.Push")
    assert answer.file_descriptor_response.file_descriptor_proto
    refused = status_of(lambda: reflect(open_backend(), version, list_services=""))
    assert refused[0] == UNAUTHENTICATED


def test_tokens_are_replaced_by_a_reload_and_calls_go_on(start_gateway, services, open_backend):
    def config(*tokens):
        return gateway_config(services, push={**PUSH, "tokens": list(tokens)})

    gateway = start_gateway(config("old-secret"))
    old, new = open_backend(gateway, token="old-secret"), open_backend(gateway, token="new-secret")
    watch = old.watch(snapshot=True)
    assert (push_to_nobody(old), push_to_nobody(new)) == (OK, UNAUTHENTICATED)
    gateway.write_config(config("old-secret", "new-secret"))
    eventually(lambda: push_to_nobody(new) == OK)
    assert push_to_nobody(old) == OK
    gateway.write_config(config("new-secret"))
    eventually(lambda: push_to_nobody(old) == UNAUTHENTICATED)
    assert push_to_nobody(new) == OK
    assert watch.is_active()
    # A door is not taken out by an edit.
    start = len(gateway.lines)
    gateway.write_config(config())
    gateway.wait_line(lambda line: "push" in line and "restart" in line, start=start)
    gateway.wait_line(lambda line: "configuration reloaded" in line, start=start)
    assert push_to_nobody(open_backend(gateway)) == UNAUTHENTICATED
    assert push_to_nobody(new) == OK


def test_tokens_are_never_logged(gateway, open_backend):
    """Not even at the level of debugging, and not those that were refused."""
    push_to_nobody(open_backend(token=TOKENS[1]))
    push_to_nobody(open_backend(token="a-wrong-secret"))
    text = "\n".join(gateway.lines)
    assert not any(secret in text for secret in [*TOKENS, "a-wrong-secret"])


# Certificates.


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Signs the gateway's certificate, and those of backends."""
    return credentials.Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Another authority, of the same name."""
    return credentials.Authority(tmp_path_factory.mktemp("stranger"))


def section(authority, directory, **others):
    """A push section with TLS that asks for certificates."""
    cert, key, serial = authority.issue("gateway")
    for file, name in ((cert, "push.crt"), (key, "push.key"), (authority.file, "callers.pem")):
        shutil.copy(file, directory / name)
    tls = {name: str(directory / file) for name, file in FILES.items()}
    return {**PUSH, "tls": tls, **others}, serial


FILES = {"cert": "push.crt", "key": "push.key", "client_ca": "callers.pem"}


def shown(authority, signer=None):
    """What a backend shows: a certificate of `signer`, or none."""
    if signer is None:
        return grpc.ssl_channel_credentials(authority.file.read_bytes())
    cert, key, _ = signer.issue("backend")
    return grpc.ssl_channel_credentials(authority.file.read_bytes(), key.read_bytes(), cert.read_bytes())


def test_a_backend_needs_a_certificate_of_the_right_authority(
    start_gateway, services, open_backend, connect, authority, stranger, tmp_path
):
    gateway = start_gateway(gateway_config(services, push=section(authority, tmp_path)[0]))
    client = connect(gateway).log_in("user")
    backend = open_backend(gateway, credentials=shown(authority, authority))
    assert outcomes(backend.push(user_ids=["user"], data=b"x")) == ["WRITTEN"]
    for credentials_shown in (shown(authority), shown(authority, stranger), None):
        refused = open_backend(gateway, credentials=credentials_shown)
        assert push_to_nobody(refused) == UNAVAILABLE
    assert outcomes(backend.push(user_ids=["user"], data=b"x")) == ["WRITTEN"]
    assert client.receive_push().data == b"x"


def test_a_token_and_a_certificate_can_both_be_wanted(
    start_gateway, services, open_backend, authority, tmp_path
):
    push, _ = section(authority, tmp_path, tokens=["secret"])
    gateway = start_gateway(gateway_config(services, push=push))

    def judged(signer, token):
        return push_to_nobody(open_backend(gateway, credentials=shown(authority, signer), token=token))

    assert judged(authority, "secret") == OK
    assert judged(authority, None) == UNAUTHENTICATED
    assert judged(authority, "wrong") == UNAUTHENTICATED
    assert judged(None, "secret") == UNAVAILABLE


def test_tls_without_client_certificates_goes_with_tokens(
    start_gateway, services, open_backend, authority, tmp_path
):
    push, _ = section(authority, tmp_path, tokens=["secret"])
    del push["tls"]["client_ca"]
    gateway = start_gateway(gateway_config(services, push=push))
    assert push_to_nobody(open_backend(gateway, credentials=shown(authority), token="secret")) == OK
    assert push_to_nobody(open_backend(gateway, credentials=shown(authority))) == UNAUTHENTICATED
    # A client of the wrong protocol, and one that says nothing.
    silent = socket.create_connection(gateway.push_address.rsplit(":", 1), 10)
    assert push_to_nobody(open_backend(gateway, token="secret")) == UNAVAILABLE
    assert push_to_nobody(open_backend(gateway, credentials=shown(authority), token="secret")) == OK
    silent.close()


def renew(directory, name, content):
    """As certificate renewers do: a file replaced in one step."""
    new = directory / f"{name}.new"
    new.write_bytes(content)
    new.replace(directory / name)


def served_serial(gateway, authority):
    """The serial number of the certificate that a new connection is shown."""
    context = authority.client_context()
    context.set_alpn_protocols(["h2"])
    cert, key, _ = authority.issue("looker")
    context.load_cert_chain(cert, key)
    host, port = gateway.push_address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 10) as sock:
        with context.wrap_socket(sock, server_hostname=host) as secured:
            assert secured.selected_alpn_protocol() == "h2"
            der = secured.getpeercert(binary_form=True)
            return x509.load_der_x509_certificate(der).serial_number


def test_certificates_are_renewed_and_calls_go_on(
    start_gateway, services, open_backend, authority, stranger, tmp_path
):
    push, serial = section(authority, tmp_path)
    gateway = start_gateway(gateway_config(services, push=push))
    old = open_backend(gateway, credentials=shown(authority, authority))
    watch = old.watch(snapshot=True)
    assert served_serial(gateway, authority) == serial
    cert, key, renewed = authority.issue("renewed")
    renew(tmp_path, "push.key", key.read_bytes())
    renew(tmp_path, "push.crt", cert.read_bytes())
    eventually(lambda: served_serial(gateway, authority) == renewed)
    # And whose certificates are asked for.
    newcomer = shown(authority, stranger)
    assert push_to_nobody(open_backend(gateway, credentials=newcomer)) == UNAVAILABLE
    renew(tmp_path, "callers.pem", authority.file.read_bytes() + stranger.file.read_bytes())
    eventually(lambda: push_to_nobody(open_backend(gateway, credentials=newcomer)) == OK)
    # A broken one changes nothing, and is complained of.
    start = len(gateway.lines)
    renew(tmp_path, "push.crt", b"no certificate")
    gateway.wait_line(lambda line: "ERROR" in line and "push.crt" in line, start=start)
    assert served_serial(gateway, authority) == renewed
    assert push_to_nobody(old) == OK
    assert watch.is_active()


# Configurations.

OPEN = {
    "plain": {},
    "plain, IPv6": {"listen": "[::]:0"},
    "encrypted": {"tls": {"cert": "push.crt", "key": "push.key"}},
}


@pytest.mark.parametrize("kind", OPEN)
def test_an_open_door_to_other_machines_is_refused(start_gateway, services, authority, tmp_path, kind):
    section(authority, tmp_path)
    push = {"listen": "0.0.0.0:0", **OPEN[kind]}
    if "tls" in push:
        push["tls"] = {name: str(tmp_path / file) for name, file in push["tls"].items()}
    gateway = start_gateway(gateway_config(services, push=push), wait=False)
    assert gateway.wait_exit() == 64
    assert "tokens" in gateway.tail() and "client_ca" in gateway.tail()


def test_with_tokens_other_machines_may_come(start_gateway, services, open_backend):
    push = {"listen": "0.0.0.0:0", "tokens": ["secret"]}
    gateway = start_gateway(gateway_config(services, push=push))
    address = gateway.push_address.replace("0.0.0.0", "127.0.0.1")
    assert push_to_nobody(open_backend(address, token="secret")) == OK
    assert push_to_nobody(open_backend(address)) == UNAUTHENTICATED


def test_a_certificate_that_does_not_exist_is_a_configuration_error(start_gateway, services):
    tls = {"cert": "nowhere.crt", "key": "nowhere.key"}
    gateway = start_gateway(gateway_config(services, push={**PUSH, "tls": tls}), wait=False)
    assert gateway.wait_exit() == 64
    assert "nowhere.crt" in gateway.tail()


def test_an_address_that_is_taken_is_said_so(start_gateway, services):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        gateway = start_gateway(gateway_config(services, push={"listen": listen}), wait=False)
        assert gateway.wait_exit() == 1
    assert listen in gateway.tail() and "push.listen" in gateway.tail()
