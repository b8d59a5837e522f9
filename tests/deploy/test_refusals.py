"""What the chart refuses, and whether it says what would be right."""

import pytest

from chart import CHART, Refused

MINIMAL = CHART / "ci" / "minimal-values.yaml"

# Values over the minimal ones, and what is said of them.
BY_SCHEMA = [
    ({"replicaCont": 3}, "additional properties 'replicaCont' not allowed"),
    ({"replicaCount": "three"}, "'/replicaCount'.*got string, want integer"),
    ({"replicaCount": -1}, "'/replicaCount'.*minimum"),
    ({"image.tga": "1"}, "'/image'.*additional properties 'tga'"),
    ({"image.pullPolicy": "Sometimes"}, "'/image/pullPolicy'.*must be one of 'Always'"),
    ({"image.digest": "sha256:abc"}, "'/image/digest'.*does not match pattern"),
    ({"config.edg": {}}, "'/config'.*additional properties 'edg'"),
    ({"config.upstreams": []}, "'/config/upstreams'.*got array, want"),
    ({"secrets.pushTokens.keys": []}, "'/secrets/pushTokens/keys'.*minItems"),
    ({"secrets.pushToken": {}}, "'/secrets'.*additional properties 'pushToken'"),
    ({"secrets.files": [{"name": "edge-tls", "secretName": "x"}]}, "'/secrets/files/0/name'"),
    ({"secrets.env": [{"name": "a-b", "secretName": "x", "key": "y"}]}, "'/secrets/env/0/name'"),
    ({"service.client.type": "ExternalName"}, "'/service/client/type'"),
    ({"service.client.port": 70000}, "'/service/client/port'"),
    ({"ingress.controller": "apache"}, "'/ingress/controller'.*'haproxy'"),
    ({"httpRoute.timeouts.request": "1 hour"}, "'/httpRoute/timeouts/request'"),
    ({"autoscaling.sessions.averageValue": "many"}, "'/autoscaling/sessions/averageValue'"),
    ({"podDisruptionBudget.maxUnavailable": "half"}, "'/podDisruptionBudget/maxUnavailable'"),
    ({"livenessProbe.httpGet": {"path": "/"}}, "'/livenessProbe'.*'httpGet'"),
    ({"configRoll": "never"}, "'/configRoll'"),
    ({"nats.replicas": 0}, "'/nats/replicas'"),
    ({"podAnnotations": {"a": 1}}, "'/podAnnotations/a'.*got number, want string"),
    ({"files": {"a/b": "x"}}, "'a/b' does not match pattern"),
]

BY_TEMPLATE = [
    ({"config.auth": None, "secrets.jwtKeys.secretName": ""}, "config.auth is missing"),
    ({"secrets.pushTokens.secretName": ""}, "secrets.pushTokens.secretName"),
    ({"config.push": None}, "config.push: null turns off"),
    ({"config.push.tokens": ["x"]}, "config.push.tokens is set by secrets.pushTokens: leave one"),
    ({"config.auth.jwt.keys": "x.json"}, "config.auth.jwt.keys is set by secrets.jwtKeys"),
    (
        {"secrets.jwtSecret.secretName": "x", "config.auth.jwt.secret": "y"},
        "config.auth.jwt.secret is set by secrets.jwtSecret",
    ),
    ({"config.cluster.nats": "nats://x:4222"}, "config.cluster.nats is set by nats.enabled"),
    ({"nats.enabled": False}, "several gateways need a cluster"),
    ({"nats.enabled": False, "config.cluster.name": "x"}, "config.cluster.nats is missing"),
    ({"secrets.natsUser.secretName": "x"}, "are for a NATS of your own"),
    ({"config.edge.listen": "127.0.0.1:8080"}, "config.edge.listen: 127.0.0.1:8080 is reached by nobody.*0.0.0.0:8080"),
    ({"config.admin.listen": "[::1]:9901"}, r"config.admin.listen: \[::1\]:9901 is reached by nobody"),
    ({"config.edge.listen": "${LISTEN}"}, "config.edge.listen.*is not an address with a port"),
    ({"config.edge.listen": "0.0.0.0:9090"}, "need different ports, not 9090, 9901, 9090"),
    ({"autoscaling.enabled": True, "autoscaling.maxReplicas": 1}, "minReplicas is more than maxReplicas"),
    ({"autoscaling.enabled": True, "autoscaling.cpu.averageUtilization": 0}, "needs something to look at"),
    ({"podDisruptionBudget.minAvailable": 1, "podDisruptionBudget.maxUnavailable": 1}, "not both"),
    ({"httpRoute.enabled": True}, "httpRoute.parentRefs is missing"),
    ({"metrics.serviceMonitor.enabled": True, "metrics.podMonitor.enabled": True}, "enable one"),
    ({"files": {"routes.yaml": ""}}, "routes.yaml is made from config"),
]


def test_the_minimal_values_are_fine(helm):
    helm.template(MINIMAL)


@pytest.mark.parametrize("values, said", BY_SCHEMA, ids=lambda value: str(value)[:60])
def test_the_schema_refuses(helm, values, said):
    with pytest.raises(Refused, match=said):
        helm.template(MINIMAL, values=values)


@pytest.mark.parametrize("values, said", BY_TEMPLATE, ids=lambda value: str(value)[:60])
def test_the_templates_refuse(helm, values, said):
    with pytest.raises(Refused, match=said):
        helm.template(MINIMAL, values=values)


def test_one_gateway_needs_no_cluster(helm):
    single = {"nats.enabled": False, "replicaCount": 1}
    assert "cluster" not in helm.template(MINIMAL, values=single).config
