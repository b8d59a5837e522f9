"""How pods come and go: what restarts them, how long they have, and how many."""

import re

import pytest

from chart import CHART, ROOT, Refused

MINIMAL = CHART / "ci" / "minimal-values.yaml"
# After delay and period: calls in flight, goodbyes, hooks (src/app/stop.rs), leaving the cluster
# (src/broker/cluster/mod.rs), the callers of the Push API (src/push/mod.rs), and some to spare.
BEHIND = 10 + 4 + 5 + 2 + 2 + 5


def source(path):
    return (ROOT / "src" / path).read_text()


def test_the_times_behind_the_drain_are_those_of_the_gateway():
    constant = r"^const (\w+): Duration = Duration::from_secs\((\d+)\);"
    seconds = dict(re.findall(constant, source("app/stop.rs"), re.MULTILINE))
    stop = sum(int(seconds[name]) for name in ("GRACE", "GOODBYE", "HOOKS"))
    push = int(dict(re.findall(constant, source("push/mod.rs"), re.MULTILINE))["GOODBYE"])
    leave = re.search(r"pub async fn stop\(&self\) \{(.*?)\n    \}", source("broker/cluster/mod.rs"), re.DOTALL)[1]
    cluster = sum(map(int, re.findall(r"Duration::from_secs\((\d+)\)", leave)))
    assert (stop, cluster, push) == (10 + 4 + 5, 2, 2)
    assert stop + cluster + push + 5 == BEHIND


def test_what_needs_a_restart_is_what_the_gateway_says():
    """configRoll whenNeeded leaves out of the checksum what reloads; reload.rs names what does not."""
    need_restart = set(re.findall(r"^ +\(\"(\w+)\", ", source("app/reload.rs"), re.MULTILINE))
    assert need_restart >= {"edge", "session", "drain"}
    omitted = re.search(r"\(omit \$config ([^)]*)\)", (CHART / "templates" / "_config.tpl").read_text())[1]
    assert not need_restart & set(re.findall(r'"(\w+)"', omitted))


def checksum(release):
    return release.pod["metadata"]["annotations"]["checksum/config"]


def test_no_pod_goes_before_another_is_ready(release):
    strategy = release.deployment["spec"]["strategy"]
    assert strategy["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize(
    "delay, period, seconds",
    [
        ("5s", "20s", 25),
        ("0s", "0s", 0),
        ("1m30s", "2m", 210),
        ("1m 30s", "20s", 110),
        ("250ms", "100ms", 2),
        ("1500ms", "1h", 3602),
    ],
)
def test_the_grace_period_follows_drain(helm, delay, period, seconds):
    values = {"config.drain": {"delay": delay, "period": period}}
    release = helm.template(MINIMAL, values=values)
    assert release.pod["spec"]["terminationGracePeriodSeconds"] == seconds + BEHIND
    assert release.deployment["spec"]["minReadySeconds"] == seconds
    assert release.deployment["spec"]["progressDeadlineSeconds"] > seconds + BEHIND
    assert release.config["drain"] == {"delay": delay, "period": period}


def test_the_defaults_of_drain_are_those_of_the_gateway(helm, config_schema):
    for values in ({}, {"config.drain": None}):
        release = helm.template(MINIMAL, values=values)
        assert release.pod["spec"]["terminationGracePeriodSeconds"] == 25 + BEHIND
    drain = config_schema["$defs"]["DrainConfig"]["properties"]
    assert (drain["delay"]["default"], drain["period"]["default"]) == ("5s", "20s")


def test_a_sleep_before_sigterm_counts(helm):
    release = helm.template(MINIMAL, values={"preStopSleepSeconds": 7})
    assert release.gateway["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}
    assert release.pod["spec"]["terminationGracePeriodSeconds"] == 25 + 7 + BEHIND
    assert "lifecycle" not in helm.template(MINIMAL).gateway


def test_a_longer_grace_period_is_taken_and_a_shorter_one_refused(helm):
    release = helm.template(MINIMAL, values={"terminationGracePeriodSeconds": 25 + BEHIND})
    assert release.pod["spec"]["terminationGracePeriodSeconds"] == 25 + BEHIND
    with pytest.raises(Refused, match=f"Seconds: {24 + BEHIND} is too short: expected at least {25 + BEHIND} s"):
        helm.template(MINIMAL, values={"terminationGracePeriodSeconds": 24 + BEHIND})


def test_a_time_that_is_not_known_here_is_refused(helm):
    for bad in ("${DRAIN_DELAY}", "5", "5 minutes"):
        with pytest.raises(Refused, match="config.drain.delay: .* is not a duration"):
            helm.template(MINIMAL, values={"config.drain.delay": bad})


def test_replicas_are_the_autoscalers_when_there_is_one(helm):
    assert helm.template(MINIMAL).deployment["spec"]["replicas"] == 2
    scaled = helm.template(MINIMAL, values={"autoscaling.enabled": True})
    assert "replicas" not in scaled.deployment["spec"]


CHANGES = {
    "a route": {"config.upstreams.im.routes": {"/v1/x": "pb.X/Y"}},
    "a service": {"config.upstreams.user": {"address": "http://user:8080", "descriptors": "reflection"}},
    "the log": {"config.log.level": "debug"},
    "a listener": {"config.edge.path": "/im"},
    "a file": {"files": {"a.txt": "a"}},
    "a Secret's name": {"secrets.sessionKey.secretName": "other"},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_the_configuration_restarts_the_pods(helm, what):
    assert checksum(helm.template(MINIMAL, values=CHANGES[what])) != checksum(helm.template(MINIMAL))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"replicaCount": 5},
        {"service.client.port": 8080},
        {"ingress.enabled": True},
        {"podLabels": {"a": "b"}},
        {"configRoll": "always"},
    ],
    ids=str,
)
def test_nothing_else_changes_the_checksum(helm, values):
    assert checksum(helm.template(MINIMAL, values=values)) == checksum(helm.template(MINIMAL))


@pytest.mark.parametrize("what", CHANGES)
def test_what_reloads_in_place_restarts_nothing_if_so_wanted(helm, what):
    when_needed = {"configRoll": "whenNeeded"}
    before = checksum(helm.template(MINIMAL, values=when_needed))
    after = checksum(helm.template(MINIMAL, values=when_needed | CHANGES[what]))
    assert (before == after) == (what in {"a route", "a service", "a file"})


def test_a_change_of_nats_restarts_nats_alone(helm):
    values = {"nats.maxPayload": "8MB"}
    before, after = helm.template(MINIMAL), helm.template(MINIMAL, values=values)
    assert checksum(before) == checksum(after)
    nats = [release.all("StatefulSet")[0]["spec"]["template"]["metadata"] for release in (before, after)]
    assert nats[0]["annotations"] != nats[1]["annotations"]
