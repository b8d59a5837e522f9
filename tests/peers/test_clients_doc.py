"""docs/clients.md: its vectors, tables and bounds against the real gateway, and its client."""

import hashlib
import re
import signal

import documents
import pytest
from bridgehead.session.v1 import session_pb2 as pb
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from configuration import gateway_config
from processes import ROOT
from session_client import Code, cxn_params

TEXT = (ROOT / "docs" / "clients.md").read_text()
BLOCKS = documents.blocks(TEXT)
PRIVATE_KEY = ROOT / "tests" / "fixtures" / "session" / "session.pem"
KEY_STRING, IV_STRING = b"bridgehead-key-seed", b"bridgehead-iv-seed"


def section(heading):
    return TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def table(text, columns):
    """The rows of the first table with so many columns, without its head."""
    rows = re.findall(rf"^\|((?:[^|\n]*\|){{{columns}}})$", text, re.MULTILINE)
    return [[cell.strip() for cell in row.rstrip("|").split("|")] for row in rows[2:]]


def steps_of_the_frame():
    return [re.findall(r"`([0-9a-f]+)`", row[1])[0] for row in table(section("Encryption"), 2)]


def secrets():
    """aesKey and aesIv."""
    [block] = [block for block in BLOCKS if block.text.startswith("aesKey\n")]
    key, iv = block.text.split("\n\n")
    return bytes.fromhex("".join(key.split("\n")[1:])), bytes.fromhex("".join(iv.split("\n")[1:]))


def seal(key, iv, plain):
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


# Vectors.


def test_the_frame_is_what_each_step_says():
    key, iv, request, padded, frame, answer, answered = steps_of_the_frame()
    assert key == hashlib.md5(KEY_STRING).hexdigest()
    assert iv == hashlib.md5(IV_STRING).hexdigest()[8:24]
    body = pb.RequestBody(reqId="1", method="/v1/conn/keepAlive")
    assert body.SerializeToString().hex() == request
    assert padded.startswith(request) and len(padded) == 64
    assert seal(key.encode(), iv.encode(), bytes.fromhex(request)).hex() == frame
    assert seal(key.encode(), iv.encode(), bytes.fromhex(answered)).hex() == answer


def test_the_wrapped_strings_decrypt_under_the_key_that_is_shown():
    private = serialization.load_pem_private_key(PRIVATE_KEY.read_bytes(), None)
    shown = next(block.text for block in BLOCKS if "BEGIN PUBLIC KEY" in block.text)
    public = serialization.load_pem_public_key(shown.encode())
    assert private.public_key().public_numbers() == public.public_numbers()
    assert [private.decrypt(wrapped, rsa_padding.PKCS1v15()) for wrapped in secrets()] == [KEY_STRING, IV_STRING]


def test_the_gateway_answers_the_frame_with_the_answer(start_gateway, connect, services):
    gateway = start_gateway(gateway_config(services, session={"private_key": str(PRIVATE_KEY)}))
    client = connect(gateway).wait_connected()
    aes_key, aes_iv = secrets()
    client.send("/v1/conn/white/setCxnParams", cxn_params(aesKey=aes_key, aesIv=aes_iv))
    *_, frame, answer, _ = steps_of_the_frame()
    client.send_frame(bytes.fromhex(frame))
    client.receive_frame()  # the answer to setCxnParams
    assert client.receive_frame().hex() == answer


# Tables.


def test_every_response_code_has_a_row():
    rows = table(section("Response codes"), 3)
    assert {int(number): name.strip("`") for number, name, _ in rows} == {n: name for name, n in Code.items()}


def test_every_close_code_has_a_row():
    """Those of the contract and of the source, and what clients see without a close frame."""
    contract = (ROOT / "docs" / "protocol.md").read_text().split("\n## Close codes\n")[1].split("\n## ")[0]
    codes = set(re.findall(r"^\| (\d{4}) \|", contract, re.MULTILINE))
    source = (ROOT / "src" / "close.rs").read_text()
    codes |= set(re.findall(r"=> (\d{4}),", source))
    assert len(codes) > 14
    assert {row[0] for row in table(section("Close codes"), 3)} == codes | {"1006"}


def fields(message):
    heading = "The fields of the two steps"
    text = section(heading).split(f"`{message}`")[1].split("\n`")[0]
    return {row[0].strip("`"): row[2] for row in table(text, 4)}


@pytest.mark.parametrize("message", [pb.SetCxnParamsReq, pb.SetUserParamsReq], ids=lambda message: message.__name__)
def test_every_field_has_a_row(message):
    assert list(fields(message.__name__)) == [field.name for field in message.DESCRIPTOR.fields]


def bounds(message):
    found = [(name, re.match(r"([\d,]+) bytes", longest)) for name, longest in fields(message).items()]
    return [(name, int(match[1].replace(",", ""))) for name, match in found if match]


@pytest.mark.parametrize(("field", "longest"), bounds("SetCxnParamsReq"))
def test_a_field_of_the_device_may_be_as_long_as_it_says(connect, gateway, field, longest):
    client = connect(gateway).wait_connected()
    assert client.set_cxn_params(**{field: "x" * longest}).code == Code.Success
    assert client.set_cxn_params(**{field: "x" * (longest + 1)}).code == Code.RequestError
    if field == "deviceId":
        assert client.set_cxn_params(deviceId="ü" * (longest // 6)).code == Code.Success
        assert client.set_cxn_params(deviceId="ü" * (longest // 6 + 1)).code == Code.RequestError


def test_user_and_token_may_be_as_long_as_it_says(connect, gateway):
    longest = dict(bounds("SetUserParamsReq"))
    client = connect(gateway).wait_connected()
    client.set_cxn_params()
    user, token = "u" * longest["userId"], "t" * longest["token"]
    assert client.set_user_params(user, token).code == Code.Success
    assert client.set_user_params(user + "u", token).code == Code.RequestError
    assert client.set_user_params(user, token + "t").code == Code.AuthError
    assert client.wait_closed()[0] == 3000


def test_a_missing_user_is_refused(connect, gateway):
    client = connect(gateway).wait_connected()
    client.set_cxn_params()
    assert client.set_user_params("").code == Code.AuthError


def test_both_steps_may_be_sent_at_once(connect, gateway):
    client = connect(gateway).wait_connected()
    device = client.send("/v1/conn/white/setCxnParams", cxn_params())
    login = client.send("/v1/conn/white/setUserParams", pb.SetUserParamsReq(userId="eager", token="t"))
    assert [client.receive().reqId for _ in range(2)] == [device, login]


def test_the_times_are_the_defaults():
    """Those of the commented keys in routes.yaml, which a test of the configuration holds against the source."""
    routes = (ROOT / "routes.yaml").read_text()
    said = {
        "handshake_timeout: 10s": "within 10 seconds (`session.handshake_timeout`)",
        "login_timeout: 30m": "for 30 minutes (`session.login_timeout`)",
        "ping_interval: 25s": "for 25 seconds (`session.ping_interval`)",
        "pong_timeout: 10s": "within another 10 (`session.pong_timeout`)",
        "grace: 60s": "another 60 seconds (`auth.grace`)",
        "max_message: 1MiB": "`edge.max_message` (1 MiB)",
        "timeout: 5s": "the gateway (5 seconds by default)",
    }
    for default, text in said.items():
        assert re.search(rf"# {default}$", routes, re.MULTILINE), default
        assert text in TEXT.replace("\n", " "), text


# The client.


@pytest.fixture
def reader(binary, tmp_path):
    (tmp_path / "bridgehead").symlink_to(ROOT)
    folder = tmp_path / "client"
    folder.mkdir()
    packages = ROOT / "tests" / "peers" / "requirements.txt"
    reader = documents.Reader(
        folder,
        binary,
        ports=[8080, 9090],
        goes_on=["venv/bin/python client.py"],
        env={"PIP_CONSTRAINT": str(packages)},
    )
    yield reader
    reader.stop()


def test_the_client_does_what_it_says_and_comes_back_after_a_restart(binary, reader):
    gateway = documents.start_demo(binary, reader)
    *before, last = [block for block in BLOCKS if block.language in ("console", "python")]
    for block in before:
        reader.follow(block)
    reader.wait_for("venv/bin/python client.py", "login Success")
    # The gateway stops, and another one takes its place: 1001, then a second login.
    # One signal: a second one would end it without a close frame.
    gateway.process.send_signal(signal.SIGTERM)
    gateway.process.wait(30)
    [(step, client)] = reader.running
    client.wait_line(lambda line: line == "closed 1001")
    begun = len(client.lines)
    gateway = documents.start_demo(binary, reader)
    client.wait_line(lambda line: line == "login Success", start=begun)
    reader.follow(last)
    assert client.wait_exit() == 0
    gateway.stop()
    reader.compare(step, client.lines[-3:])


def test_the_client_gives_up_where_the_table_says_so():
    given_up = re.search(r"GIVE_UP = \{(.*)\}", TEXT)[1].split(", ")
    rows = {row[0]: row[2] for row in table(section("Close codes"), 3)}
    for code in given_up:
        assert re.search(r"[Gg]ive up|do not reconnect by yourself|get a new token", rows[code]), code
    others = set(rows) - set(given_up)
    assert all("reconnect" in rows[code] for code in others)
