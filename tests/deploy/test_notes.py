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
            ["Clients connect without TLS", "trusted_proxies"],
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


def test_a_proxy_that_is_not_trusted_is_told(helm):
    notes = helm.notes(CI / "gateway-values.yaml", values={"config.edge.trusted_proxies": []})
    assert "config.edge.trusted_proxies" in notes
