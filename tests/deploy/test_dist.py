"""What `make dist` packs; here around the binary under test, which is a debug build."""

import hashlib
import os
import re
import subprocess
import tarfile

import pytest

from chart import ROOT


def pack(binary):
    done = subprocess.run(
        ["bash", ROOT / "deploy" / "dist.sh"],
        env=os.environ | {"BINARY": str(binary), "PROFILE": "dev"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return ROOT / re.search(r"^packed (.*)$", done.stdout, re.MULTILINE)[1]


@pytest.fixture(scope="module")
def archive(binary):
    return pack(binary)


def test_it_has_all_that_is_needed(archive, tmp_path):
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    name = archive.name.removesuffix(".tar.gz")
    assert re.fullmatch(rf"bridgehead-{re.escape(version)}-[a-z0-9_]+-[a-z0-9_-]+", name)
    with tarfile.open(archive) as packed:
        names = {member.name.removeprefix(f"{name}/") for member in packed.getmembers() if member.isfile()}
        assert all(member.uid == 0 and member.gid == 0 for member in packed.getmembers())
        packed.extractall(tmp_path, filter="data")
    folder = tmp_path / name
    documents = {"LICENSE-APACHE", "LICENSE-MIT", "README.md", "CHANGELOG.md", "routes.yaml"}
    shells = {f"completions/bridgehead.{shell}" for shell in ("bash", "zsh", "fish", "elvish", "powershell")}
    pages = {f"man/man1/bridgehead{command}.1" for command in ("", "-serve", "-check", "-bench-call")}
    assert documents | shells | pages | {"bridgehead"} <= names
    assert all(path.stat().st_size > 0 for path in folder.rglob("*") if path.is_file())
    for document in documents:
        assert (folder / document).read_bytes() == (ROOT / document).read_bytes()
    checked = subprocess.run([folder / "bridgehead", "check", "--offline"], cwd=folder, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_it_is_the_same_again(archive, binary):
    first = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert hashlib.sha256(pack(binary).read_bytes()).hexdigest() == first
