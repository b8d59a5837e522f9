"""The admin listener as probes and Prometheus see it."""

import json
import re
import urllib.error
import urllib.request

ADMIN = {"listen": "127.0.0.1:0"}
SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")


def get(gateway, path, method="GET"):
    """The status, the headers and the body of an answer."""
    request = urllib.request.Request(f"http://{gateway.admin_address}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, refused.read().decode()


def readiness(gateway):
    status, _, body = get(gateway, "/readyz")
    return status, json.loads(body)


def metrics(gateway):
    """Every sample, by name and labels."""
    found = {}
    for line in get(gateway, "/metrics")[2].splitlines():
        if not line.startswith("#"):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            labels = ",".join(sorted(labels.split(","))) if labels else ""
            found[name + ("{" + labels + "}" if labels else "")] = float(value)
    return found


def grown(before, after):
    """What has become more, and by how much."""
    return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
