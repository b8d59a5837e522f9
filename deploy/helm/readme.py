"""Writes the table of values in the chart's README from the comments of values.yaml.

A comment that begins with `# --` describes the key below it and the keys inside of it;
every key needs one. `--check` only reports whether the table is current; `--chart` names another
folder than this chart's. `make chart` runs this.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import yaml

BEGIN, END = "<!-- values: begin -->\n", "<!-- values: end -->\n"
KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):(?: |$)")


def rows(text):
    """Path, default and description of every key that has one, in the order of the file."""
    values = yaml.safe_load(text)
    found, path, description = [], [], None
    for line in text.splitlines():
        if line.strip().startswith("# -- "):
            description = line.strip().removeprefix("# -- ")
        elif match := KEY.match(line):
            depth = len(match[1]) // 2
            path = [*path[:depth], match[2]]
            if description:
                found.append((tuple(path), default(values, path), description))
            description = None
    return values, found


def default(values, path):
    for key in path:
        values = values[key]
    return values


def undescribed(value, path, described):
    """Keys that neither have a description nor are inside of one that has."""
    if path in described:
        return []
    if not isinstance(value, dict) or not value:
        return [".".join(path)]
    return [name for key, inner in value.items() for name in undescribed(inner, (*path, key), described)]


def table(text):
    values, found = rows(text)
    missing = undescribed(values, (), {path for path, _, _ in found})
    if missing:
        sys.exit(f"values.yaml: no `# --` above {', '.join(missing)}")
    lines = ["| value | default | |", "| --- | --- | --- |"]
    for path, value, description in found:
        written = json.dumps(value, ensure_ascii=False).replace("|", "\\|")
        lines.append(f"| `{'.'.join(path)}` | `{written}` | {description.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("--chart", type=Path, default=Path(__file__).parent / "bridgehead")
    arguments = arguments.parse_args()
    readme = arguments.chart / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    current, after = rest.split(END)
    wanted = table((arguments.chart / "values.yaml").read_text())
    if not arguments.check:
        readme.write_text(before + BEGIN + wanted + END + after)
    elif current != wanted:
        for line in set(wanted.splitlines()) ^ set(current.splitlines()):
            print(line)
        sys.exit("README.md: the table of values is not current: make chart")


if __name__ == "__main__":
    main()
