"""What the chart refuses, and whether it says what would be right."""

import subprocess

import pytest

from chart import CHART, Refused

MINIMAL = CHART / "ci" / "minimal-values.yaml"

NGINX = {"ingress.enabled": True, "ingress.controller": "nginx", "ingress.idleTimeoutSeconds": 60}

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
    ({"config.push": None}, "config.push: null turns the Push API off"),
    ({"config.push.tokens": ["x"]}, "config.push.tokens is already set by secrets.pushTokens: remove one"),
    ({"config.auth.jwt.keys": "x.json"}, "config.auth.jwt.keys is already set by secrets.jwtKeys"),
    (
        {"secrets.jwtSecret.secretName": "x", "config.auth.jwt.secret": "y"},
        "config.auth.jwt.secret is already set by secrets.jwtSecret",
    ),
    ({"config.cluster.nats": "nats://x:4222"}, "config.cluster.nats is already set by nats.enabled"),
    ({"nats.enabled": False}, "several gateways need a cluster"),
    ({"nats.enabled": False, "config.cluster.name": "x"}, "config.cluster.nats is missing"),
    ({"secrets.natsUser.secretName": "x"}, "are for an external NATS"),
    ({"config.edge.listen": "127.0.0.1:8080"}, "listen: 127.0.0.1:8080 is a loopback address.*expected 0.0.0.0:8080"),
    ({"config.admin.listen": "[::1]:9901"}, r"config.admin.listen: \[::1\]:9901 is a loopback address"),
    ({"config.edge.listen": "${LISTEN}"}, "config.edge.listen.*is not a listen address: expected an IP address"),
    ({"config.edge.listen": "0.0.0.0:9090"}, "must have different ports: got 9090, 9901, 9090"),
    ({"autoscaling.enabled": True, "autoscaling.maxReplicas": 1}, "minReplicas is greater than .*maxReplicas"),
    ({"autoscaling.enabled": True, "autoscaling.cpu.averageUtilization": 0}, "autoscaling has no metric"),
    ({"podDisruptionBudget.minAvailable": 1, "podDisruptionBudget.maxUnavailable": 1}, "accepts only one of them"),
    ({"httpRoute.enabled": True}, "httpRoute.parentRefs is missing"),
    ({"metrics.serviceMonitor.enabled": True, "metrics.podMonitor.enabled": True}, "enable one of them"),
    ({"config.edge.proxy_protocol": True}, "proxy_protocol without config.edge.trusted_proxies refuses"),
    (NGINX | {"config.session.ping_interval": "2m"}, r"ping_interval of 120 s.*60 s \(nginx.*proxy-read-timeout\)"),
    (
        {"ingress.enabled": True, "ingress.controller": "alb", "ingress.idleTimeoutSeconds": 7200}
        | {"config.session.ping_interval": "1h 10m"},
        r"ping_interval of 4200 s.*4000 s \(alb.*load-balancer-attributes\)",
    ),
    (
        {"ingress.enabled": True, "ingress.controller": "haproxy-ingress", "ingress.idleTimeoutSeconds": 60}
        | {"config.session.ping_interval": "1m"},
        r"ping_interval of 60 s.*60 s \(haproxy-ingress.github.io/timeout-tunnel\)",
    ),
    (
        {"ingress.enabled": True, "ingress.annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "20"}},
        r"ping_interval of 25 s.*20 s \(nginx.ingress.kubernetes.io/proxy-read-timeout\)",
    ),
    ({"ingress.enabled": True, "config.edge.path": "${AT}"}, r'the path "\$\{AT\}" comes from the environment'),
    ({"ingress.serversTransport": "mine"}, "'/ingress/serversTransport'"),
    ({"files": {"routes.yaml": ""}}, "must not contain routes.yaml: the chart generates it from config"),
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


def test_proxies_and_pings_that_fit_are_fine(helm):
    """Also those that only the gateway knows, since they come from the environment."""
    proxies = {"config.edge.trusted_proxies": ["10.0.0.0/8"], "config.edge.proxy_protocol": True}
    helm.template(MINIMAL, values=proxies)
    helm.template(MINIMAL, values={"config.edge.proxy_protocol": "${PROXY:-false}"})
    helm.template(MINIMAL, values=NGINX | {"config.session.ping_interval": "59s"})
    helm.template(MINIMAL, values=NGINX | {"config.session.ping_interval": "${PING}"})
    helm.template(MINIMAL, values=NGINX | {"ingress.enabled": False, "config.session.ping_interval": "2m"})


def test_the_gateway_refuses_the_same_proxies(binary, tmp_path):
    file = tmp_path / "routes.yaml"
    file.write_text("edge: {listen: 127.0.0.1:0, proxy_protocol: true}\nauth: {none: {insecure: true}}\n")
    done = subprocess.run([binary, "check", "--offline", "--config", file], env={}, capture_output=True, text=True)
    assert done.returncode == 64
    assert "`proxy_protocol` without `trusted_proxies` refuses every load balancer's connections" in done.stderr


def test_one_gateway_needs_no_cluster(helm):
    single = {"nats.enabled": False, "replicaCount": 1}
    assert "cluster" not in helm.template(MINIMAL, values=single).config
