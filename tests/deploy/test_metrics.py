"""Alerts, dashboard and docs/metrics.md against the metrics that real gateways expose."""

import itertools
import json
import re
import time

import pytest
import yaml

from chart import CHART, ROOT
from exposition import Demo, Gateway, Nats, Program
from nats_server import free_ports
from promql import TARGET, empty, groupings, promtool, selectors

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
ALERTS_TEST = ALERTS.with_name("alerts_test.yaml")
DASHBOARD = ROOT / "deploy" / "grafana" / "bridgehead.json"
DOCUMENT = ROOT / "docs" / "metrics.md"

RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
BOARD = json.loads(DASHBOARD.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = re.findall(r"```promql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
# Name, type, labels of the tables.
ROWS = re.findall(r"^\| `(\w+)` \| (\w+) \| (?:(.*?) )?\| \S.* \|$", DOCUMENT.read_text(), re.MULTILINE)


def named(rule):
    return pytest.param(rule, id=rule["alert"])


@pytest.fixture(scope="module")
def gateways(binary, tmp_path_factory):
    """One gateway alone and two of a cluster, after a client and a push each."""
    folder = tmp_path_factory.mktemp("metrics")
    running = []

    def start(kind, *arguments):
        running.append(kind(*arguments))
        return running[-1]

    try:
        demo = start(Demo, binary, folder / "demo", *free_ports(1))
        nats = start(Nats, folder / "nats")
        alone = start(Gateway, binary, folder / "alone", demo)
        here, there = (start(Gateway, binary, folder / name, demo, nats) for name in ("here", "there"))
        for gateway in (here, there):
            gateway.find("(a gateway is in the cluster)")
        for gateway in (alone, here, there):
            gateway.call()
            gateway.call("--encrypt", demo.public)
            gateway.push_to_nobody()
        yield {"alone": alone, "here": here, "there": there}
    finally:
        for program in reversed(running):
            program.stop()


@pytest.fixture(scope="module")
def exposed(gateways):
    return {name: gateway.metrics() for name, gateway in gateways.items()}


@pytest.fixture(scope="module", params=["alone", "here", "there"])
def one(request, exposed):
    return exposed[request.param]


def in_cluster(exposed):
    return [exposed["here"], exposed["there"]]


def dashboard_expressions():
    found = [target["expr"] for panel in PANELS for target in panel["targets"]]
    found += [annotation["expr"] for annotation in BOARD["annotations"]["list"]]
    for variable in ("$namespace", "$job", "$instance"):
        found = [expression.replace(variable, ".*") for expression in found]
    return [expression.replace("$__rate_interval", "5m") for expression in found]


EXPRESSIONS = {
    "alerts": [rule["expr"] for rule in RULES],
    "dashboard": dashboard_expressions(),
    "document": QUERIES,
}


def test_promtool_has_nothing_to_say_about_the_metrics(one):
    assert promtool("check", "metrics", stdin=one.text) == (0, "")


def test_promtool_would_say_it(one):
    wrong = one.text.replace("bridgehead_logins_total", "bridgehead_logins")
    code, said = promtool("check", "metrics", stdin=wrong)
    assert code != 0 and 'counter metrics should have "_total" suffix' in said


def test_what_was_done_is_counted(exposed):
    for metrics in exposed.values():
        route = {"route": "/v1/relation/getFriendList"}
        assert metrics.value("bridgehead_requests_total", code="Success", **route) == 2
        assert metrics.value("bridgehead_request_duration_seconds_count", **route) == 2
        assert metrics.value("bridgehead_encrypted_handshakes_total", outcome="done") == 1
        assert metrics.value("bridgehead_logins_total", outcome="accepted") == 2
        assert metrics.value("bridgehead_push_receipts_total", outcome="offline") == 1
        assert metrics.value("bridgehead_upstream_endpoints", upstream="relation", state="up") == 1
    for metrics in in_cluster(exposed):
        assert metrics.value("bridgehead_cluster_connected") == 1
        assert metrics.value("bridgehead_cluster_gateways") == 1
        # Made for 30 days.
        for listener in ("edge", "push"):
            left = metrics.value("bridgehead_tls_certificate_expiry_timestamp_seconds", listener=listener) - time.time()
            assert 29 < left / 86400 < 30
    assert "bridgehead_cluster_connected" not in exposed["alone"].names()
    assert "bridgehead_tls_certificate_expiry_timestamp_seconds" not in exposed["alone"].names()


@pytest.mark.parametrize("file", [ALERTS, CHART / "files" / "alerts.yaml"], ids=["original", "copy"])
def test_promtool_takes_the_rules(file):
    code, said = promtool("check", "rules", file)
    assert code == 0 and f"{len(RULES)} rules found" in said, said


def test_the_rules_fire_when_they_should_and_not_before():
    code, said = promtool("test", "rules", ALERTS_TEST.name, cwd=ALERTS_TEST.parent)
    assert code == 0, said


def test_every_alert_is_seen_firing_and_silent():
    """In each scenario all that fires is compared, so what is not listed is silent."""
    fires = set()
    for test in yaml.safe_load(ALERTS_TEST.read_text())["tests"]:
        points = test.get("promql_expr_test", [])
        listed = [re.findall(r'alertname="(\w+)"', sample["labels"]) for at in points for sample in at["exp_samples"]]
        assert not listed or not points[0]["exp_samples"], "the first point must show that nothing fires yet"
        assert all('ALERTS{alertstate="firing"}' in point["expr"] for point in points)
        fires.update(*listed)
    assert fires == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", [named(rule) for rule in RULES])
def test_an_alert_says_how_bad_it_is_and_where_to_look(rule):
    assert rule["alert"].startswith("Bridgehead")
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert re.search("[Ll]ook first at", rule["annotations"]["description"])
    assert len(rule["annotations"]["summary"]) < 120
    # Sums keep no other label than these.
    kept = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    if rule["expr"].startswith(("sum", "min", "histogram_quantile")):
        assert kept <= groupings(rule["expr"]) - {"le"}


def test_every_alert_has_a_name_of_its_own():
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("of", EXPRESSIONS)
def test_what_is_named_exists(of, exposed):
    """Metrics, labels, and the values of labels."""
    metrics = exposed["here"]
    for expression in EXPRESSIONS[of]:
        known = {"le", *TARGET}
        for name, matchers in selectors(expression):
            assert name == "up" or name in metrics.names(), f"there is no {name}: {expression}"
            labels = metrics.labels(name)
            known |= set(labels)
            for label, operator, value in matchers:
                if label in TARGET:
                    continue
                assert label in labels, f"{name} has no {label}: {expression}"
                values = value.split("|") if "~" in operator else [value]
                assert set(values) <= labels[label], f"{label} of {name} is never {value}: {expression}"
        assert selectors(expression), expression
        assert groupings(expression) <= known, f"no such label: {groupings(expression) - known} in {expression}"


@pytest.mark.parametrize("of", ["dashboard", "document"])
def test_every_expression_selects_something(of, exposed, tmp_path):
    """Where everything grows; what is shown only when something is wrong (`> 0` of a gauge) does not count."""
    shown = [it for it in EXPRESSIONS[of] if not re.search(r"== 1$", it)]
    assert len(shown) >= len(EXPRESSIONS[of]) - 1
    assert empty(shown, in_cluster(exposed), tmp_path) == ""


def test_an_expression_that_selects_nothing_would_be_found(exposed, tmp_path):
    wrong = ['bridgehead_sessions{state="conected"}', "bridgehead_session", "sum(", "bridgehead_sessions"]
    said = empty(wrong[:2] + wrong[3:], in_cluster(exposed), tmp_path)
    assert "conected" in said and "bridgehead_session)" in said and "bridgehead_sessions)" not in said
    assert "sum(" in empty([wrong[2]], in_cluster(exposed), tmp_path)


def test_the_document_has_every_metric_and_no_other(exposed):
    assert len(ROWS) == len({name for name, _, _ in ROWS})
    documented = {name: kind for name, kind, _ in ROWS}
    real = {**exposed["alone"].types, **exposed["here"].types}
    assert documented == real
    # A row that the pattern does not take would be missed.
    assert DOCUMENT.read_text().count("\n| `") == len(ROWS)


@pytest.mark.parametrize("name, _, labels", ROWS, ids=[name for name, _, _ in ROWS])
def test_the_document_has_every_label_and_its_values(name, _, labels, exposed):
    real = exposed["here"].labels(name)
    told = {}
    for part in filter(None, labels.split(";")):
        label, values = re.fullmatch(r"\s*`(\w+)`(?:: (.*))?\s*", part).groups()
        told[label] = values and set(values.split(", "))
    assert set(told) == set(real)
    for label, values in told.items():
        assert values is None or values == real[label], label
    assert {label for label, values in told.items() if values is None} <= {"route", "upstream", "version"}


def test_the_dashboard_is_laid_out():
    rows = [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Overview", "Sessions", "Requests", "Upstreams", "Pushes", "Cluster", "Process"]
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
    for one, other in itertools.combinations([panel["gridPos"] for panel in BOARD["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, f"{one} and {other} overlap"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows(panel, exposed):
    assert panel["description"] and panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"
        for name, matchers in selectors(target["expr"]):
            chosen = {(label, value) for label, _, value in matchers}
            assert {(label, f"${label}") for label in ("namespace", "job", "instance")} <= chosen, target["expr"]
        legend = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
        if " by (" in target["expr"]:
            assert legend <= groupings(target["expr"])
            assert groupings(target["expr"]) - {"le"} - legend == set() or panel["type"] == "table"
        else:
            assert legend <= {"instance"}


def test_the_dashboard_lets_choose():
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "job", "instance"]
    assert variables["datasource"]["type"] == "datasource"
    for name in ("namespace", "job", "instance"):
        # Where there are no namespaces, everything is still shown.
        assert variables[name]["allValue"] == ".*" and variables[name]["includeAll"]
        assert "bridgehead_build_info" in variables[name]["definition"]


def test_a_refused_configuration_and_a_lost_nats_are_seen(binary, tmp_path):
    """What alerts look at changes as they think, on a real gateway."""
    running = []
    try:
        running.append(demo := Demo(binary, tmp_path / "demo", *free_ports(1)))
        running.append(nats := Nats(tmp_path / "nats"))
        running.append(gateway := Gateway(binary, tmp_path / "gateway", demo, nats))
        end = time.monotonic() + 30

        def wait(holds):
            while not holds(gateway.metrics()):
                assert time.monotonic() < end, gateway.metrics().text
                time.sleep(0.1)

        wait(lambda it: it.value("bridgehead_cluster_connected") == 1)
        gateway.config.write_text(gateway.config.read_text().replace('"edge"', '"egde"'))
        wait(lambda it: it.value("bridgehead_reloads_total", outcome="refused") == 1)
        Program.stop(nats)
        wait(lambda it: it.value("bridgehead_cluster_connected") == 0)
        Program.stop(demo)
        wait(lambda it: it.value("bridgehead_upstream_endpoints", upstream="relation", state="up") == 0)
        assert promtool("check", "metrics", stdin=gateway.metrics().text) == (0, "")
    finally:
        for program in reversed(running):
            program.stop()
