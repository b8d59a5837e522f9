"""Reading the Dockerfile and .dockerignore, and carrying out COPY steps.

No more than these files use: what is not understood here is an error, never passed over.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def say(text):
    print(f"image: {text}", flush=True)


def fail(text):
    sys.exit(f"image: FAILED: {text}")


def expect(holds, text):
    if not holds:
        fail(text)


class Stage:
    """The steps of one stage: a list of (instruction, value)."""

    def __init__(self, base):
        self.base = base
        self.steps = []

    def values(self, instruction):
        return [value for name, value in self.steps if name == instruction]

    def last(self, instruction):
        values = self.values(instruction)
        expect(values, f"the Dockerfile has no {instruction}")
        return values[-1]

    def environment(self):
        found = {}
        for value in self.values("ENV"):
            for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|(\S+))', value):
                found[name] = quoted or plain
        return found


def parse():
    with tempfile.TemporaryDirectory() as folder:
        parser = DockerfileParser(path=folder)
        parser.content = DOCKERFILE.read_text()
        stages = []
        for step in parser.structure:
            if step["instruction"] == "COMMENT":
                continue
            if step["instruction"] == "FROM":
                stages.append(Stage(step["value"].split(" ")[0]))
            else:
                stages[-1].steps.append((step["instruction"], step["value"]))
    expect(len(stages) == 2, f"{len(stages)} stages rather than two")
    return stages


def exec_form(value):
    """A command as a list, which needs no shell."""
    try:
        command = json.loads(value)
    except json.JSONDecodeError:
        fail(f"`{value}` is run by a shell, which the image does not have")
    return command


def context(folder):
    """A clean copy of what .dockerignore lets through, of files that git knows."""
    allowed = []
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            allowed.append(line[1:])
        else:
            expect(line in ("", "*") or line.startswith("#"), f".dockerignore: `{line}` is not understood here")
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if any(name == entry or name.startswith(f"{entry}/") for entry in allowed) and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def copy(value, sources, root, workdir):
    """A COPY step; `sources` has the context as None, and stages by name."""
    words = value.split()
    stage = None
    if words[0].startswith("--from="):
        stage = words.pop(0).removeprefix("--from=")
    expect(not words[0].startswith("--"), f"COPY {value}: not understood here")
    *names, target = words
    place = root / (workdir / target).relative_to("/")
    for name in names:
        source = sources[stage] / name.lstrip("/")
        expect(source.exists(), f"COPY {value}: there is no {name}")
        if source.is_dir():
            shutil.copytree(source, place, dirs_exist_ok=True)
        elif target.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place / source.name)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)
