"""The configuration inside the ConfigMap: what the real gateway says of it."""

import os
import re
import subprocess

import pytest
import yaml

from chart import CHART
from credentials import secret_content

# Where the pod has it, and so where the test has it under a folder of its own.
HOME = "/etc/bridgehead"


def environment(release):
    """The variables that the Deployment sets, with values such as people put into Secrets."""
    variables = {}
    for variable in release.gateway.get("env", []):
        if "value" in variable:
            variables[variable["name"]] = variable["value"]
        elif "secretKeyRef" in variable["valueFrom"]:
            variables[variable["name"]] = secret_content(variable["valueFrom"]["secretKeyRef"]["key"])
    return variables


def mounted(release, folder, binary):
    """Everything that the pod mounts below /etc/bridgehead, below a folder."""
    volumes = {volume["name"]: volume for volume in release.pod["spec"]["volumes"]}
    for mount in release.gateway["volumeMounts"]:
        if not mount["mountPath"].startswith(HOME):
            continue
        place = folder / mount["mountPath"].removeprefix(HOME + "/")
        place.mkdir(parents=True)
        volume = volumes[mount["name"]]
        if "configMap" in volume:
            config_map = release.get("ConfigMap", volume["configMap"]["name"])
            for name, text in config_map["data"].items():
                (place / name).write_text(text.replace(HOME, str(folder)))
            for name in config_map.get("binaryData", {}):
                (place / name).write_bytes(b"")
        else:
            # What a Secret of this kind holds; which keys are used is told by the configuration.
            for path in re.findall(rf"{re.escape(mount['mountPath'])}/([^\s\"']+)", release.config_text):
                (place / path).write_text(secret_content(path, binary))
    return folder / "config" / "routes.yaml"


def newer_keys(release, schema):
    """Keys of `cluster` that this binary does not know yet."""
    known = schema["$defs"].get("ClusterConfig", {}).get("properties", {})
    return sorted(release.config.get("cluster", {}).keys() - known.keys())


def test_the_gateway_accepts_it(release, binary, config_schema, tmp_path):
    newer = newer_keys(release, config_schema)
    if newer:
        pytest.skip(f"this binary does not know cluster.{', cluster.'.join(newer)}")
    file = mounted(release, tmp_path, binary)
    done = subprocess.run(
        [binary, "check", "--offline", "--config", file],
        env={"PATH": os.environ["PATH"], **environment(release)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    others = [line for line in done.stderr.splitlines() if re.match("(warning|error)", line)]
    assert all("not available in this version" in line for line in others), done.stderr


def test_the_gateway_would_refuse_a_bad_one(helm, binary, tmp_path):
    values = {"config.hooks": {"connected": {"upstream": "nowhere", "rpc": "pb.imService/AfterConnect"}}}
    file = mounted(helm.template(CHART / "ci" / "minimal-values.yaml", values=values), tmp_path, binary)
    done = subprocess.run(
        [binary, "check", "--offline", "--config", file],
        env={},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 64 and "nowhere" in done.stderr


def test_every_variable_is_set(release):
    names = {variable["name"] for variable in release.gateway.get("env", [])}
    for name, default in re.findall(r"(?<!\$)\$\{([A-Z_0-9]+)(:-)?", release.config_text):
        assert name in names or default, name


def test_every_secret_file_is_mounted(release):
    mounts = [mount["mountPath"] for mount in release.gateway["volumeMounts"]]
    for path in re.findall(rf"{HOME}/secrets/[^\s\"']+", release.config_text):
        assert os.path.dirname(path) in mounts, path


def test_the_program_reads_the_file_that_is_mounted(release):
    assert release.gateway["args"][:2] == ["serve", "--config=/etc/bridgehead/config/routes.yaml"]
    assert {"name": "config", "mountPath": "/etc/bridgehead/config", "readOnly": True} in release.gateway[
        "volumeMounts"
    ]


def test_secrets_become_what_the_configuration_calls_them(helm):
    config = helm.template(CHART / "ci" / "tls-values.yaml").config
    assert config["session"]["private_key"] == f"{HOME}/secrets/session-key/session.pem"
    assert config["auth"]["jwt"] == {"audience": "im", "keys": f"{HOME}/secrets/jwt-keys/jwks.json"}
    assert config["edge"]["tls"] == {
        "cert": f"{HOME}/secrets/edge-tls/tls.crt",
        "key": f"{HOME}/secrets/edge-tls/tls.key",
    }
    tokens = helm.template(CHART / "ci" / "nats-values.yaml").config["push"]["tokens"]
    assert tokens == [{"token_file": f"{HOME}/secrets/push-tokens/{name}"} for name in ("current", "next")]
    assert config["push"]["tls"]["client_ca"] == f"{HOME}/secrets/push-tls/ca.crt"
    external = helm.template(CHART / "ci" / "external-nats-values.yaml").config
    assert external["auth"]["jwt"] == {"user_claim": "sub", "secret": f"{HOME}/secrets/jwt-secret/jwt.secret"}
    cluster = external["cluster"]
    assert cluster == {
        "nats": "tls://nats.messaging:4222",
        "name": "im-production",
        "credentials": f"{HOME}/secrets/nats-credentials/gateway.creds",
        "tls": {
            file: f"{HOME}/secrets/nats-tls/{name}"
            for file, name in [("ca", "ca.crt"), ("cert", "tls.crt"), ("key", "tls.key")]
        },
    }
