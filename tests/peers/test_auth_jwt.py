"""Logins judged by JSON Web Tokens."""

import json
import time

import credentials
import pytest
from configuration import gateway_config
from credentials import LEEWAY, UNSIGNED, hs256, jwt, rs256, rsa_jwk, symmetric_jwk
from processes import eventually
from session_client import KEEP_ALIVE, Code, common_resp

SECRET = b"thirty-two bytes of shared secret"
ISSUER, AUDIENCE = "https://login.example.com", "im"


def claims(**overrides):
    now = int(time.time())
    merged = {"sub": "alice", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600, **overrides}
    return {name: value for name, value in merged.items() if value is not None}


@pytest.fixture(scope="module")
def signing_key(tmp_path_factory):
    return credentials.RsaKeyPair(tmp_path_factory.mktemp("jwt") / "key.pem")


def write_jwks(path, *keys):
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"keys": keys}))
    new.replace(path)


def jwt_auth(keys, **settings):
    return {"jwt": {"keys": str(keys), "issuer": ISSUER, "audience": AUDIENCE, "user_claim": "sub", **settings}}


@pytest.fixture(scope="module")
def jwt_gateway(share_gateway, services, signing_key, tmp_path_factory):
    directory = tmp_path_factory.mktemp("gateway")
    keys = directory / "jwks.json"
    write_jwks(keys, symmetric_jwk(SECRET, "shared"), rsa_jwk(signing_key.public, "rsa"))
    # Relative: to the folder of routes.yaml.
    return share_gateway(gateway_config(services, auth=jwt_auth("jwks.json")), directory)


def login(connect, gateway, token, user="alice"):
    client = connect(gateway).wait_connected()
    client.set_cxn_params()
    return client, client.set_user_params(user, token)


def assert_refused(client, answer):
    assert answer.code == Code.AuthError
    assert common_resp(answer).msg
    assert client.wait_closed()[0] == 3000


def test_a_token_signed_with_hs256_is_believed(jwt_gateway, connect):
    client, answer = login(connect, jwt_gateway, jwt(hs256(SECRET), claims(), kid="shared"))
    assert answer.code == Code.Success
    assert client.call(KEEP_ALIVE).code == Code.Success


def test_a_token_signed_with_rs256_is_believed(jwt_gateway, connect, signing_key):
    token = jwt(rs256(signing_key.private), claims(), kid="rsa")
    assert login(connect, jwt_gateway, token)[1].code == Code.Success


def test_an_audience_may_be_one_of_a_list(jwt_gateway, connect):
    token = jwt(hs256(SECRET), claims(aud=["web", AUDIENCE]), kid="shared")
    assert login(connect, jwt_gateway, token)[1].code == Code.Success


now = int(time.time())
REFUSED_CLAIMS = {
    "of another user": {"sub": "bob"},
    "of no user": {"sub": None},
    "expired": {"exp": now - 3600},
    "not valid yet": {"nbf": now + 3600},
    "of another issuer": {"iss": "https://evil.example.com"},
    "of no issuer": {"iss": None},
    "for another audience": {"aud": "shop"},
    "for no audience": {"aud": None},
    "whose user is a number": {"sub": 7},
}


@pytest.mark.parametrize("kind", REFUSED_CLAIMS)
def test_a_token_with_the_wrong_claims_is_refused(jwt_gateway, connect, kind):
    token = jwt(hs256(SECRET), claims(**REFUSED_CLAIMS[kind]), kid="shared")
    assert_refused(*login(connect, jwt_gateway, token))


def forged_tokens(signing_key):
    good = jwt(hs256(SECRET), claims(), kid="shared")
    head, body, signature = good.split(".")
    return {
        "signed with another secret": jwt(hs256(b"x" * 32), claims(), kid="shared"),
        "signed by nobody": jwt(UNSIGNED, claims(), kid="shared"),
        "signed by nobody, without a key's name": jwt(UNSIGNED, claims()),
        "signed with the public key as a secret": jwt(hs256(signing_key.public_pem()), claims(), kid="rsa"),
        "of a key that nobody knows": jwt(hs256(SECRET), claims(), kid="unknown"),
        "with its end cut off": good[:-4],
        "without a signature": f"{head}.{body}.",
        "with another body": f"{head}.{credentials.base64url(json.dumps(claims(sub='alice', x=1)).encode())}.{signature}",
        "empty": "",
        "no token at all": "let me in",
    }


@pytest.mark.parametrize(
    "kind",
    [
        "signed with another secret",
        "signed by nobody",
        "signed by nobody, without a key's name",
        "signed with the public key as a secret",
        "of a key that nobody knows",
        "with its end cut off",
        "without a signature",
        "with another body",
        "empty",
        "no token at all",
    ],
)
def test_a_forged_token_is_refused(jwt_gateway, connect, signing_key, kind):
    assert_refused(*login(connect, jwt_gateway, forged_tokens(signing_key)[kind]))


def test_a_login_ends_when_its_token_expires(jwt_gateway, connect):
    """The session stays; its requests get AuthError until it shows a fresh token."""
    token = jwt(hs256(SECRET), claims(exp=int(time.time()) - LEEWAY + 2), kid="shared")
    client, answer = login(connect, jwt_gateway, token)
    assert answer.code == Code.Success
    assert client.call("/v1/probe/echo").code == Code.Success
    eventually(lambda: client.call("/v1/probe/echo").code == Code.AuthError)
    fresh = jwt(hs256(SECRET), claims(), kid="shared")
    assert client.set_user_params("alice", fresh).code == Code.Success
    assert client.call("/v1/probe/echo").code == Code.Success


def test_an_empty_user_is_refused_whatever_the_token(jwt_gateway, connect):
    token = jwt(hs256(SECRET), claims(sub=""), kid="shared")
    assert_refused(*login(connect, jwt_gateway, token, user=""))


def test_tokens_are_never_logged(jwt_gateway, connect):
    good = jwt(hs256(SECRET), claims(jti="good"), kid="shared")
    bad = jwt(hs256(b"x" * 32), claims(jti="bad"), kid="shared")
    start = len(jwt_gateway.lines)
    login(connect, jwt_gateway, good)
    login(connect, jwt_gateway, bad)[0].wait_closed()
    logged = "\n".join(jwt_gateway.lines[start:])
    for token in (good, bad):
        assert token not in logged
        assert token.rsplit(".", 1)[1] not in logged


def test_another_claim_can_name_the_user(start_gateway, connect, services, tmp_path):
    write_jwks(tmp_path / "jwks.json", symmetric_jwk(SECRET, "shared"))
    auth = jwt_auth(tmp_path / "jwks.json", user_claim="uid")
    gateway = start_gateway(gateway_config(services, auth=auth))
    token = jwt(hs256(SECRET), claims(sub="somebody", uid="alice"), kid="shared")
    assert login(connect, gateway, token)[1].code == Code.Success


def test_the_keys_can_be_a_public_key_in_pem(start_gateway, connect, services, signing_key, tmp_path):
    (tmp_path / "public.pem").write_bytes(signing_key.public_pem())
    gateway = start_gateway(gateway_config(services, auth=jwt_auth(tmp_path / "public.pem")))
    assert login(connect, gateway, jwt(rs256(signing_key.private), claims()))[1].code == Code.Success
    assert_refused(*login(connect, gateway, jwt(hs256(signing_key.public_pem()), claims())))


BOM = b"\xef\xbb\xbf"


def test_a_byte_order_mark_is_skipped(start_gateway, connect, services, signing_key, tmp_path):
    """The tokens of its keys are believed, and no token that is signed with the file's text."""
    keys = tmp_path / "jwks.json"
    text = json.dumps({"keys": [rsa_jwk(signing_key.public, "rsa")]}).encode()
    keys.write_bytes(BOM + text)
    gateway = start_gateway(gateway_config(services, auth=jwt_auth(keys)))
    assert login(connect, gateway, jwt(rs256(signing_key.private), claims(), kid="rsa"))[1].code == Code.Success
    for secret in (text, BOM + text):
        assert_refused(*login(connect, gateway, jwt(hs256(secret), claims())))


def disguises(public):
    """Files of public keys, as they come about, none of which is a secret."""
    jwks = json.dumps({"keys": [rsa_jwk(public, "rsa")]})
    pem = public.public_bytes(
        credentials.serialization.Encoding.PEM, credentials.serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    der = public.public_bytes(
        credentials.serialization.Encoding.DER, credentials.serialization.PublicFormat.SubjectPublicKeyInfo
    )
    body = "".join(line for line in pem.splitlines() if not line.startswith("-"))
    return {
        "JSON behind a comment": f"# keys of the identity provider\n{jwks}".encode(),
        "JSON behind a byte order mark and a comment": BOM + f"// keys\n{jwks}".encode(),
        "JSON in UTF-16": jwks.encode("utf-16"),
        "JSON in UTF-16 without a mark": jwks.encode("utf-16-le"),
        "PEM with damaged lines": pem.replace("-----", "--").encode(),
        "PEM without its lines": body.encode(),
        "PEM without line breaks": pem.replace("\n", "\\n").encode(),
        "base64 of PEM": credentials.base64.b64encode(pem.encode()),
        "base64url": credentials.base64url(der).encode(),
        "hex": der.hex().encode(),
        "DER": der,
        "a URL in a file": b"https://id.example.com/.well-known/jwks.json",
    }


KINDS = list(disguises(credentials.rsa.generate_private_key(65537, 2048).public_key()))


@pytest.mark.parametrize("key", ["keys", "secret"])
def test_public_text_is_never_a_secret(start_gateway, connect, services, signing_key, tmp_path, key):
    """Neither at the start nor on reload, under either key; the old one goes on."""
    file = tmp_path / "file"
    good = json.dumps({"keys": [rsa_jwk(signing_key.public, "rsa")]}).encode() if key == "keys" else SECRET
    honest = jwt(rs256(signing_key.private) if key == "keys" else hs256(SECRET), claims())
    auth = {"jwt": {key: str(file), "issuer": ISSUER, "audience": AUDIENCE}}
    file.write_bytes(good)
    gateway = start_gateway(gateway_config(services, auth=auth))
    for kind, text in disguises(signing_key.public).items():
        start = len(gateway.lines)
        new = tmp_path / "new"
        new.write_bytes(text)
        new.replace(file)
        event = gateway.wait_event(lambda event: event.get("message") == "configuration refused", start=start)
        said = ("auth.jwt.secret", "UTF-8", "no comments", "PEM", "line breaks", "not text", "not a secret")
        assert any(text in event["problem"] for text in said), event["problem"]
        for secret in (text, text.strip(), text.removeprefix(BOM)):
            assert_refused(*login(connect, gateway, jwt(hs256(secret), claims())))
        assert login(connect, gateway, honest)[1].code == Code.Success, kind


@pytest.mark.parametrize("key", ["keys", "secret"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_gateway_does_not_start_with_public_text_as_a_secret(run_check, services, signing_key, tmp_path, key, kind):
    (tmp_path / "file").write_bytes(disguises(signing_key.public)[kind])
    checked = run_check(gateway_config(services, auth={"jwt": {key: str(tmp_path / "file")}}))
    assert checked.returncode == 64, checked.stdout
    assert str(tmp_path / "file") in checked.stderr


def test_a_secret_is_a_file_of_its_own(start_gateway, connect, services, tmp_path):
    (tmp_path / "secret").write_bytes(BOM + SECRET + b"\r\n")
    auth = {"jwt": {"secret": str(tmp_path / "secret"), "issuer": ISSUER, "audience": AUDIENCE}}
    gateway = start_gateway(gateway_config(services, auth=auth))
    assert login(connect, gateway, jwt(hs256(SECRET), claims()))[1].code == Code.Success
    assert_refused(*login(connect, gateway, jwt(hs256(SECRET + b"\r\n"), claims())))
    start = len(gateway.lines)
    (tmp_path / "secret").write_bytes(b"another secret of at least thirty-two bytes")
    gateway.wait_event(lambda event: event.get("message") == "configuration reloaded", start=start)
    assert_refused(*login(connect, gateway, jwt(hs256(SECRET), claims())))


def test_a_secret_under_keys_is_told_its_key(run_check, services, tmp_path):
    (tmp_path / "secret").write_bytes(SECRET)
    checked = run_check(gateway_config(services, auth={"jwt": {"keys": "secret"}}))
    assert checked.returncode == 64
    assert "name it under `auth.jwt.secret`" in checked.stderr


def test_keys_are_read_again_when_their_file_changes(start_gateway, connect, services, tmp_path):
    keys = tmp_path / "jwks.json"
    write_jwks(keys, symmetric_jwk(b"old secret, thirty-two bytes long", "old"))
    gateway = start_gateway(gateway_config(services, auth=jwt_auth(keys)))
    token = jwt(hs256(SECRET), claims(), kid="new")
    assert_refused(*login(connect, gateway, token))
    write_jwks(keys, symmetric_jwk(SECRET, "new"))
    eventually(lambda: login(connect, gateway, token)[1].code == Code.Success, interval=0.1)
    revoked = jwt(hs256(b"old secret, thirty-two bytes long"), claims(), kid="old")
    assert_refused(*login(connect, gateway, revoked))


def test_a_broken_key_file_leaves_the_old_keys_in_force(start_gateway, connect, services, tmp_path):
    keys = tmp_path / "jwks.json"
    write_jwks(keys, symmetric_jwk(SECRET, "shared"))
    gateway = start_gateway(gateway_config(services, auth=jwt_auth(keys)))
    start = len(gateway.lines)
    keys.write_text('{"keys": [')
    gateway.wait_line(lambda line: "jwks.json" in line and ("ERROR" in line or "WARN" in line), start=start)
    token = jwt(hs256(SECRET), claims(), kid="shared")
    assert login(connect, gateway, token)[1].code == Code.Success


def test_a_missing_key_file_is_a_configuration_error(start_gateway, services):
    gateway = start_gateway(gateway_config(services, auth=jwt_auth("nowhere.json")), wait=False)
    assert gateway.wait_exit() == 64
    assert "nowhere.json" in gateway.tail()
