"""Files of keys, certificates and tokens that cannot be used: what is wrong is said, and nothing of
what is in them; when the gateway starts, when its configuration is checked, and when files change
while it is at work.

Which files there are is taken from the JSON Schema of routes.yaml: whoever adds a key for a file adds
it to `GOOD` as well.
"""

import base64
import json
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import credentials
import grpc
import probe_pb2
import pytest
from configuration import gateway_config
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from google.protobuf import descriptor_pb2
from processes import Gateway, eventually

PEM = serialization.Encoding.PEM
NO_PASSWORD = serialization.NoEncryption()
PASSWORD = serialization.BestAvailableEncryption(b"passphrase")
MARKER = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]*?(KEY|CERTIFICATE|JWT|SEED)|SECRET)-*")


def pem_of(key, form=credentials.PKCS8, encryption=NO_PASSWORD):
    return key.private_bytes(PEM, form, encryption)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Good files of each kind, by what they are."""
    authority = credentials.Authority(tmp_path_factory.mktemp("authority"))
    cert, key, _ = authority.issue("gateway")
    session = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
    creds = (
        "-----BEGIN NATS USER JWT-----\neyJhbGciOiJlZDI1NTE5In0.eyJzdWIiOiJVIn0.c2lnbmF0dXJl\n"
        f"------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n"
        "------END USER NKEY SEED------\n"
    )
    descriptors = serialized_descriptors()
    public = session.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {
        "certificate": cert.read_bytes(),
        "key": key.read_bytes(),
        "authorities": authority.file.read_bytes(),
        "rsa key": pem_of(session),
        "public key": public,
        "credentials": creds.encode(),
        "token": b"a-token-that-nobody-knows\n",
        "secret": b"kq7Vt0wXr2LmZ9sYc4Hd8NfGb1JpEuA6\n",
        "descriptors": descriptors,
    }


def serialized_descriptors():
    found = descriptor_pb2.FileDescriptorSet()

    def add(file):
        if file.name not in {one.name for one in found.file}:
            for dependency in file.dependencies:
                add(dependency)
            file.CopyToProto(found.file.add())

    add(probe_pb2.DESCRIPTOR)
    return found.SerializeToString()


# Every key of routes.yaml that names a file, and what has to be in it. `*` is a name of the
# operator's choice, `[]` an item of a list.
GOOD = {
    "edge.tls.cert": "certificate",
    "edge.tls.key": "key",
    "session.private_key": "rsa key",
    "auth.jwt.keys": "public key",
    "auth.jwt.secret": "secret",
    "auth.jwt.ca": "authorities",
    "upstreams.*.descriptors[]": "descriptors",
    "upstreams.*.tls.ca": "authorities",
    "upstreams.*.tls.cert": "certificate",
    "upstreams.*.tls.key": "key",
    "upstreams.*.metadata.set.*.file": "token",
    "push.tokens[].token_file": "token",
    "push.tls.cert": "certificate",
    "push.tls.key": "key",
    "push.tls.client_ca": "authorities",
    "cluster.credentials": "credentials",
    "cluster.tls.ca": "authorities",
    "cluster.tls.cert": "certificate",
    "cluster.tls.key": "key",
    "tracing.tls.ca": "authorities",
    "tracing.tls.cert": "certificate",
    "tracing.tls.key": "key",
}

# Files that are not for keys, certificates or tokens are public.
KEYS = [path for path, kind in GOOD.items() if kind in ("key", "rsa key")]


def files_in(schema, root=None, path=""):
    """The keys of a schema that name files."""
    root = root or schema
    if "$ref" in schema:
        yield from files_in(at(root, schema["$ref"]), root, path)
    # No other text has this pattern.
    if schema.get("pattern") == r"^[^\u0000]+$":
        yield path
    for kind in [*schema.get("anyOf", []), *schema.get("oneOf", [])]:
        yield from files_in(kind, root, path)
    for key, below in schema.get("properties", {}).items():
        yield from files_in(below, root, f"{path}.{key}".lstrip("."))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from files_in(schema["additionalProperties"], root, f"{path}.*")
    if "items" in schema:
        yield from files_in(schema["items"], root, f"{path}[]")


def at(root, reference):
    for step in reference.removeprefix("#/").split("/"):
        root = root[step]
    return root


def test_every_key_that_names_a_file_is_tried(binary):
    schema = json.loads(subprocess.run([binary, "schema"], capture_output=True, check=True).stdout)
    assert set(files_in(schema)) == set(GOOD)


def name_of(path):
    return re.sub(r"[^a-z_]+", "-", path)


# Of these a configuration has one.
JUDGES = ["auth.jwt.keys", "auth.jwt.secret", "auth.jwt.ca"]


def config(path=None):
    """A configuration with all of the files; with the one of `path`, where only one of several can be.
    Nothing that it names is asked for anything."""
    file = {path: name_of(path) for path in GOOD}
    jwt = {
        "auth.jwt.secret": {"secret": file["auth.jwt.secret"]},
        "auth.jwt.ca": {"keys": "https://127.0.0.1:1/jwks.json", "ca": file["auth.jwt.ca"]},
    }.get(path, {"keys": file["auth.jwt.keys"]})
    tls = {"cert": file["push.tls.cert"], "key": file["push.tls.key"]}
    nobody = "https://127.0.0.1:1"
    upstream = {
        name: file[f"upstreams.*.tls.{name}"] for name in ("ca", "cert", "key")
    }
    key_file = {"file": file["upstreams.*.metadata.set.*.file"]}
    return {
        "edge": {
            "listen": "127.0.0.1:0",
            "tls": {"cert": file["edge.tls.cert"], "key": file["edge.tls.key"]},
        },
        "session": {"private_key": file["session.private_key"]},
        "auth": {"jwt": jwt},
        "upstreams": {
            "secured": {"address": nobody, "tls": upstream},
            "described": {
                "address": nobody,
                "descriptors": [file["upstreams.*.descriptors[]"]],
                "routes": {"/v1/echo": "probe.Probe/Echo"},
            },
            "keyed": {"address": nobody, "metadata": {"set": {"x-api-key": key_file}}},
        },
        "push": {
            "listen": "127.0.0.1:0",
            "tokens": [{"token_file": file["push.tokens[].token_file"]}],
            "tls": {**tls, "client_ca": file["push.tls.client_ca"]},
        },
        "cluster": {
            "nats": "nats://127.0.0.1:1",
            "credentials": file["cluster.credentials"],
            "tls": {name: file[f"cluster.tls.{name}"] for name in ("ca", "cert", "key")},
        },
        "tracing": {
            "otlp": nobody,
            "tls": {name: file[f"tracing.tls.{name}"] for name in ("ca", "cert", "key")},
        },
        "drain": {"delay": "0s", "period": "0s"},
    }


def write_good(directory, made, path=None):
    directory.mkdir()
    for name, kind in GOOD.items():
        (directory / name_of(name)).write_bytes(made[kind])
    (directory / "routes.yaml").write_text(json.dumps(config(path)))
    return directory


def labelled(pem, begin, end=None):
    """The same section with other labels."""
    pem = re.sub(rb"BEGIN [A-Z ]+-", b"BEGIN " + begin + b"-", pem)
    return re.sub(rb"END [A-Z ]+-", b"END " + (end or begin) + b"-", pem)


def body_of(pem):
    return b"".join(line for line in pem.splitlines() if not line.startswith(b"-"))


def without_line(pem, number):
    lines = pem.splitlines()
    del lines[number]
    return b"\n".join(lines) + b"\n"


def jwk_of(key):
    number = base64.urlsafe_b64encode(key.private_numbers().d.to_bytes(256, "big")).decode()
    return json.dumps({"keys": [{"kty": number, "d": number}, number], "n": number}).encode()


def pkcs12_of(key):
    return pkcs12.serialize_key_and_certificates(b"name", key, None, None, NO_PASSWORD)


# What becomes of a good file, and of a private key that has no business there.
BROKEN = {
    "written line breaks": lambda good, key: good.strip().replace(b"\n", b"\\n"),
    "a key with written line breaks": lambda good, key: pem_of(key).replace(b"\n", b"\\n"),
    "a key with written line breaks of Windows": lambda good, key: pem_of(key).replace(b"\n", b"\\r\\n"),
    "spaces": lambda good, key: good.strip().replace(b"\n", b" "),
    "a key with spaces": lambda good, key: pem_of(key).replace(b"\n", b" "),
    "a key all in one": lambda good, key: pem_of(key).replace(b"\n", b""),
    "a key whose first line break is lost": lambda good, key: pem_of(key).replace(b"\n", b"", 1),
    "a key whose last line break is lost": lambda good, key: pem_of(key).replace(b"\n-----E", b"-----E"),
    "a key whose label runs on": lambda good, key: pem_of(key).replace(b"KEY-----\nMII", b"KEYMII"),
    "a key in quotes": lambda good, key: b'"' + pem_of(key).replace(b"\n", b"\\n") + b'"',
    "a key behind a key": lambda good, key: b"tls.key: " + pem_of(key),
    "UTF-16": lambda good, key: b"\xff\xfe" + pem_of(key).decode().encode("utf-16-le"),
    "UTF-16 the other way round": lambda good, key: b"\xfe\xff" + pem_of(key).decode().encode("utf-16-be"),
    "nothing": lambda good, key: b"",
    "nothing but a mark": lambda good, key: b"\xef\xbb\xbf\n",
    "DER": lambda good, key: key.private_bytes(serialization.Encoding.DER, credentials.PKCS8, NO_PASSWORD),
    "PKCS#12": lambda good, key: pkcs12_of(key),
    "half": lambda good, key: good[: len(good) // 2],
    "half a key": lambda good, key: pem_of(key)[:900],
    "a key with a line missing": lambda good, key: without_line(pem_of(key), 20),
    "a key with its last line missing": lambda good, key: without_line(pem_of(key), -2),
    "a key with a wrong character": lambda good, key: pem_of(key).replace(b"\nA", b"\n!", 1).replace(b"\nM", b"\n?"),
    "a key that ends as another": lambda good, key: labelled(pem_of(key), b"PRIVATE KEY", b"PUBLIC KEY"),
    "a key of another label": lambda good, key: labelled(pem_of(key), b"RSA PRIVATE KEY"),
    "a key labelled a certificate": lambda good, key: labelled(pem_of(key), b"CERTIFICATE"),
    "a key of a label that nobody knows": lambda good, key: labelled(pem_of(key), b"SECRET"),
    "encrypted": lambda good, key: pem_of(key, encryption=PASSWORD),
    "encrypted as of old": lambda good, key: pem_of(key, credentials.PKCS1, PASSWORD),
    "OpenSSH": lambda good, key: pem_of(key, serialization.PrivateFormat.OpenSSH),
    "another key": lambda good, key: pem_of(key),
    "an EC key": lambda good, key: pem_of(ec.generate_private_key(ec.SECP256R1())),
    "two keys": lambda good, key: pem_of(key) + pem_of(ec.generate_private_key(ec.SECP256R1())),
    "base64 alone": lambda good, key: body_of(pem_of(key)),
    "JSON": lambda good, key: jwk_of(key),
    "binary": lambda good, key: bytes(range(128, 256)) * 4,
}

# Of these a private key is what is needed; what has to be said then.
SAID = {
    "written line breaks": r"line breaks are written as `\n`",
    "a key in quotes": r"line breaks are written as `\n`",
    "spaces": "line breaks are lost",
    "a key all in one": "line breaks are lost",
    "a key whose first line break is lost": "line breaks are lost",
    "a key whose last line break is lost": "line breaks are lost",
    "a key behind a key": "has something else in it",
    "UTF-16": "UTF-16",
    "UTF-16 the other way round": "UTF-16",
    "nothing": "is empty",
    "nothing but a mark": "is empty",
    "DER": "is DER, not PEM",
    "PKCS#12": "PKCS#12",
    "half": "no `-----END",
    "a key with its last line missing": "is cut off",
    "a key with a wrong character": "not base64",
    "a key that ends as another": "begins as `PRIVATE KEY` and ends as `PUBLIC KEY`",
    "a key of another label": "is `PRIVATE KEY`",
    "a key labelled a certificate": "holds a certificate",
    "encrypted": "encrypted with a passphrase",
    "encrypted as of old": "encrypted with a passphrase",
    "OpenSSH": "OpenSSH",
    "two keys": "holds 2 private keys",
    "base64 alone": "base64 text only",
    "JSON": "is JSON",
    "binary": "is binary",
}


@pytest.fixture(scope="module")
def stray():
    """A key that is in the wrong place, or broken."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def source(made, path, stray):
    """What is broken: descriptors are no secret, but a key in their place is."""
    return pem_of(stray) if GOOD[path] == "descriptors" else made[GOOD[path]]


def secrets_of(file):
    """What of a file nobody may see: all but the lines of PEM, and the lines alone of UTF-16 and JSON."""
    if file.startswith((b"\xff\xfe", b"\xfe\xff")):
        return [*secrets_of(file.decode("utf-16").encode()), file]
    if file.startswith(b"{"):
        return [part.encode() for part in re.findall(r"[A-Za-z0-9_-]{20,}", file.decode())]
    return MARKER.sub(b"\n", file).splitlines() if b"-----" in file else [file]


RUN = 8


def windows(data, size=RUN):
    return {data[start : start + size] for start in range(len(data) - size + 1)}


def numbers_in(text):
    """What lists of decimal numbers stand for."""
    numbers = (int(number) for number in re.findall(r"\d+", text))
    return bytes(number if number < 256 else 0 for number in numbers)


def assert_hidden(said, file):
    """Nothing of a file was said: no eight bytes, as text, in hex, in decimal or in base64."""
    runs = set().union(*(windows(secret.strip()) for secret in secrets_of(file)))
    digits = re.sub("[ :,]|0x", "", said.lower())
    # The ten characters that eight bytes alone decide, wherever they stand.
    encoded = {
        base64.b64encode(bytes(shift) + run)[first : first + 10]: run
        for run in runs
        for shift, first in ((0, 0), (1, 2), (2, 3))
    }
    found = {
        "text": windows(said.encode()) & runs,
        "hex": windows(digits, 2 * RUN) & {run.hex() for run in runs},
        "decimal": windows(numbers_in(said)) & runs,
        "base64": windows(said.encode(), 10) & encoded.keys(),
    }
    assert not any(found.values()), f"{found} in:\n{said}"


def test_a_leak_would_be_found():
    """The forms that a parser's errors have."""
    secret = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
    body = b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
    for leak in [
        "x QIBADANB x",
        str(list(body[4:20])),
        body[3:13].hex(),
        body[3:13].hex().upper(),
        body[3:13].hex(" "),
        base64.b64encode(body[5:]).decode(),
        base64.b64encode(b"x" + body[5:]).decode(),
        base64.b64encode(b"xx" + body[5:]).decode(),
    ]:
        with pytest.raises(AssertionError):
            assert_hidden(f"error: {leak}\n", secret)
    assert_hidden("error: `tls.key`: its line breaks are lost\n", secret)


def run(command, directory, timeout=20):
    """What a command says, and its exit code."""
    done = subprocess.run(
        command, cwd=directory, capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    return (done.stdout + done.stderr).decode(errors="replace"), done.returncode


def check(binary, directory):
    return run([binary, "check", "--offline"], directory)


def start(binary, directory):
    """What is said at the start; a gateway that can start is stopped."""
    process = subprocess.Popen(
        [binary, "serve", "--workers", "1"], cwd=directory, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said = []
    for line in process.stdout:
        said.append(line.decode(errors="replace"))
        if "listening" in said[-1] and "path" in said[-1]:
            process.kill()
    process.wait(20)
    return "".join(said), process.returncode


@pytest.mark.parametrize("path", JUDGES)
def test_the_good_files_are_good(binary, made, tmp_path, path):
    directory = write_good(tmp_path / "good", made, path)
    said, code = check(binary, directory)
    assert code == 0, said
    said, _ = start(binary, directory)
    assert "listening" in said, said


@pytest.mark.parametrize("path", GOOD)
def test_a_file_that_cannot_be_used_is_explained_without_its_bytes(binary, made, stray, tmp_path, path):
    """At the start and at `check`."""

    def try_one(item):
        number, (name, breaks) = item
        directory = write_good(tmp_path / str(number), made, path)
        file = breaks(source(made, path, stray), stray)
        (directory / name_of(path)).write_bytes(file)
        return name, file, check(binary, directory), start(binary, directory)

    with ThreadPoolExecutor(2) as pool:
        for name, file, checked, started in pool.map(try_one, enumerate(BROKEN.items())):
            for said, code in (checked, started):
                assert_hidden(said, file)
                assert "panicked" not in said, said
                if path in KEYS and name in SAID:
                    assert code not in (0, -9), f"{name}: {said}"
                    assert SAID[name] in said and name_of(path) in said, f"{name}: {said}"


# Files that are looked at whatever is wrong with those of other roles.
ROLES = {
    "key": [path for path in GOOD if path.endswith("key")],
    "certificate": [path for path in GOOD if path.endswith(".cert")],
    "authorities": [path for path in GOOD if path.endswith("ca")],
}
ROLES["other"] = sorted(set(GOOD) - {path for paths in ROLES.values() for path in paths})
# The others are read again after a restart only.
READ_AGAIN = [path for path in ROLES["key"] if path.startswith(("edge", "push", "cluster", "upstreams"))]


@pytest.mark.parametrize("log, judge", [("text", JUDGES[0]), ("json", JUDGES[0]), ("json", JUDGES[1]), ("text", JUDGES[2])])
def test_a_file_that_breaks_in_a_running_gateway_is_explained_without_its_bytes(
    binary, made, stray, tmp_path, log, judge
):
    directory = write_good(tmp_path / "gateway", made, judge)
    gateway = Gateway(binary, directory, {**config(judge), "log": {"format": log, "level": "trace"}})
    try:
        gateway.wait_line(lambda line: "listening" in line and "path" in line)
        # The others have been tried beside the first.
        roles = ROLES if judge == JUDGES[0] else {"judge": [judge]}
        for role, paths in roles.items():
            for name, breaks in BROKEN.items():
                begin = len(gateway.lines)
                for path in paths:
                    (directory / name_of(path)).write_bytes(breaks(source(made, path, stray), stray))
                wait_reload(gateway, begin)
                said = "\n".join(gateway.lines[begin:])
                for path in paths:
                    assert_hidden(said, (directory / name_of(path)).read_bytes())
                for path in READ_AGAIN if role == "key" and name in SAID else []:
                    wanted = json.dumps(SAID[name])[1:-1] if log == "json" else SAID[name]
                    assert any(
                        name_of(path) in line and wanted in line for line in gateway.lines[begin:]
                    ), f"{name}: {path}: {said}"
            # What is good again is taken.
            begin = len(gateway.lines)
            for path in paths:
                (directory / name_of(path)).write_bytes(made[GOOD[path]])
            gateway.wait_line(lambda line: "configuration reloaded" in line, start=begin)
        assert "panicked" not in "\n".join(gateway.lines)
    finally:
        gateway.kill()


def wait_reload(gateway, begin):
    """Waits for a reload that began after all was written: the second of two, since the watcher may
    have looked in between."""
    ends = ("the previous configuration stays in use", "configuration reloaded")
    for _ in range(2):
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_line(lambda line: any(end in line for end in ends), start=begin)
        begin = len(gateway.lines)


@pytest.mark.parametrize("path", [path for path in GOOD if GOOD[path] != "descriptors"])
def test_a_byte_order_mark_is_skipped(binary, made, tmp_path, path):
    directory = write_good(tmp_path / "marked", made, path)
    file = directory / name_of(path)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    said, code = check(binary, directory)
    assert code == 0, said


def test_a_key_of_another_certificate_is_told(binary, made, stray, tmp_path):
    for path in ("edge.tls.key", "push.tls.key", "upstreams.*.tls.key", "cluster.tls.key", "tracing.tls.key"):
        directory = write_good(tmp_path / name_of(path), made)
        (directory / name_of(path)).write_bytes(pem_of(stray))
        said, code = check(binary, directory)
        assert code != 0 and "does not belong to the certificate" in said, said


# Arguments that name files.


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_arguments_name_are_not_shown_either(binary, stray, tmp_path, name):
    file = tmp_path / "stray.pem"
    file.write_bytes(BROKEN[name](pem_of(stray), stray))
    good = tmp_path / "good.pem"
    good.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1())))
    push = ["sessions", "--push-url", "https://127.0.0.1:1", "--timeout", "1s"]
    for arguments in (
        ["call", "/x", "--url", "wss://127.0.0.1:1/ws", "--ca", file],
        ["call", "/x", "--encrypt", file],
        [*push, "--ca", file],
        [*push, "--cert", file, "--key", file],
    ):
        said, code = run([binary, *arguments], tmp_path)
        assert code != 0
        assert_hidden(said, file.read_bytes())


# Secrets in routes.yaml itself.


def test_a_key_in_the_place_of_its_files_name_is_not_shown(binary, stray, made, tmp_path):
    directory = write_good(tmp_path / "inline", made)
    pem = pem_of(stray)
    for text in (pem.decode(), pem.decode().replace("\n", " ")):
        for place in (
            {"session": {"private_key": text}},
            {"session": {"private_key": "${KEY}"}},
            {"session": {"private_key": text, "odd": 1}, "push": {"tokens": [text], "odd": 1}},
            {"cluster": {"nats": f"nats://{text}@nats:4222"}},
        ):
            (directory / "routes.yaml").write_text(json.dumps({**config(), **place}, indent=1))
            done = subprocess.run(
                [binary, "check"], cwd=directory, capture_output=True, env={**os.environ, "KEY": text}
            )
            said = (done.stdout + done.stderr).decode()
            assert done.returncode != 0
            assert_hidden(said, pem)
        # And where it is no YAML any more.
        (directory / "routes.yaml").write_text(f"session:\n  private_key: |\n{text}\nedge: [\n")
        said, code = check(binary, directory)
        assert code != 0
        assert_hidden(said, pem)


# Tokens and keys of files, while the gateway is at work.


def test_a_push_token_is_read_again_when_its_file_changes(start_gateway, open_backend, services, tmp_path):
    token = tmp_path / "push.token"
    token.write_text("first-token\n")
    push = {"listen": "127.0.0.1:0", "tokens": ["literal-token", {"token_file": str(token)}]}
    gateway = start_gateway(gateway_config(services, push=push))

    def is_known(text):
        return is_let_in(open_backend(gateway, token=text))

    assert is_known("first-token") and is_known("literal-token") and not is_known("second-token")
    token.write_text("second-token")
    eventually(lambda: is_known("second-token"))
    assert not is_known("first-token") and is_known("literal-token")
    # A file that cannot be used changes nothing, and neither does the rest of the configuration then.
    begin = len(gateway.lines)
    token.write_text("\n")
    gateway.wait_line(lambda line: "new tokens are refused" in line and "is empty" in line, start=begin)
    gateway.wait_line(lambda line: "the previous configuration stays in use" in line, start=begin)
    assert is_known("second-token") and not is_known("")
    # A token is let in whatever else is wrong with the configuration.
    gateway.write_config({**gateway.config, "nonsense": 1})
    gateway.wait_line(lambda line: "nonsense" in line, start=begin)
    token.write_text("third-token\r\n")
    eventually(lambda: is_known("third-token"))


def is_let_in(backend):
    try:
        backend.sessions()
        return True
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
        return False


def test_an_empty_token_file_is_refused_at_the_start(binary, made, tmp_path):
    directory = write_good(tmp_path / "empty", made)
    for text in ("", "\n", " \r\n"):
        (directory / name_of("push.tokens[].token_file")).write_text(text)
        said, code = check(binary, directory)
        assert code != 0 and "the file is empty" in said, said
