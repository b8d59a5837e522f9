"""What `helm install` says at its end."""

import pytest

from chart import CHART

CI = CHART / "ci"


def test_notes_tell_how_to_go_on(helm, values_file):
    notes = helm.notes(values_file)
    assert "rollout status deployment/" in notes and "port-forward" in notes
    assert "<no value>" not in notes and "%!" not in notes


@pytest.mark.parametrize(
    "values, said, unsaid",
    [
        (
            "single",
            ["ws://rel-bridgehead.im:80/ws", "Every login is accepted", "No upstreams yet"],
            ["Backends push to"],
        ),
        (
            "minimal",
            ["rel-bridgehead-push.im:9090", "The Push API has no TLS", "NATS accepts every connection"],
            ["Every login", "No upstreams"],
        ),
        ("nats", [], ["NATS accepts every connection", "admin listener (network"]),
        (
            "ingress",
            ["wss://im.example.com/im", "wss://im.example.org/im"],
            ["Clients connect without TLS", "Every client has the address"],
        ),
        ("gateway", ["wss://im.example.com/ws"], ["Clients connect without TLS"]),
        ("tls", ["wss://<external IP>:443/ws"], ["without TLS", "has no TLS"]),
    ],
)
def test_notes_tell_where_it_is_and_what_is_open(helm, values, said, unsaid):
    notes = helm.notes(CI / f"{values}-values.yaml")
    for text in said:
        assert text in notes
    for text in unsaid:
        assert text not in notes


PROXIES = {"config.edge.trusted_proxies": ["10.0.0.0/8"]}
BALANCER = {"service.client.type": "LoadBalancer"}
HEADER = PROXIES | {"config.edge.proxy_protocol": True}
LOST = "Kubernetes replaces the addresses of clients"


@pytest.mark.parametrize(
    "values, said, unsaid",
    [
        ({}, [], ["addresses of clients", "Check these settings"]),
        (
            BALANCER,
            [
                LOST,
                "externalTrafficPolicy: Local",
                "proxy_protocol with trusted_proxies",
                "All connections through the LoadBalancer: the source address, which may be a node's",
            ],
            [],
        ),
        ({"service.client.type": "NodePort"}, [LOST, "externalTrafficPolicy: Local"], ["PROXY"]),
        (BALANCER | {"service.client.externalTrafficPolicy": "Cluster"}, [LOST], []),
        (
            BALANCER | {"service.client.externalTrafficPolicy": "Local"},
            ["All connections through the LoadBalancer: the source address, which is the client's"],
            [LOST, "PROXY", "HTTP header"],
        ),
        (
            BALANCER | HEADER,
            ["Connections from config.edge.trusted_proxies: from the PROXY header", "Other connections through"],
            [LOST, "HTTP header"],
        ),
        (BALANCER | PROXIES, [LOST, "from the HTTP header x-forwarded-for"], ["the PROXY header"]),
        (
            BALANCER | PROXIES | {"config.edge.client_address": "cf-connecting-ip"},
            ["from the HTTP header cf-connecting-ip"],
            ["has no effect"],
        ),
        (BALANCER | PROXIES | {"config.edge.client_address": "none"}, ["All connections"], ["HTTP header"]),
        ({"config.edge.client_address": "cf-connecting-ip"}, ["config.edge.client_address has no effect"], []),
        (
            {"ingress.enabled": True},
            ["Every client has the address of the proxy", "All connections: the source address, which is the proxy's"],
            [],
        ),
        ({"ingress.enabled": True} | PROXIES, ["from the HTTP header"], ["Every client has the address"]),
        ({"ingress.enabled": True} | HEADER, ["Most Ingress controllers and Gateways send none"], []),
    ],
)
def test_notes_tell_how_addresses_of_clients_arrive(helm, values, said, unsaid):
    notes = helm.notes(CI / "minimal-values.yaml", values=values)
    for text in said:
        assert text in notes
    for text in unsaid:
        assert text not in notes


ROUTE = {"httpRoute.enabled": True, "httpRoute.parentRefs": [{"name": "public"}]}


@pytest.mark.parametrize(
    "values, said",
    [
        ({"ingress.controller": "nginx", "ingress.idleTimeoutSeconds": 60}, "clients that answer a ping slowly"),
        ({"ingress.controller": "haproxy", "ingress.idleTimeoutSeconds": 7200}, "idleTimeoutSeconds has no effect"),
        ({"ingress.controller": ""}, "idle for 60 s, and the gateway pings idle clients only every 90 s"),
        ({"ingress.controller": "haproxy", "config.session.ping_interval": "1h"}, "timeout-tunnel of its ConfigMap"),
        (BALANCER | {"config.session.ping_interval": "5m"}, "forget connections that are idle"),
        (ROUTE | {"config.session.ping_interval": "5m"}, "end requests that are idle for 300 s"),
    ],
)
def test_notes_warn_of_idle_timeouts(helm, values, said):
    """Of those that are too short for the pings, and of none where the pings are often enough."""
    slow = {"config.session.ping_interval": "55s"} if "ingress.idleTimeoutSeconds" in values else {}
    slow = slow or {"config.session.ping_interval": "90s"}
    values = {"ingress.enabled": "ingress.controller" in values} | values
    notes = helm.notes(CI / "minimal-values.yaml", values=slow | values)
    assert said in notes
    if "no effect" in said:
        return
    for ping in ("25s", "${PING}"):
        often = helm.notes(CI / "minimal-values.yaml", values=values | {"config.session.ping_interval": ping})
        assert said not in often


def test_notes_say_that_traefik_verifies_the_certificate(helm):
    values = {"ingress.enabled": True, "ingress.controller": "traefik", "secrets.edgeTls.secretName": "edge"}
    assert "set ingress.serversTransport" in helm.notes(CI / "minimal-values.yaml", values=values)
    named = {"ingress.serversTransport": "im-bridgehead@kubernetescrd"}
    assert "serversTransport" not in helm.notes(CI / "minimal-values.yaml", values=values | named)
