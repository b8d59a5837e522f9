"""The schema of `config` in the chart's values.schema.json, which is made from `bridgehead schema`."""

import json
import subprocess
import sys

import pytest
import yaml

from chart import CHART, ROOT, Refused

PROGRAM = ROOT / "deploy" / "helm" / "schema.py"
CI = CHART / "ci"
FULL = CI / "full-values.yaml"


def run(schema, *arguments):
    command = [sys.executable, PROGRAM, *arguments]
    return subprocess.run(command, input=json.dumps(schema), capture_output=True, text=True)


def test_the_schema_of_config_is_that_of_the_gateway(config_schema):
    done = run(config_schema, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_key_of_the_gateway_would_be_found(config_schema, tmp_path):
    file = tmp_path / "values.schema.json"
    file.write_text((CHART / "values.schema.json").read_text())
    config_schema = json.loads(json.dumps(config_schema))
    config_schema["$defs"]["EdgeConfig"]["properties"]["shiny"] = {"type": "boolean"}
    done = run(config_schema, "--check", "--chart", tmp_path)
    assert done.returncode == 1 and "make chart" in done.stderr
    assert run(config_schema, "--chart", tmp_path).returncode == 0
    assert run(config_schema, "--check", "--chart", tmp_path).returncode == 0
    edge = json.loads(file.read_text())["$defs"]["config.EdgeConfig"]
    assert edge["properties"]["shiny"] == {"type": "boolean"}


def mappings(value, path=("config",)):
    """Paths of the mappings within a configuration that have keys of the gateway, not of the user."""
    free = {("config", "upstreams"), ("config", "upstreams", "im", "routes")}
    if isinstance(value, dict):
        if path not in free and path[-1] not in ("request", "accept_when"):
            yield path
        for key, inner in value.items():
            if key not in ("request", "accept_when"):
                yield from mappings(inner, (*path, key))


def test_a_misspelt_key_is_named_at_every_depth(helm, tmp_path):
    values = yaml.safe_load(FULL.read_text())
    values["config"]["push"]["tls"] = {"cert": "a", "key": "b"}
    places = list(mappings(values["config"]))
    assert ("config", "upstreams", "im", "routes", "/v1/msg/getMsgById") in places and len(places) > 12
    for path in places:
        at = values
        for key in path:
            at = at[key]
        at["misspelt"] = 1
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(Refused) as refused:
        helm.template(file)
    for path in places:
        pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
        assert f"at '{pointer}': additional properties 'misspelt' not allowed" in str(refused.value), pointer
    with pytest.raises(Refused, match="misspelt"):
        helm.run("lint", CHART, "-f", file)


def test_variables_stand_for_texts_numbers_and_choices(helm):
    values = {
        "config.edge.max_connections": "${MOST}",
        "config.edge.proxy_protocol": "${PROXY:-false}",
        "config.log.level": "${LEVEL:-info}",
        "config.session.ping_interval": "${PING}",
        "config.cluster.name": "${CLUSTER}",
        "config.upstreams.im.address": "${IM}",
        "config.session.one_session_per": "${PER:-device}",
    }
    config = helm.template(CI / "minimal-values.yaml", values=values).config
    assert config["edge"]["max_connections"] == "${MOST}" and config["log"]["level"] == "${LEVEL:-info}"
    for key in ("max_connections", "proxy_protocol"):
        with pytest.raises(Refused, match=f"/config/edge/{key}"):
            helm.template(CI / "minimal-values.yaml", values={f"config.edge.{key}": "much"})


def test_no_secret_is_repeated(helm):
    """Texts of these keys may be secrets; that they are wrong is for the gateway to say."""
    values = {
        "nats.enabled": False,
        "config.cluster": {"nats": "hunter2://hunter2", "password": "hunter2\n", "token": ["hunter2"]},
        "config.push.tokens": [{"token": 1, "tokne": "hunter2"}],
    }
    with pytest.raises(Refused) as refused:
        helm.template(CI / "minimal-values.yaml", values=values)
    assert "/config/cluster/token" in str(refused.value) and "tokne" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_null_turns_a_section_or_a_key_off(helm):
    values = {"config.hooks": None, "config.session": None, "config.edge.tls": None, "config.log.level": None}
    assert "hooks" not in helm.template(CI / "minimal-values.yaml", values=values).config
