"""docs/authentication.md: every configuration and every command in it, on the real binary."""

import json
import shlex
import subprocess

import documents
import pytest
import yaml
from configuration import gateway_config
from identity_provider import DISCOVERY, IdentityProvider
from session_client import Code
from test_auth_jwt import login

BLOCKS = documents.blocks((documents.ROOT / "docs" / "authentication.md").read_text())
EXAMPLES = [(block.heading, yaml.safe_load(block.text)["auth"]) for block in BLOCKS if block.language == "yaml"]
# The first of each section.
SNIPPETS = dict(reversed(EXAMPLES))
ALL = [auth for _, auth in EXAMPLES]
COMMANDS = [
    step.command.removeprefix("bridgehead ")
    for block in BLOCKS
    if block.language == "console"
    for step in documents.steps(block)
]
FORMS = {
    "Public keys in PEM": [],
    "A key set in a file": ["--claim", 'realm={"user": {"id": "alice"}}'],
    "Keys at a URL": [],
    "OpenID Connect discovery": [],
    "A secret": [],
}


@pytest.fixture
def run(binary, tmp_path):
    def run(*arguments):
        done = subprocess.run([binary, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def keys(run):
    """What the commands of the document make. They print tokens, too."""
    printed = [run(*shlex.split(command)) for command in COMMANDS]
    assert [line.count(".") == 2 and line.startswith("ey") for line in printed] == [False, True, False, True]


@pytest.fixture
def provider(tmp_path, keys):
    running = IdentityProvider(*json.loads((tmp_path / "jwks.json").read_text())["keys"])
    yield running
    running.stop()


def test_every_form_is_shown():
    assert set(FORMS) < set(SNIPPETS)
    assert {next(iter(auth)) for auth in ALL} == {"jwt", "rpc", "none"}


@pytest.mark.parametrize("auth", ALL, ids=str)
def test_a_configuration_can_be_used_as_it_stands(run_check, services, auth, keys, tmp_path):
    authority = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x", "-keyout", "/dev/null"],
        capture_output=True,
        check=True,
    )
    (tmp_path / "ca.pem").write_bytes(authority.stdout)
    # Nobody is asked, so the RPC need not be there.
    upstreams = {"im": {"address": services.address, "descriptors": "reflection"}}
    checked = run_check(gateway_config(services, upstreams=upstreams, auth=auth), "--offline")
    assert checked.returncode == 0, checked.stderr
    assert "logins: " in checked.stdout.splitlines()[-1]


@pytest.mark.parametrize("form", FORMS)
def test_a_token_logs_in(start_gateway, connect, services, provider, keys, run, tmp_path, form):
    """With the identity provider at a URL of this machine in the place of id.example.com."""
    jwt = dict(SNIPPETS[form]["jwt"])
    for name, value in jwt.items():
        if name in ("keys", "secret") and not value.startswith("https:"):
            jwt[name] = str(tmp_path / value)
        elif name == "keys":
            jwt[name] = provider.url
        elif name == "issuer" and form == "OpenID Connect discovery":
            jwt[name] = provider.issuer
    gateway = start_gateway(gateway_config(services, auth={"jwt": jwt}))
    key = ["--secret", "jwt.secret"] if "secret" in jwt else ["--key", "jwt.pem"]
    audience = ["--audience", jwt["audience"]] if "audience" in jwt else []
    good = ["token", *key, "--user", "alice", "--issuer", jwt["issuer"], *audience, *FORMS[form]]
    assert login(connect, gateway, run(*good))[1].code == Code.Success
    for wrong in (["--claim", "iss=other"], ["--claim", "exp=1"], ["--claim", "sub=bob", "--claim", "realm=1"]):
        assert login(connect, gateway, run(*good, *wrong))[1].code == Code.AuthError, wrong
    if form == "OpenID Connect discovery":
        assert DISCOVERY in provider.requests
