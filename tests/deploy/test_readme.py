"""The table of values in the chart's README, which is made from the comments of values.yaml."""

import re
import subprocess
import sys

import yaml

from chart import CHART, ROOT

PROGRAM = ROOT / "deploy" / "helm" / "readme.py"


def test_the_table_is_that_of_the_values():
    done = subprocess.run([sys.executable, PROGRAM, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_change_of_the_values_would_be_found(tmp_path):
    for name in ("values.yaml", "README.md"):
        (tmp_path / name).write_text((CHART / name).read_text())
    values = tmp_path / "values.yaml"
    values.write_text(values.read_text().replace("replicaCount: 2", "replicaCount: 7"))
    command = [sys.executable, PROGRAM, "--check", "--chart", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "replicaCount" in done.stdout
    values.write_text(values.read_text() + "undescribed: 1\n")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "undescribed" in done.stderr


def test_the_example_can_be_installed(helm, tmp_path):
    """That of the README, as it stands there."""
    example = (CHART / "README.md").read_text().split("```yaml\n# my-values.yaml\n")[1].split("```")[0]
    file = tmp_path / "my-values.yaml"
    file.write_text(example)
    assert helm.template(file).config["upstreams"]["im"]["routes"]


def test_documents_name_values_that_exist():
    """`a.b` in docs/deploying.md, where `a` is a value of the chart."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    named = re.findall(r"`([A-Za-z]+(?:\.[A-Za-z]+)+)(?::[^`]*)?`", (ROOT / "docs" / "deploying.md").read_text())
    named = [name.split(".") for name in named if name.split(".")[0] in values and not name.startswith("config.")]
    assert len(named) > 10
    for path in named:
        at = values
        for key in path:
            assert isinstance(at, dict) and key in at, ".".join(path)
            at = at[key]
