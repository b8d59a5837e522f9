"""How clients, backends and Prometheus get there, and who may not."""

import pytest

from chart import CHART

CI = CHART / "ci"
MINIMAL = CI / "minimal-values.yaml"
TLS = {"secrets.edgeTls.secretName": "edge-tls"}


def service(release, suffix=""):
    return release.get("Service", release.name + suffix)


def port_of(service):
    (port,) = service["spec"]["ports"]
    return port


def test_services_tell_proxies_what_is_spoken(helm):
    plain = helm.template(MINIMAL)
    assert port_of(service(plain))["appProtocol"] == "kubernetes.io/ws"
    assert port_of(service(plain, "-push"))["appProtocol"] == "kubernetes.io/h2c"
    tls = helm.template(MINIMAL, values=TLS | {"secrets.pushTls.secretName": "push-tls"})
    assert port_of(service(tls))["appProtocol"] == "kubernetes.io/wss"
    assert "appProtocol" not in port_of(service(tls, "-push"))


def test_there_is_no_push_service_without_push_api(helm):
    release = helm.template(CI / "single-values.yaml")
    assert not release.has("Service", f"{release.name}-push")
    assert "push" not in {port["name"] for port in release.gateway["ports"]}
    assert "push" not in release.config


def test_prometheus_sees_pods_that_are_not_ready(release):
    admin = service(release, "-admin")["spec"]
    assert admin["clusterIP"] == "None" and admin["publishNotReadyAddresses"] is True


def test_a_load_balancer_is_set_up_as_asked(helm):
    spec = service(helm.template(CI / "tls-values.yaml"))["spec"]
    assert spec["type"] == "LoadBalancer" and spec["externalTrafficPolicy"] == "Local"
    assert spec["ports"][0]["port"] == 443


@pytest.mark.parametrize(
    "controller, plain, with_tls",
    [
        (
            "nginx",
            {
                "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
                "nginx.ingress.kubernetes.io/proxy-send-timeout": "3600",
            },
            {"nginx.ingress.kubernetes.io/backend-protocol": "HTTPS"},
        ),
        # It reads timeout-tunnel from its ConfigMap only.
        ("haproxy", {}, {"haproxy.org/server-ssl": "true"}),
        (
            "haproxy-ingress",
            {"haproxy-ingress.github.io/timeout-tunnel": "3600s"},
            {"haproxy-ingress.github.io/secure-backends": "true"},
        ),
        (
            "alb",
            {
                "alb.ingress.kubernetes.io/target-type": "ip",
                "alb.ingress.kubernetes.io/load-balancer-attributes": "idle_timeout.timeout_seconds=3600",
                "alb.ingress.kubernetes.io/healthcheck-protocol": "HTTP",
                "alb.ingress.kubernetes.io/healthcheck-port": "9901",
                "alb.ingress.kubernetes.io/healthcheck-path": "/readyz",
            },
            {"alb.ingress.kubernetes.io/backend-protocol": "HTTPS"},
        ),
        ("traefik", {}, {}),
        ("", {}, {}),
    ],
)
def test_an_ingress_lets_connections_live(helm, controller, plain, with_tls):
    values = {"ingress.enabled": True, "ingress.controller": controller}
    annotations = [
        helm.template(MINIMAL, values=values | more).all("Ingress")[0]["metadata"].get("annotations", {})
        for more in ({}, TLS)
    ]
    assert annotations == [plain, plain | with_tls]


def test_the_service_has_the_settings_of_traefik(helm):
    prefix = "traefik.ingress.kubernetes.io/service."
    behind = {"ingress.enabled": True, "ingress.controller": "traefik", "service.client.port": 443}

    def annotations(values):
        return service(helm.template(MINIMAL, values=values))["metadata"].get("annotations", {})

    # It would take the port for TLS.
    assert annotations(behind) == {f"{prefix}serversscheme": "http"}
    assert annotations(behind | TLS) == {f"{prefix}serversscheme": "https"}
    transport = {"ingress.serversTransport": "im-bridgehead@kubernetescrd"}
    assert annotations(behind | TLS | transport) == {
        f"{prefix}serversscheme": "https",
        f"{prefix}serverstransport": "im-bridgehead@kubernetescrd",
    }
    own = {"service.client.annotations": {f"{prefix}serversscheme": "h2c", "a": "b"}}
    assert annotations(behind | TLS | own) == {f"{prefix}serversscheme": "h2c", "a": "b"}, "yours win"
    assert annotations(behind | {"ingress.enabled": False}) == {}
    assert annotations(behind | TLS | {"ingress.controller": "nginx"}) == {}


def test_an_ingress_leads_every_host_to_the_path_of_the_gateway(helm):
    release = helm.template(CI / "ingress-values.yaml")
    (ingress,) = release.all("Ingress")
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["im.example.com", "im.example.org"]
    for rule in ingress["spec"]["rules"]:
        (path,) = rule["http"]["paths"]
        assert (path["path"], path["pathType"]) == ("/im", "Exact")
        assert path["path"] == release.config["edge"]["path"]
        backend = path["backend"]["service"]
        assert port_of(release.get("Service", backend["name"]))["name"] == backend["port"]["name"]
    assert ingress["spec"]["ingressClassName"] == "nginx"
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "3600"
    assert annotations["nginx.ingress.kubernetes.io/proxy-send-timeout"] == "600", "yours win"


@pytest.mark.parametrize(
    ("edge", "expected"),
    [
        ({}, ["/ws"]),
        ({"config.edge.path": "/im"}, ["/im"]),
        ({"config.edge.paths": {"/ws2": {"server_iv": True}, "/ws": {}}}, ["/ws", "/ws2"]),
    ],
)
def test_every_path_of_the_clients_leads_to_the_gateway(helm, edge, expected):
    open_door = {"ingress.enabled": True, "httpRoute.enabled": True, "httpRoute.parentRefs": [{"name": "g"}]}
    release = helm.template(MINIMAL, values=open_door | edge)
    (ingress,) = release.all("Ingress")
    (rule,) = ingress["spec"]["rules"]
    assert [(it["path"], it["pathType"]) for it in rule["http"]["paths"]] == [(it, "Exact") for it in expected]
    (route,) = release.all("HTTPRoute")
    (rule,) = route["spec"]["rules"]
    assert [it["path"]["value"] for it in rule["matches"]] == expected


def test_an_idle_timeout_beyond_what_a_load_balancer_takes_is_cut(helm):
    (ingress,) = helm.template(CI / "full-values.yaml").all("Ingress")
    annotations = ingress["metadata"]["annotations"]
    assert annotations["alb.ingress.kubernetes.io/load-balancer-attributes"].endswith("=4000")
    assert annotations["alb.ingress.kubernetes.io/healthcheck-port"] == "9902"


def test_an_http_route_has_no_time_limit(helm):
    release = helm.template(CI / "gateway-values.yaml")
    (route,) = release.all("HTTPRoute")
    (rule,) = route["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    (backend,) = rule["backendRefs"]
    assert port_of(release.get("Service", backend["name"]))["port"] == backend["port"]
    assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "gateways", "sectionName": "https"}]


def policies(release):
    return {policy["metadata"]["name"]: policy["spec"] for policy in release.all("NetworkPolicy")}


def test_network_policies_let_in_whom_they_must(helm):
    release = helm.template(CI / "nats-values.yaml")
    found = policies(release)
    gateway, nats = found[release.name], found[f"{release.name}-nats"]
    for policy, kind in [(gateway, "Deployment"), (nats, "StatefulSet")]:
        (workload,) = release.all(kind)
        (pod,) = release.selected(policy["podSelector"]["matchLabels"])
        assert pod == workload["spec"]["template"]
    rules = {rule["ports"][0]["port"]: rule.get("from") for rule in gateway["ingress"]}
    here = [{"podSelector": {}}]
    assert rules == {"client": None, "push": here, "admin": here}
    assert "Egress" not in gateway["policyTypes"]
    # Gateways may talk to NATS, and NATS servers to each other; nobody else.
    peers = {rule["ports"][0]["port"]: rule["from"][0]["podSelector"]["matchLabels"] for rule in nats["ingress"]}
    assert release.selected(peers["nats"]) == [release.pod]
    assert release.selected(peers["routes"]) == [release.all("StatefulSet")[0]["spec"]["template"]]


def test_egress_lets_through_names_and_nats(helm):
    release = helm.template(CI / "full-values.yaml")
    spec = policies(release)[release.name]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    dns, nats, own = spec["egress"]
    assert {(port["port"], port["protocol"]) for port in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert release.selected(nats["to"][0]["podSelector"]["matchLabels"])
    assert own["to"] == [{"podSelector": {"matchLabels": {"role": "backend"}}}]


def test_named_ports_of_policies_exist(release):
    for policy in release.all("NetworkPolicy"):
        (pod,) = release.selected(policy["spec"]["podSelector"]["matchLabels"])
        names = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        for rule in policy["spec"]["ingress"]:
            assert {port["port"] for port in rule["ports"]} <= names


def test_disruption_budgets_guard_the_pods_and_let_nodes_drain(release):
    for budget in release.all("PodDisruptionBudget"):
        assert len(release.selected(budget["spec"]["selector"]["matchLabels"])) == 1
        assert ("minAvailable" in budget["spec"]) != ("maxUnavailable" in budget["spec"])
        assert budget["spec"].get("maxUnavailable") != 0
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_the_autoscaler_looks_at_cpu_and_sessions(helm):
    release = helm.template(CI / "full-values.yaml")
    (scaler,) = release.all("HorizontalPodAutoscaler")
    spec = scaler["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": release.name}
    cpu, sessions = spec["metrics"]
    assert cpu["containerResource"]["container"] == release.gateway["name"]
    assert "cpu" in release.gateway["resources"]["requests"]
    assert sessions["pods"] == {
        "metric": {"name": "bridgehead_sessions", "selector": {"matchLabels": {"state": "authenticated"}}},
        "target": {"type": "AverageValue", "averageValue": "20000"},
    }
    down = spec["behavior"]["scaleDown"]
    grace = release.pod["spec"]["terminationGracePeriodSeconds"]
    assert all(policy["periodSeconds"] > grace for policy in down["policies"])
    (only,) = helm.template(CI / "monitoring-values.yaml").all("HorizontalPodAutoscaler")[0]["spec"]["metrics"]
    assert only["pods"]["target"]["averageValue"] == "5k"


@pytest.mark.parametrize(
    "values, kind, endpoints",
    [("monitoring", "ServiceMonitor", "endpoints"), ("full", "PodMonitor", "podMetricsEndpoints")],
)
def test_monitors_select_what_has_the_metrics(helm, values, kind, endpoints):
    release = helm.template(CI / f"{values}-values.yaml")
    (monitor,) = release.all(kind)
    selector = monitor["spec"]["selector"]["matchLabels"]
    if kind == "ServiceMonitor":
        selected = [
            found for found in release.all("Service") if selector.items() <= found["metadata"]["labels"].items()
        ]
        assert [found["metadata"]["name"] for found in selected] == [f"{release.name}-admin"]
        names = {port["name"] for port in selected[0]["spec"]["ports"]}
    else:
        assert release.selected(selector) == [release.pod]
        names = {port["name"] for port in release.gateway["ports"]}
    (endpoint,) = monitor["spec"][endpoints]
    assert endpoint["port"] in names and endpoint["path"] == "/metrics"
