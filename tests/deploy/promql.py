"""What PromQL expressions name, and what promtool says of them."""

import json
import re
import subprocess

import yaml

NAME = r"\b(?:bridgehead_|process_)\w+|\bup\b"
SELECTOR = re.compile(rf"({NAME})(\{{[^}}]*\}})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
# What Prometheus adds to every series.
TARGET = {"namespace": "im", "job": "bridgehead", "instance": "10.0.0.1:9901"}


def selectors(expression):
    """Every metric that is named, with its matchers as (label, operator, value)."""
    return [(name, MATCHER.findall(braces)) for name, braces in SELECTOR.findall(expression)]


def groupings(expression):
    """Every label that is grouped or joined by."""
    return {label.strip() for labels in GROUPING.findall(expression) for label in labels.split(",") if label.strip()}


def promtool(*arguments, stdin=None, cwd=None):
    done = subprocess.run(
        ["promtool", *map(str, arguments)], input=stdin, cwd=cwd, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def empty(expressions, expositions, folder):
    """Evaluates each over an hour in which all that was exposed grows; returns what promtool says of those
    that select nothing, or are not PromQL, and an empty text if there is none."""
    series = []
    for number, exposition in enumerate(expositions, 1):
        target = {**TARGET, "instance": f"10.0.0.{number}:9901"}
        for name, labels, value in [*exposition.samples, ("up", {}, 1.0)]:
            braces = ", ".join(f"{label}={json.dumps(text)}" for label, text in {**labels, **target}.items())
            # A counter grows, and so does a bucket the more the higher it is.
            grows = name.endswith(("_total", "_bucket", "_sum", "_count"))
            series.append({"series": f"{name}{{{braces}}}", "values": f"{value:.0f}{'+60' if grows else '+0'}x60"})
    tests = [{"expr": f"absent({expression})", "eval_time": "1h", "exp_samples": []} for expression in expressions]
    file = folder / "expressions.yaml"
    file.write_text(yaml.safe_dump({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}))
    failed, said = promtool("test", "rules", file)
    return said if failed else ""
