"""README.md, followed from its first line to its last: every command, output, configuration and link."""

import re
import subprocess

import documents
import pytest
import yaml
from configuration import gateway_config
from processes import ROOT, eventually

TEXT = (ROOT / "README.md").read_text()
BLOCKS = documents.blocks(TEXT)
# Those of docs/authentication.md have a test of their own, tutorial and clients a gateway that runs.
CONFIGURATIONS = [
    pytest.param(block, id=f"{name}-{block.line}")
    for name in ("README.md", "docs/push.md", "docs/cluster.md", "docs/tracing.md")
    for block in documents.blocks((ROOT / name).read_text())
    if block.language == "yaml" and block.file != "mistakes.yaml"
]
PROGRAM = "./target/release/bridgehead"
LISTENER = f"{PROGRAM} call --listen"
DOCUMENTS = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
DOCUMENTS += [ROOT / name for name in ("CODE_OF_CONDUCT.md", "fuzz/README.md", "deploy/helm/bridgehead/README.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture
def reader(binary, tmp_path):
    """In a clone in which `make demo` has built the program and runs it."""
    (tmp_path / "target" / "release").mkdir(parents=True)
    (tmp_path / "target" / "release" / "bridgehead").symlink_to(binary)
    ports = [8080, 9090, 9901, 50051]
    reader = documents.Reader(tmp_path, binary, ports=ports, goes_on=[LISTENER], env={"HOSTNAME": "vm"})
    demo = documents.start_demo(binary, reader)
    yield reader
    reader.stop()
    demo.stop()


def test_every_command_prints_what_it_says(reader, binary):
    # That of the examples' own gateways would be read by `bridgehead call`.
    for block in BLOCKS:
        if block.file != "routes.yaml":
            reader.follow(block)
        if block.language == "console" and block.text.startswith(f"$ {LISTENER}"):
            command = [binary, "sessions"]
            eventually(lambda: b"alice" in subprocess.run(command, env=reader.env, capture_output=True).stdout)
    [(listening, program)] = reader.running
    assert program.wait_exit() == 1
    reader.compare(listening, list(reader.there(program.lines)))


def test_the_same_works_encrypted(reader, binary, tmp_path):
    key = tmp_path / "demo" / "session.pub.pem"
    command = [binary, "call", "/v1/relation/getFriendList", "--user", "alice", "--token", "any", "--encrypt", key]
    done = subprocess.run(command, env=reader.env, capture_output=True, text=True)
    assert done.returncode == 0 and "bob" in done.stdout, done.stderr


@pytest.mark.parametrize("block", CONFIGURATIONS)
def test_a_configuration_can_be_used(run_check, services, binary, tmp_path, block):
    """Alone, or together with the sections that it leaves out."""
    subprocess.run([binary, "token", "--new-key", "es256"], cwd=tmp_path, check=True, capture_output=True)
    descriptors = ROOT / "target" / "peers" / "gen" / "probe.binpb"
    (tmp_path / "etcd.binpb").write_bytes(descriptors.read_bytes())
    for name in ("other.key", "next.token"):
        (tmp_path / name).write_text("a-key-or-token\n")
    shown = yaml.safe_load(re.sub(r"\$\{\w+\}", "from-the-environment", block.text))
    base = gateway_config(services)
    if "edge" in shown:
        shown["edge"] = {**base["edge"], **shown["edge"]}
    if "hooks" in shown:
        base["upstreams"]["im"] = {"address": "http://127.0.0.1:1"}
    checked = run_check({**base, **shown}, "--offline")
    assert checked.returncode == 0, checked.stderr


def test_every_command_is_in_the_table_and_the_other_way_round(binary):
    printed = subprocess.run([binary, "--help"], capture_output=True, text=True, check=True).stdout
    commands = set(re.findall(r"^  ([a-z-]+) ", printed.split("Commands:")[1], re.MULTILINE)) - {"help"}
    table = TEXT.split("## Commands")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `bridgehead ([a-z-]+)([^`]*)` \|(.*)\|$", table, re.MULTILINE)
    assert {name for name, _, _ in rows} == commands
    for name, words, text in rows:
        subcommand = [word for word in words.split() if word.islower() and word.isalpha()][:1]
        printed = subprocess.run([binary, name, *subcommand, "--help"], capture_output=True, text=True).stdout
        for flag in re.findall(r"--[a-z-]+", words + text):
            assert flag in printed, f"bridgehead {name} {subcommand} {flag}"


def test_every_target_of_make_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", TEXT, re.MULTILINE))
    named = {name for pair in named for name in pair if name}
    assert {"demo", "test", "test-clients", "image"} <= named <= targets


def anchors(text):
    """Those that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_links_lead_somewhere(file):
    text = re.sub(r"```.*?```", "", file.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_every_document_is_in_the_index():
    index = TEXT.split("## Documentation")[1].split("\n## ")[0]
    for file in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{file.name})" in index, file.name
