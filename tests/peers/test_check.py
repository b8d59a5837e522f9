"""`bridgehead check`, and what the program says of itself."""

import json
import subprocess

import pytest
from configuration import PROBE_ROUTES, gateway_config, probe_upstream


@pytest.fixture
def run(binary, tmp_path):
    def run(*arguments, config=None):
        if config is not None:
            text = config if isinstance(config, str) else json.dumps(config, indent=2)
            (tmp_path / "routes.yaml").write_text(text)
        return subprocess.run(
            [binary, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )

    return run


def test_a_good_file_is_printed_as_a_table_of_routes(run, services):
    checked = run("check", config=gateway_config(services))
    assert checked.returncode == 0, checked.stderr
    for method, rpc in PROBE_ROUTES.items():
        assert any(method in line and rpc in line for line in checked.stdout.splitlines()), method


def test_routes_that_do_not_resolve_are_a_failure(run, services):
    routes = {"/v1/probe/echo": "probe.Probe/Ecko"}
    checked = run("check", config=gateway_config(services, upstream={"routes": routes}))
    assert checked.returncode == 64
    assert "Ecko" in checked.stderr
    assert "did you mean `Echo`" in checked.stderr


def test_an_upstream_that_is_away_is_a_failure_unless_offline(run, services, start_services):
    away = start_services()
    away.kill()
    config = gateway_config(services, upstreams={"away": probe_upstream(away, routes={"/v1/x": "probe.Probe/Echo"})})
    checked = run("check", config=config)
    assert checked.returncode == 1
    assert "away" in checked.stdout + checked.stderr
    assert run("check", "--offline", config=config).returncode == 0
    config["upstreams"]["probe"]["routes"]["/v1/y"] = "probe.Probe/Ecko"
    both = run("check", config=config)
    assert both.returncode == 64
    assert "away" in both.stderr and "Ecko" in both.stderr


def test_patterns_of_public_methods_that_no_method_has_are_a_warning(run, services):
    config = gateway_config(services, public_methods=["**/white/**", "/v1/prob/*", "/v1/probe/echo"])
    checked = run("check", config=config)
    assert checked.returncode == 0, checked.stderr
    assert checked.stderr.count("no client method matches") == 1, checked.stderr
    assert "no client method matches `/v1/prob/*`" in checked.stderr, checked.stderr


JUDGE = {"upstream": "probe", "rpc": "probe.Probe/BeforeConnect", "request": {}}


@pytest.mark.parametrize(
    ("judge", "doubtful"),
    [
        ({"accept_when": {"code": 0}, "reason": "msg"}, True),
        ({"accept_when": {"code": 0}}, True),
        ({"accept_when": {}, "reason": "msg"}, True),
        ({"accept_when": {"code": 0, "msg": ""}, "reason": "msg"}, False),
        ({"accept_when": {"code": 1}, "reason": "msg"}, False),
        ({"accept_when": {"code": 0}, "reject_when": {"msg": {"not": ""}}, "reason": "msg"}, False),
        ({"reject_when": {"msg": {"not": ""}}, "reason": "msg"}, False),
        ({"accept_when": {}}, False),
    ],
)
def test_a_pattern_that_takes_a_refusal_for_a_yes_is_a_warning(run, services, judge, doubtful):
    checked = run("check", config=gateway_config(services, auth={"rpc": {**JUDGE, **judge}}))
    assert checked.returncode == 0, checked.stderr
    assert ("an empty response is accepted" in checked.stderr) == doubtful, checked.stderr
    if doubtful:
        assert "warning" in checked.stderr and 'msg: ""' in checked.stderr


def echo_routes(services, rpc, **sections):
    return gateway_config(services, upstream={"routes": {"/v1/x": f"probe.Probe/{rpc}"}}, **sections)


@pytest.mark.parametrize(
    ("rpc", "identity", "says"),
    [
        ("Echo", {}, None),
        ("EchoBare", {}, None),
        ("EchoNumbers", {}, ["`language` of probe.NumberIdentity stays empty", "`platform`"]),
        ("EchoSnake", {}, ["`platform` of probe.SnakeIdentity stays empty"]),
        ("EchoBatch", {}, ["only below its top level, at `items.commonReq`", "depth: nested"]),
        ("EchoBatch", {"depth": "nested"}, None),
        ("Echo", {"depth": "nested"}, None),
        ("Echo", {"request_field": "caller"}, ["no routed method has a field `caller`"]),
        ("Echo", {"request_field": "commonReqq"}, ["did you mean `commonReq`"]),
    ],
)
def test_an_identity_that_would_not_be_filled_is_a_warning(run, services, rpc, identity, says):
    sections = {"identity": identity} if identity else {}
    checked = run("check", config=echo_routes(services, rpc, **sections))
    assert checked.returncode == 0, checked.stderr
    assert ("warning" in checked.stderr) == (says is not None), checked.stderr
    for text in says or []:
        assert text in checked.stderr


def test_a_field_that_cannot_hold_the_identity_is_a_failure_however_deep(run, services):
    identity = {"request_field": "text", "depth": "nested"}
    checked = run("check", config=echo_routes(services, "EchoBatch", identity=identity))
    assert checked.returncode == 64
    assert "field `text` of probe.EchoReq cannot hold the identity" in checked.stderr


SIX_MISTAKES = """\
edge:
  listen: 127.0.0.1:80800
  max_mesage: 1MiB
session:
  ping_interval: often
auth:
  none: {}
  jwt: { keys: jwks.json }
upstreams:
  msg:
    address: htp://127.0.0.1:1
    routes:
      v1/msg/send: probe.Probe/Echo
log: { format: text }
"""


def test_six_mistakes_are_reported_at_once_each_with_its_place(run):
    checked = run("check", "--offline", config=SIX_MISTAKES)
    assert checked.returncode == 64
    output = checked.stdout + checked.stderr
    for line in (2, 3, 5, 11, 13):
        assert f"routes.yaml:{line}:" in output, f"line {line}:\n{output}"
    assert "max_message" in output, "what would be right"
    assert "exactly one" in output or "jwt" in output


def test_a_file_that_is_not_there_is_a_usage_error(run):
    for command in ("serve", "check"):
        missing = run(command, "-c", "nowhere.yaml")
        assert missing.returncode == 64
        assert "nowhere.yaml" in missing.stderr + missing.stdout


def test_an_unknown_command_is_a_usage_error(run):
    assert run("serv").returncode == 64


def test_the_schema_is_json(run):
    printed = run("schema")
    assert printed.returncode == 0
    assert {"edge", "session", "auth", "upstreams"} <= set(json.loads(printed.stdout)["properties"])


def test_the_environment_fills_variables(run, services):
    config = gateway_config(services)
    config["upstreams"]["probe"]["address"] = "${PROBE_ADDRESS:-" + services.address + "}"
    assert run("check", config=config).returncode == 0


def test_a_section_that_is_wrong_is_one_mistake(run_check):
    done = run_check({"edge": {"listen": "127.0.0.1:0"}, "auth": {"grace": "5s"}})
    assert done.returncode != 0
    assert "`auth` has none of `jwt`, `rpc` and `none`" in done.stderr
    assert "1 error in routes.yaml" in done.stderr
