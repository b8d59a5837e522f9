"""Rendering the chart, and finding things in what was rendered."""

import json
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "bridgehead"
OUT = ROOT / "target" / "deploy"
NAMESPACE = "im"


class Refused(Exception):
    """helm did not render, and why."""


class Helm:
    def __init__(self, program):
        self.program = program
        self.rendered = {}

    def run(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Refused(done.stdout + done.stderr)
        return done.stdout

    def template(self, *value_files, values=None):
        """Renders with some files, and values over them."""
        key = (value_files, json.dumps(values, sort_keys=True))
        if key not in self.rendered:
            text = self.run("template", "rel", CHART, *self.arguments(value_files, values))
            self.rendered[key] = Release(text)
        return self.rendered[key]

    def notes(self, *value_files, values=None):
        """What `helm install` would say at its end."""
        text = self.run("install", "rel", CHART, "--dry-run=client", *self.arguments(value_files, values))
        return text.split("\nNOTES:\n", 1)[1]

    @staticmethod
    def arguments(value_files, values):
        files = [argument for file in value_files for argument in ("-f", file)]
        more = [f"--set-json={key}={json.dumps(value)}" for key, value in (values or {}).items()]
        return ["--namespace", NAMESPACE, *files, *more]


class Release:
    """Rendered manifests."""

    def __init__(self, text):
        self.manifests = [document for document in yaml.safe_load_all(text) if document]

    def all(self, kind):
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def get(self, kind, name):
        found = [manifest for manifest in self.all(kind) if manifest["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} of {kind} {name}"
        return found[0]

    def has(self, kind, name):
        return any(manifest["metadata"]["name"] == name for manifest in self.all(kind))

    @property
    def deployment(self):
        (deployment,) = self.all("Deployment")
        return deployment

    @property
    def pod(self):
        """The gateways' pod."""
        return self.deployment["spec"]["template"]

    @property
    def gateway(self):
        """The gateways' container."""
        (container,) = self.pod["spec"]["containers"]
        return container

    @property
    def name(self):
        return self.deployment["metadata"]["name"]

    @property
    def config_text(self):
        return self.get("ConfigMap", self.name)["data"]["routes.yaml"]

    @property
    def config(self):
        return yaml.safe_load(self.config_text)

    def pods(self):
        """Every pod that comes of this: metadata and spec, by what it is made from."""
        found = {}
        for manifest in self.manifests:
            what = f"{manifest['kind']} {manifest['metadata']['name']}"
            if manifest["kind"] == "Pod":
                found[what] = manifest
            elif "template" in manifest.get("spec", {}):
                found[what] = manifest["spec"]["template"]
        return found

    def selected(self, selector):
        """The pods that have all the labels of a selector."""
        return [pod for pod in self.pods().values() if selector.items() <= pod["metadata"]["labels"].items()]
