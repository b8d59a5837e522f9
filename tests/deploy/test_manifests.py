"""Every manifest against the schemas of Kubernetes, and of the custom resources that are used."""

import copy
import json
import re

import jsonschema
import kubernetes_validate
import pytest

from chart import CHART, OUT, ROOT, Refused

# The oldest that Chart.yaml names, and a new one.
VERSIONS = ["1.27", "1.37"]
CUSTOM = {
    "gateway.networking.k8s.io/v1": ["HTTPRoute"],
    "monitoring.coreos.com/v1": ["ServiceMonitor", "PodMonitor", "PrometheusRule"],
}


def is_custom(manifest):
    return manifest["kind"] in CUSTOM.get(manifest["apiVersion"], [])


def strict(schema):
    """The schema with unknown fields refused wherever it says which fields there are."""
    schema = copy.deepcopy(schema)
    pending = [schema]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending.extend(part)
        elif isinstance(part, dict):
            pending.extend(part.values())
            if isinstance(part.get("properties"), dict) and "additionalProperties" not in part:
                part["additionalProperties"] = False
            # What Kubernetes' own schemas say of metadata is checked of every other manifest.
            if str(part.get("$ref", "")).endswith("ObjectMeta#"):
                del part["$ref"]
                part["type"] = "object"
    return schema


def custom_validator(kind):
    schema = json.loads((OUT / "schemas" / f"{kind}.json").read_text())
    return jsonschema.Draft7Validator(strict(schema))


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(release, version):
    checked = 0
    for manifest in copy.deepcopy(release.manifests):
        if not is_custom(manifest):
            if version == "1.27" and manifest["kind"] == "Deployment":
                # preStopSleepSeconds needs 1.30, as values.yaml says.
                manifest["spec"]["template"]["spec"]["containers"][0].pop("lifecycle", None)
            kubernetes_validate.validate(manifest, version, strict=True)
            checked += 1
    assert checked >= 4


def test_custom_resources_have_the_fields_of_their_definitions(release):
    for manifest in filter(is_custom, release.manifests):
        custom_validator(manifest["kind"]).validate(manifest)


def test_some_values_render_each_kind(helm):
    files = sorted((CHART / "ci").glob("*.yaml"))
    kinds = {manifest["kind"] for file in files for manifest in helm.template(file).manifests}
    assert kinds >= {
        "Deployment", "Service", "ConfigMap", "ServiceAccount", "StatefulSet", "Pod",
        "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "Ingress",
        "HTTPRoute", "ServiceMonitor", "PodMonitor",
    }  # fmt: skip


def test_the_validators_refuse_what_is_wrong(helm):
    release = helm.template(CHART / "ci" / "full-values.yaml")
    deployment = copy.deepcopy(release.deployment)
    deployment["spec"]["replicaz"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)
    for kind, path in [("HTTPRoute", "rules"), ("PodMonitor", "podMetricsEndpoints")]:
        manifest = copy.deepcopy(release.all(kind)[0])
        manifest["spec"][path][0]["tiemouts"] = {}
        with pytest.raises(jsonschema.ValidationError, match="tiemouts"):
            custom_validator(kind).validate(manifest)
        manifest = copy.deepcopy(release.all(kind)[0])
        manifest["spec"][path] = "none"
        with pytest.raises(jsonschema.ValidationError):
            custom_validator(kind).validate(manifest)


def test_names_are_unique_and_short_enough(release):
    seen = set()
    for manifest in release.manifests:
        name = manifest["metadata"]["name"]
        assert (manifest["kind"], name) not in seen
        seen.add((manifest["kind"], name))
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
        assert len(name) <= 63


def test_long_names_are_cut(helm):
    long = "a-release-with-a-name-of-more-characters-than-fit-in-it"
    release = helm.template(CHART / "ci" / "nats-values.yaml", values={"nameOverride": long})
    test_names_are_unique_and_short_enough(release)


def test_values_appear_everywhere(helm):
    release = helm.template(CHART / "ci" / "full-values.yaml")
    for manifest in release.manifests:
        assert manifest["metadata"]["labels"]["team"] == "messaging", manifest["kind"]
    assert release.gateway["image"].startswith("registry.example.com/im/bridgehead@sha256:")
    assert release.pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert release.pod["spec"]["priorityClassName"] == "edge"
    assert {"name": "scratch", "emptyDir": {}} in release.pod["spec"]["volumes"]
    assert {"name": "scratch", "mountPath": "/scratch"} in release.gateway["volumeMounts"]
    assert release.gateway["envFrom"] == [{"configMapRef": {"name": "edge-env"}}]
    assert release.pod["metadata"]["annotations"]["example.com/a"] == "b"
    assert release.pod["metadata"]["labels"]["example.com/c"] == "d"
    # A number that large must not become 5e+06.
    assert release.config["edge"]["max_connections"] == 5_000_000
    assert "max_connections: 5000000\n" in release.config_text


def test_the_chart_has_the_version_of_the_crate():
    cargo = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    chart = re.search(r'^appVersion: "(.+)"$', (CHART / "Chart.yaml").read_text(), re.MULTILINE)
    assert chart[1] == cargo[1]


def test_the_oldest_version_is_that_of_the_chart():
    assert f'kubeVersion: ">={VERSIONS[0]}.0-0"' in (CHART / "Chart.yaml").read_text()


def test_helm_lints(helm, values_file):
    helm.run("lint", "--strict", CHART, "-f", values_file)


def test_helm_lints_the_defaults(helm):
    helm.run("lint", "--strict", CHART)


def test_the_defaults_ask_for_what_only_the_installer_knows(helm):
    with pytest.raises(Refused, match="config.auth is missing"):
        helm.template()


@pytest.mark.parametrize(
    "copied, original",
    [
        ("files/alerts.yaml", "deploy/prometheus/alerts.yaml"),
        ("files/dashboard.json", "deploy/grafana/bridgehead.json"),
    ],
)
def test_the_charts_copies_are_current(helm, copied, original):
    """Helm reads only inside of the chart's folder, so alerts and dashboard are there once more."""
    copy_, source = CHART / copied, ROOT / original
    if not source.exists():
        assert not copy_.exists(), f"{original} is gone, its copy is not: make chart"
        pytest.skip(f"there is no {original}")
    assert copy_.exists() and copy_.read_bytes() == source.read_bytes(), "they differ: make chart"


@pytest.mark.parametrize(
    "what, kind, file",
    [
        ("prometheusRule", "PrometheusRule", "files/alerts.yaml"),
        ("dashboard", "ConfigMap", "files/dashboard.json"),
    ],
)
def test_alerts_and_dashboard_are_rendered_or_said_to_be_missing(helm, what, kind, file):
    values = {f"metrics.{what}.enabled": True}
    minimal = CHART / "ci" / "minimal-values.yaml"
    if not (CHART / file).exists():
        with pytest.raises(Refused, match=f"packaged without {re.escape(file)}"):
            helm.template(minimal, values=values)
        return
    release = helm.template(minimal, values=values)
    if kind == "ConfigMap":
        dashboard = release.get(kind, f"{release.name}-dashboard")
        assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert dashboard["data"]["bridgehead.json"] == (CHART / file).read_text()
    else:
        (rule,) = release.all(kind)
        custom_validator(kind).validate(rule)
        assert rule["spec"]["groups"]
