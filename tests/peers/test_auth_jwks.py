"""Logins judged by keys that an identity provider has at a URL: it rotates them, goes down, answers
slowly, answers nonsense."""

import json
import secrets
import threading
import time

import credentials
import pytest
from admin_client import ADMIN, metrics, readiness
from configuration import gateway_config
from credentials import hs256, jwt, rs256, rsa_jwk, symmetric_jwk
from identity_provider import IdentityProvider
from processes import eventually
from session_client import KEEP_ALIVE, Code
from test_auth_jwt import AUDIENCE, assert_refused, claims, login

FETCHED = "keys for logins fetched"
FAILED = "keys for logins could not be fetched"


class SigningKey:
    """A key of the identity provider."""

    def __init__(self, directory, kid):
        self.pair = credentials.RsaKeyPair(directory / f"{kid}.pem")
        self.kid = kid
        self.jwk = rsa_jwk(self.pair.public, kid)

    def token(self, kid=True, **overrides):
        header = {"kid": self.kid if kid is True else kid} if kid else {}
        return jwt(rs256(self.pair.private), claims(iss=None, aud=None, **overrides), **header)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    directory = tmp_path_factory.mktemp("keys")
    return [SigningKey(directory, kid) for kid in ("first", "second", "third")]


@pytest.fixture
def provide():
    """Starts identity providers, ended with the test."""
    started = []

    def start(*jwks, **options):
        started.append(IdentityProvider(*jwks, **options))
        return started[-1]

    yield start
    for provider in started:
        provider.stop()


def config_for(services, **settings):
    return {**gateway_config(services, auth={"jwt": settings}), "admin": ADMIN}


def is_logged(gateway, message, start=0):
    return gateway.wait_event(lambda event: message in event.get("message", ""), start=start)


def login_code(connect, gateway, token):
    client, answer = login(connect, gateway, token)
    client.close()
    return answer.code


def wait_for_age(gateway, seconds):
    """Until the set is so old that an unknown key has it fetched again at once."""
    fetched = "bridgehead_jwks_fetched_timestamp_seconds"
    eventually(lambda: time.time() - metrics(gateway)[fetched] > seconds, interval=0.2)


@pytest.mark.parametrize("scheme", ["http on the loopback", "https with an own authority"])
def test_keys_come_from_a_url(with_admin, connect, services, provide, keys, tmp_path, scheme):
    settings, options = {}, {}
    if scheme.startswith("https"):
        authority = credentials.Authority(tmp_path / "ca")
        settings, options = {"ca": str(authority.file)}, {"authority": authority}
    provider = provide(keys[0].jwk, **options)
    gateway = with_admin(config_for(services, keys=provider.url, **settings))
    event = is_logged(gateway, FETCHED)
    assert event["from"] == provider.url and '"first"' in event["keys"]
    client, answer = login(connect, gateway, keys[0].token())
    assert answer.code == Code.Success
    assert client.call(KEEP_ALIVE).code == Code.Success
    assert_refused(*login(connect, gateway, keys[1].token(kid="first")))
    found = metrics(gateway)
    assert found["bridgehead_jwks_keys"] == 1
    assert abs(found["bridgehead_jwks_fetched_timestamp_seconds"] - time.time()) < 30
    assert found['bridgehead_jwks_fetches_total{outcome="fetched"}'] == 1
    assert readiness(gateway)[1]["checks"]["keys"]["ok"]


def test_a_server_of_another_authority_is_not_believed(with_admin, connect, services, provide, keys, tmp_path):
    provider = provide(keys[0].jwk, authority=credentials.Authority(tmp_path / "ca"))
    others = credentials.Authority(tmp_path / "others", "another authority")
    for settings in ({}, {"ca": str(others.file)}):
        gateway = with_admin(config_for(services, keys=provider.url, **settings))
        assert "certificate" in is_logged(gateway, FAILED)["error"]
        assert login_code(connect, gateway, keys[0].token()) == Code.RetryError
    assert provider.fetches() == 0


def test_a_rotated_key_is_used_at_once(with_admin, connect, services, provide, keys):
    """A token with an unknown key id has the set fetched again, and its login waits for that."""
    provider = provide(keys[0].jwk)
    gateway = with_admin(config_for(services, keys=provider.url))
    wait_for_age(gateway, 6)
    provider.keys = [keys[0].jwk, keys[1].jwk]
    start = time.monotonic()
    assert login_code(connect, gateway, keys[1].token()) == Code.Success
    assert time.monotonic() - start < 2
    assert login_code(connect, gateway, keys[0].token()) == Code.Success
    assert provider.fetches() == 2
    assert metrics(gateway)["bridgehead_jwks_keys"] == 2


def test_a_rotated_key_without_an_id_is_found(with_admin, connect, services, provide, keys):
    def nameless(key):
        return {name: value for name, value in key.jwk.items() if name != "kid"}

    provider = provide(nameless(keys[0]))
    gateway = with_admin(config_for(services, keys=provider.url))
    assert login_code(connect, gateway, keys[0].token(kid=None)) == Code.Success
    provider.keys = [nameless(keys[1])]
    eventually(lambda: login_code(connect, gateway, keys[1].token(kid=None)) == Code.Success, interval=0.2)


def test_a_withdrawn_key_is_not_used_for_longer_than_the_server_says(with_admin, connect, services, provide, keys):
    provider = provide(keys[0].jwk, keys[1].jwk)
    # The gateway's own lower bound is 10 s.
    provider.cache_control = "max-age=1"
    gateway = with_admin(config_for(services, keys=provider.url))
    assert login_code(connect, gateway, keys[0].token()) == Code.Success
    provider.keys = [keys[1].jwk]
    start = time.monotonic()
    eventually(lambda: login_code(connect, gateway, keys[0].token()) == Code.AuthError, interval=0.3)
    assert 5 < time.monotonic() - start < 15
    assert provider.fetches() == 2


def test_a_withdrawn_key_ends_its_sessions_at_the_next_recheck(with_admin, connect, services, provide, keys):
    """The set that is there decides: a key that has gone is not asked for once more for each session."""
    provider = provide(keys[0].jwk, keys[1].jwk)
    config = config_for(services, keys=provider.url)
    config["auth"]["recheck"] = "1s"
    gateway = with_admin(config)
    leaked = [login(connect, gateway, keys[0].token())[0] for _ in range(20)]
    other, _ = login(connect, gateway, keys[1].token())
    wait_for_age(gateway, 6)
    provider.keys = [keys[1].jwk, keys[2].jwk]
    # A login by the new key brings the set without the old one.
    assert login_code(connect, gateway, keys[2].token()) == Code.Success
    began = time.monotonic()
    assert {client.wait_closed() for client in leaked} == {(3000, "login revoked")}
    assert time.monotonic() - began < 5
    assert other.call(KEEP_ALIVE).code == Code.Success
    assert provider.fetches() == 2


def test_an_unchanged_set_is_not_sent_again(with_admin, services, provide, keys):
    provider = provide(keys[0].jwk)
    body = json.dumps({"keys": [keys[0].jwk]}).encode()
    provider.answer = (200, {"ETag": '"v1"', "Cache-Control": "max-age=10"}, body)
    gateway = with_admin(config_for(services, keys=provider.url))
    provider.answer = (304, {"ETag": '"v1"', "Cache-Control": "max-age=10"}, b"")
    eventually(lambda: metrics(gateway)['bridgehead_jwks_fetches_total{outcome="fetched"}'] == 2, interval=0.3)
    assert provider.headers[1]["if-none-match"] == '"v1"'
    assert metrics(gateway)["bridgehead_jwks_keys"] == 1


def test_strangers_with_random_key_ids_cause_no_storm(with_admin, connect, services, provide, keys):
    provider = provide(keys[0].jwk)
    gateway = with_admin(config_for(services, keys=provider.url))
    stop = time.monotonic() + 12
    codes = []

    def strangers():
        while time.monotonic() < stop:
            codes.append(login_code(connect, gateway, keys[1].token(kid=secrets.token_hex(8))))

    threads = [threading.Thread(target=strangers) for _ in range(8)]
    for thread in threads:
        thread.start()
    honest = 0
    while time.monotonic() < stop:
        start = time.monotonic()
        assert login_code(connect, gateway, keys[0].token()) == Code.Success
        assert time.monotonic() - start < 2
        honest += 1
    for thread in threads:
        thread.join()
    assert set(codes) <= {Code.AuthError, Code.RetryError}
    assert honest > 20 and len(codes) > 100
    # At the start, and 5 s and 15 s later.
    print(f"{len(codes)} tokens of strangers: {provider.fetches()} fetches")
    assert provider.fetches() <= 3
    assert metrics(gateway)["bridgehead_jwks_unknown_keys_total"] == len(codes)


NONSENSE = {
    "an error": (503, {}, b"down for maintenance"),
    "a page": (200, {}, b"<html>Down for maintenance</html>"),
    "nothing": (200, {}, b""),
    "an empty set": (200, {}, b'{"keys": []}'),
    "other JSON": (200, {}, b'{"error": "later"}'),
    "a cut-off set": (200, {}, b'{"keys": [{"kty": "RSA"'),
    "fewer bytes than announced": (200, {"Content-Length": "100000"}, b'{"keys": ['),
    "too much": (200, {}, b'{"keys": [' + b" " * 600_000 + b"]}"),
    "a secret": (200, {}, json.dumps({"keys": [symmetric_jwk(b"s" * 40, "first")]}).encode()),
    "a redirect to plain http elsewhere": (302, {"Location": "http://192.0.2.1/jwks.json"}, b""),
    "a redirect to a file": (302, {"Location": "file:///etc/passwd"}, b""),
    "a redirect to itself": (302, {"Location": "jwks.json"}, b""),
    "a redirect to nowhere": (301, {}, b""),
    "not modified, though it was not asked so": (304, {}, b""),
}


def test_nonsense_and_silence_leave_the_last_good_set(with_admin, connect, services, provide, keys):
    """Tokens of known keys go on; those of unknown ones get RetryError then, not AuthError."""
    provider = provide(keys[0].jwk)
    provider.cache_control = "max-age=10"
    gateway = with_admin(config_for(services, keys=provider.url))
    is_logged(gateway, FETCHED)
    provider.cache_control = None
    provider.answer = NONSENSE["a page"]
    start = len(gateway.lines)
    event = is_logged(gateway, FAILED, start=start)
    assert event["keys"] == 1
    assert login_code(connect, gateway, keys[0].token()) == Code.Success
    assert login_code(connect, gateway, keys[1].token()) == Code.RetryError
    status, ready = readiness(gateway)
    assert status == 200 and ready["status"] == "degraded" and ready["checks"]["keys"]["reasons"]
    assert metrics(gateway)['bridgehead_jwks_fetches_total{outcome="invalid"}'] >= 1
    # Down, then back with another key.
    provider.stop()
    failed = 'bridgehead_jwks_fetches_total{outcome="unreachable"}'
    eventually(lambda: metrics(gateway)[failed] >= 1, interval=0.1)
    assert login_code(connect, gateway, keys[0].token()) == Code.Success
    provider.answer, provider.keys = None, [keys[0].jwk, keys[1].jwk]
    provider.start()
    eventually(lambda: login_code(connect, gateway, keys[1].token()) == Code.Success, interval=0.2)
    assert login_code(connect, gateway, keys[0].token()) == Code.Success
    assert readiness(gateway)[1]["status"] == "ready"


@pytest.mark.parametrize("kind", NONSENSE)
def test_a_set_that_was_never_had_lets_nobody_in(run_check, services, provide, keys, kind):
    """`check` says so, and what is wrong with the answer."""
    provider = provide(keys[0].jwk)
    provider.answer = NONSENSE[kind]
    checked = run_check(config_for(services, keys=provider.url))
    assert checked.returncode == 1
    assert "keys cannot be fetched: " in checked.stderr, checked.stderr
    assert provider.fetches() <= 4


def test_logins_are_retried_until_there_are_keys(with_admin, connect, services, provide, keys):
    provider = provide(keys[0].jwk)
    provider.stop()
    gateway = with_admin(config_for(services, keys=provider.url))
    assert login_code(connect, gateway, keys[0].token()) == Code.RetryError
    status, ready = readiness(gateway)
    assert status == 503 and not ready["checks"]["keys"]["ok"]
    assert metrics(gateway)["bridgehead_jwks_keys"] == 0
    assert "bridgehead_jwks_fetched_timestamp_seconds" not in metrics(gateway)
    provider.start()
    eventually(lambda: login_code(connect, gateway, keys[0].token()) == Code.Success, interval=0.2)
    assert readiness(gateway)[0] == 200


def test_a_slow_server_holds_up_no_login_for_long(with_admin, connect, services, provide, keys):
    provider = provide(keys[0].jwk)
    gateway = with_admin(config_for(services, keys=provider.url))
    assert login_code(connect, gateway, keys[0].token()) == Code.Success
    provider.delay = 30
    wait_for_age(gateway, 6)
    start = time.monotonic()
    assert login_code(connect, gateway, keys[1].token()) == Code.RetryError
    assert 2.5 < time.monotonic() - start < 4.5
    start = time.monotonic()
    assert login_code(connect, gateway, keys[0].token()) == Code.Success
    assert time.monotonic() - start < 1
    event = is_logged(gateway, FAILED)
    assert event["error"] == "no answer within 10s"


def test_a_slow_server_holds_up_the_start_for_some_seconds_only(with_admin, connect, services, provide, keys):
    provider = provide(keys[0].jwk)
    provider.delay = 7
    start = time.monotonic()
    gateway = with_admin(config_for(services, keys=provider.url))
    assert time.monotonic() - start < 8
    assert readiness(gateway)[0] == 503
    assert login_code(connect, gateway, keys[0].token()) == Code.RetryError
    eventually(lambda: login_code(connect, gateway, keys[0].token()) == Code.Success, interval=0.2)
    assert provider.fetches() == 1


def test_redirects_are_followed(run_check, services, provide, keys):
    target = provide(keys[0].jwk)
    provider = provide(keys[0].jwk)
    provider.answer = (307, {"Location": f"{target.base}/elsewhere"}, b"")
    checked = run_check(config_for(services, keys=provider.url))
    assert checked.returncode == 0, checked.stderr
    assert target.requests == ["/elsewhere"]


def test_the_issuer_says_where_its_keys_are(with_admin, connect, services, provide, keys):
    provider = provide(keys[0].jwk)
    gateway = with_admin(config_for(services, issuer=provider.issuer, audience=AUDIENCE))
    good = {"iss": provider.issuer, "aud": AUDIENCE}
    signed = jwt(rs256(keys[0].pair.private), claims(**good), kid="first")
    assert login_code(connect, gateway, signed) == Code.Success
    other = jwt(rs256(keys[0].pair.private), claims(iss="https://other.example.com"), kid="first")
    assert login_code(connect, gateway, other) == Code.AuthError


DOCUMENTS = {
    "of another issuer": ({"issuer": "https://id.example.com"}, "is that of the issuer"),
    "of nearly the same issuer": ({"issuer": "{issuer}/"}, "is that of the issuer"),
    "without keys": ({"jwks_uri": None}, "is not a document of OpenID Connect discovery"),
    "with plain http elsewhere": ({"jwks_uri": "http://id.example.com/jwks.json"}, "is not https"),
    "with a file": ({"jwks_uri": "file:///etc/jwks.json"}, "is not an https URL"),
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_wrong_discovery_document_is_not_believed(run_check, services, provide, keys, kind):
    document, says = DOCUMENTS[kind]
    provider = provide(keys[0].jwk)
    provider.document = {
        name: value.format(issuer=provider.issuer) if value else value for name, value in document.items()
    }
    checked = run_check(config_for(services, issuer=provider.issuer))
    assert checked.returncode == 1
    assert says in checked.stderr, checked.stderr
    assert provider.fetches() == 0


def test_a_reload_keeps_the_keys_and_asks_nobody(with_admin, connect, services, provide, keys):
    provider = provide(keys[0].jwk)
    config = config_for(services, keys=provider.url)
    gateway = with_admin(config)
    is_logged(gateway, FETCHED)
    provider.stop()
    start = len(gateway.lines)
    config["auth"]["jwt"]["user_claim"] = "realm.user.id"
    gateway.write_config(config)
    is_logged(gateway, "configuration reloaded", start=start)
    token = keys[0].token(sub="nobody", realm={"user": {"id": "alice"}})
    assert login_code(connect, gateway, token) == Code.Success
    assert provider.fetches() == 1


def test_a_reload_to_a_url_without_keys_is_refused(with_admin, connect, services, provide, keys):
    provider, other = provide(keys[0].jwk), provide(keys[1].jwk)
    gateway = with_admin(config_for(services, keys=provider.url))
    other.stop()
    gateway.write_config(config_for(services, keys=other.url))
    event = gateway.wait_event(lambda event: event.get("message") == "configuration refused")
    assert "keys cannot be fetched" in event["problem"]
    assert login_code(connect, gateway, keys[0].token()) == Code.Success
    other.start()
    start = len(gateway.lines)
    gateway.write_config(config_for(services, keys=other.url, user_claim="sub"))
    is_logged(gateway, "configuration reloaded", start=start)
    assert login_code(connect, gateway, keys[1].token()) == Code.Success
    # The other set is no longer kept up to date.
    assert login_code(connect, gateway, keys[0].token(kid="second")) == Code.AuthError


def test_check_says_where_keys_come_from(run_check, services, provide, keys):
    provider = provide(keys[0].jwk, keys[1].jwk)
    config = config_for(services, keys=provider.url)
    checked = run_check(config)
    assert checked.stdout.splitlines()[-1] == f'logins: JWT, keys of {provider.url}: RSA "first", RSA "second"'
    provider.stop()
    checked = run_check(config)
    assert checked.returncode == 1 and "cannot connect to" in checked.stderr
    checked = run_check(config, "--offline")
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.splitlines()[-1] == f"logins: JWT, keys of {provider.url}, not asked"
    assert provider.fetches() == 1


def test_an_hmac_token_is_not_checked_with_anything_fetched(with_admin, connect, services, provide, keys):
    provider = provide(keys[0].jwk, symmetric_jwk(b"s" * 40, "secret"))
    gateway = with_admin(config_for(services, keys=provider.url))
    body = json.dumps({"keys": provider.keys}).encode()
    for secret in (b"s" * 40, body, keys[0].pair.public_pem()):
        for kid in ("secret", "first", None):
            token = jwt(hs256(secret), claims(), **({"kid": kid} if kid else {}))
            assert login_code(connect, gateway, token) == Code.AuthError
    assert login_code(connect, gateway, keys[0].token()) == Code.Success
    assert provider.fetches() == 1
