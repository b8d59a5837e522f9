"""docs/runbook.md: a section for each alert, which names metrics and configuration that there are."""

import json
import re
import subprocess

import yaml
from processes import ROOT

TEXT = (ROOT / "docs" / "runbook.md").read_text()
SECTIONS = dict(re.findall(r"^### (\w+)\n\n(.*?)(?=\n##|\Z)", TEXT, re.MULTILINE | re.DOTALL))


def alerts():
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]


def test_every_alert_has_its_section_in_the_order_of_the_rules():
    assert list(SECTIONS) == alerts()


def test_every_section_says_what_it_means_what_to_look_at_and_what_to_do():
    for name, section in SECTIONS.items():
        assert re.findall(r"^- \*\*(.+?)\*\*: \S", section, re.MULTILINE) == ["Means", "Look at", "Do"], name


def test_metrics_exist():
    known = (ROOT / "docs" / "metrics.md").read_text()
    named = set(re.findall(r"`((?:bridgehead|process)_\w+)`", TEXT))
    assert len(named) > 15
    for name in named:
        assert f"| `{name}` |" in known, name


def test_log_lines_are_those_of_the_source():
    source = "".join(file.read_text() for file in (ROOT / "src").rglob("*.rs"))
    lines = set(re.findall(r'\("([a-z][^"]+)"[,)]', TEXT)) | set(re.findall(r', "([a-z][^"]+)"\)', TEXT))
    assert len(lines) > 5
    for line in lines:
        assert line in re.sub(r"\\\n\s*", "", source), line


def test_configuration_keys_exist(binary):
    schema = json.loads(subprocess.run([binary, "schema"], capture_output=True, text=True, check=True).stdout)
    properties = set(re.findall(r'"(\w+)": \{', json.dumps(schema)))
    sections = set(schema["properties"])
    keys = [key for key in re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)+)`", TEXT) if key.split(".")[0] in sections]
    assert len(keys) > 10
    for key in keys:
        assert {part for part in key.split(".") if part != "X"} <= properties, key
