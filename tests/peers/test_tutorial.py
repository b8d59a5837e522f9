"""docs/tutorial.md, followed from its first line to its last, in Python and in Go."""

import os
import subprocess
from pathlib import Path

import documents
import pytest
from processes import ROOT, eventually

TEXT = (ROOT / "docs" / "tutorial.md").read_text()
BLOCKS = documents.blocks(TEXT)
IN_PYTHON, IN_GO = "The service in Python", "The same in Go"
LISTENER = "bridgehead call --listen"


@pytest.fixture
def reader(binary, tmp_path):
    """In a folder beside a clone of the repository."""
    (tmp_path / "bridgehead").symlink_to(ROOT)
    folder = tmp_path / "notes"
    folder.mkdir()
    reader = documents.Reader(
        folder,
        binary,
        ports=[8080, 9090, 9901, 50051],
        goes_on=["venv/bin/python service.py", "./notes-service", "bridgehead serve", LISTENER],
        # The packages that pip and go choose are those of the other tests.
        env={
            "PIP_CONSTRAINT": str(Path(__file__).parent / "requirements.txt"),
            "HOSTNAME": "laptop",
            "GOFLAGS": "-mod=mod",
            "GOTOOLCHAIN": "auto",
        },
    )
    yield reader
    reader.stop()


def follow(reader, section_to_skip):
    for block in BLOCKS:
        if block.heading == section_to_skip:
            continue
        reader.follow(block)
        started = reader.running[-1][0].command if reader.running else ""
        if block.language == "console" and started.startswith(LISTENER):
            eventually(lambda: "alice" in sessions(reader))
        elif block.language == "console" and started.startswith("bridgehead serve"):
            reader.wait_for("bridgehead serve", "bridgehead::app: listening")
        elif block.language == "console" and reader.running:
            reader.wait_for(started, "listening on")
    reader.wait_output()


def sessions(reader):
    command = [reader.folder / ".bin" / "bridgehead", "sessions"]
    return subprocess.run(command, env=reader.env, capture_output=True, text=True).stdout


def test_in_python(reader):
    follow(reader, IN_GO)


@pytest.mark.skipif(not os.environ.get("WITH_GO"), reason="`make test-clients` runs it")
def test_in_go(reader):
    documents.needs_go()
    follow(reader, IN_PYTHON)
