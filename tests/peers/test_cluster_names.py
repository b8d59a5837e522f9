"""What gateways are called: for people alone. They know each other by numbers of their own."""

import time
from collections import Counter

import pytest
from cluster import cluster_config, start_cluster, wait_log
from configuration import PUSH, gateway_config
from push_client import ACKNOWLEDGED, Outcome, outcomes

LONG = 60


def test_a_gateway_is_called_what_its_configuration_says(start_gateway, services, nats, connect, open_backend, user):
    [gateway] = start_cluster(start_gateway, services, nats.url, 1, cluster={"node": "eu-1.gw_7"})
    connect(gateway).log_in(user)
    backend = open_backend(gateway)
    assert [it.node for it in backend.sessions(user_ids=[user])] == ["eu-1.gw_7"]
    [receipt] = backend.push(user_ids=[user], data=b"x", confirm=ACKNOWLEDGED, deadline=LONG)
    assert receipt.session.node == "eu-1.gw_7"


def test_without_it_a_gateway_is_called_like_its_machine(start_gateway, services, connect, open_backend, user):
    gateway = start_gateway(gateway_config(services, push=PUSH), env={"HOSTNAME": "pod-1"})
    connect(gateway).log_in(user)
    assert [it.node for it in open_backend(gateway).sessions(user_ids=[user])] == ["pod-1"]


def test_gateways_of_one_name_are_still_two(start_gateway, services, nats, connect, open_backend, user):
    nodes = start_cluster(start_gateway, services, nats.url, 3, cluster={"node": "twin"})
    clients = [connect(node).log_in(f"{user}-{number}") for number, node in enumerate(nodes)]
    # And one user at all of them.
    shared = [connect(node).log_in(user, deviceId=f"d{number}") for number, node in enumerate(nodes)]
    users = [user, *(f"{user}-{number}" for number in range(3))]
    for node in nodes:
        backend = open_backend(node)
        listed = backend.sessions(user_ids=users)
        assert Counter(it.user_id for it in listed) == {user: 3, **dict.fromkeys(users[1:], 1)}
        assert {it.node for it in listed} == {"twin"}
        receipts = backend.push(user_ids=users, data=b"x", confirm=ACKNOWLEDGED, deadline=LONG)
        assert Counter(Outcome.Name(it.outcome) for it in receipts) == {"ACKNOWLEDGED": 6}
        for client in clients + shared:
            assert client.receive_push().data == b"x"
    # One device has one session in all of them.
    moved = connect(nodes[1]).log_in(f"{user}-0")
    assert clients[0].wait_closed()[0] == 3004
    # One of them goes, and only its sessions.
    nodes[2].kill()
    for node in nodes[:2]:
        wait_log(node, "a gateway of the cluster is lost")
    began = time.monotonic()
    told = outcomes(open_backend(nodes[0]).push(user_ids=users, data=b"y", deadline=LONG))
    assert Counter(told) == {"WRITTEN": 4, "OFFLINE": 1}
    assert time.monotonic() - began < 5
    for client in (clients[1], moved, *shared[:2]):
        assert client.receive_push().data == b"y"


@pytest.mark.parametrize("node", ["", "gateway 1", "-gateway", "a" * 254, "gäteway", "a\nb"])
def test_a_name_that_is_none_is_refused(services, run_check, nats, node):
    done = run_check(cluster_config(services, nats.url, "test", cluster={"node": node}), "--offline")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "routes.yaml:" in said and "`node`" in said, said
