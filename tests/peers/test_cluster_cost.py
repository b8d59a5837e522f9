"""What a push to one user costs as a cluster grows: the gateways that hold the user are asked, and
no other."""

from cluster import start_cluster
from push_client import outcomes
from test_admin import ADMIN, metrics

PUSHES = 200


def test_a_push_to_one_user_touches_only_the_gateways_that_hold_the_user(
    start_gateway, services, nats, connect, open_backend, user, capsys
):
    lines = []
    for count in (1, 2, 4, 8):
        nodes = start_cluster(start_gateway, services, nats.url, count, admin=ADMIN, log={"format": "json", "level": "info"})
        for node in nodes:
            event = node.wait_event(lambda it: it.get("message") == "admin listening")
            node.admin_address = event["address"]
        holder = nodes[-1]
        name = f"{user}-{count}"
        connect(holder).log_in(name)
        backend = open_backend(nodes[0])
        before = [metrics(node) for node in nodes]
        for _ in range(PUSHES):
            assert outcomes(backend.push(user_ids=[name], data=b"x")) == ["WRITTEN"]
        after = [metrics(node) for node in nodes]

        def grown(number, name):
            return after[number][name] - before[number][name]

        asked = 'bridgehead_cluster_questions_total{to="holders"}'
        heard = 'bridgehead_cluster_questions_heard_total{to="holders"}'
        assert grown(0, asked) == PUSHES
        for number in range(count):
            is_holder = nodes[number] is holder and count > 1
            assert grown(number, heard) == (PUSHES if is_holder else 0), number
            assert grown(number, 'bridgehead_cluster_questions_heard_total{to="all"}') == 0
        answers = sum(grown(number, "bridgehead_cluster_answers_total") for number in range(count))
        cpu = [grown(number, "process_cpu_seconds_total") for number in range(count)]
        lines.append(
            f"{count} gateways: {grown(0, asked) / PUSHES:.0f} question and {answers / PUSHES:.2f} answers a push; "
            f"CPU of those that neither ask nor hold: {sum(cpu[1:-1]):.2f} s"
        )
        for node in nodes:
            node.kill()
    with capsys.disabled():
        print("", *lines, sep="\n")
