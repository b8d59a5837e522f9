"""The pods: what they run as, what they mount, and that everything named is there."""

import re

import pytest

from chart import CHART


def containers(pod):
    return pod["spec"].get("initContainers", []) + pod["spec"]["containers"]


def test_every_pod_fits_the_restricted_standard(release):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    pods = release.pods()
    assert pods
    for what, pod in pods.items():
        spec = pod["spec"]
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            assert not spec.get(field), what
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", what
        for volume in spec.get("volumes", []):
            (kind,) = volume.keys() - {"name"}
            assert kind in {"configMap", "secret", "emptyDir", "projected", "downwardAPI"}, what
        for container in containers(pod):
            context = spec["securityContext"] | container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, what
            assert context["runAsNonRoot"] is True, what
            assert context["runAsUser"] != 0, what
            assert context["capabilities"] == {"drop": ["ALL"]}, what
            assert not context.get("privileged"), what
            assert not any("hostPort" in port for port in container.get("ports", [])), what


def test_pods_are_hardened_beyond_it(release):
    for what, pod in release.pods().items():
        assert pod["spec"]["automountServiceAccountToken"] is False, what
        for container in containers(pod):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, what
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, what
            assert "memory" in container["resources"]["limits"], what


def test_an_image_is_pinned_to_a_version(release):
    for what, pod in release.pods().items():
        for container in containers(pod):
            assert re.search(r":[0-9]|@sha256:[0-9a-f]{64}$", container["image"]), what


def test_probes_ask_ports_that_exist(release):
    for what, pod in release.pods().items():
        for container in containers(pod):
            names = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
            assert len(set(names.values())) == len(names), what
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe in container:
                    assert container[probe]["httpGet"]["port"] in names, f"{what} {probe}"


def test_the_gateway_is_asked_on_its_admin_listener(release):
    paths = {probe: release.gateway[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe: get["port"] for probe, get in paths.items()} == dict.fromkeys(paths, "admin")
    assert paths["readinessProbe"]["path"] == "/readyz"
    assert paths["livenessProbe"]["path"] == paths["startupProbe"]["path"] == "/healthz"


def test_readiness_fails_within_the_drains_delay(helm):
    """With the defaults: until then a pod that goes away is still sent clients."""
    probe = helm.template(CHART / "ci" / "minimal-values.yaml").gateway["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"] < 5


def test_container_ports_are_those_of_the_listeners(release):
    ports = {port["name"]: port["containerPort"] for port in release.gateway["ports"]}
    listeners = {"client": "edge", "push": "push", "admin": "admin"}
    expected = {
        port: int(release.config[section]["listen"].rsplit(":", 1)[1])
        for port, section in listeners.items()
        if section in release.config
    }
    assert ports == expected


def test_services_lead_to_ports_of_pods(release):
    services = release.all("Service")
    assert {service["metadata"]["name"] for service in services} >= {release.name, f"{release.name}-admin"}
    for service in services:
        name = service["metadata"]["name"]
        pods = release.selected(service["spec"]["selector"])
        assert len(pods) == 1, f"{name} selects {len(pods)} kinds of pods"
        names = {port["name"] for port in containers(pods[0])[0]["ports"]}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in names, name
        assert service["spec"].get("sessionAffinity", "None") == "None"


def test_workloads_select_their_own_pods_and_no_others(release):
    for kind in ("Deployment", "StatefulSet"):
        for workload in release.all(kind):
            selector = workload["spec"]["selector"]["matchLabels"]
            assert release.selected(selector) == [workload["spec"]["template"]]


def test_pods_spread(release):
    for what, pod in release.pods().items():
        if not what.startswith("Pod "):
            assert pod["spec"]["topologySpreadConstraints"], what


def test_every_mount_has_its_volume_and_every_volume_is_mounted(release):
    for what, pod in release.pods().items():
        volumes = [volume["name"] for volume in pod["spec"].get("volumes", [])]
        assert len(volumes) == len(set(volumes)), what
        mounts = [mount for container in containers(pod) for mount in container.get("volumeMounts", [])]
        assert {mount["name"] for mount in mounts} == set(volumes), what
        paths = [mount["mountPath"] for mount in mounts]
        assert len(paths) == len(set(paths)), what


def test_config_maps_that_are_mounted_exist(release):
    for what, pod in release.pods().items():
        for volume in pod["spec"].get("volumes", []):
            if "configMap" in volume:
                assert release.has("ConfigMap", volume["configMap"]["name"]), what


def test_the_service_account_exists(release):
    accounts = {account["metadata"]["name"] for account in release.all("ServiceAccount")} | {"default"}
    for what, pod in release.pods().items():
        assert pod["spec"]["serviceAccountName"] in accounts, what
    for account in release.all("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def secret_references(release):
    """Secrets and keys that the gateway's pod takes values and files from."""
    found = set()
    for variable in release.gateway.get("env", []):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference:
            found.add((reference["name"], reference["key"]))
    for volume in release.pod["spec"]["volumes"]:
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440
            found.add((volume["secret"]["secretName"], None))
    return found


@pytest.mark.parametrize(
    "values, expected",
    [
        ("minimal", {("im-jwt", None), ("im-push", None)}),
        ("nats", {("im-push", None), ("im-nats", "token")}),
        (
            "tls",
            {
                ("im-session", None),
                ("im-jwt", None),
                ("im-edge-tls", None),
                ("im-push-tls", None),
                ("im-client-tls", None),
            },
        ),
        ("external-nats", {("im-jwt", None), ("im-push", None), ("im-nats", None), ("im-nats-tls", None)}),
        ("nats-user", {("im-jwt", None), ("im-push", None), ("im-nats", "user"), ("im-nats", "password")}),
        ("single", set()),
    ],
)
def test_the_secrets_that_are_named_and_no_others_are_used(helm, values, expected):
    assert secret_references(helm.template(CHART / "ci" / f"{values}-values.yaml")) == expected


def test_no_secret_is_made_or_written_into_a_manifest(release):
    assert not release.all("Secret")
    for variable in release.gateway.get("env", []):
        if "TOKEN" in variable["name"] or "PASSWORD" in variable["name"]:
            assert "value" not in variable
