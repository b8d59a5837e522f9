"""docs/push.md: its programs, run against the demo."""

import os

import documents
import pytest
from processes import ROOT, eventually
from push_client import PushClient

BLOCKS = documents.blocks((ROOT / "docs" / "push.md").read_text())


@pytest.fixture
def reader(binary, tmp_path):
    (tmp_path / "bridgehead").symlink_to(ROOT)
    folder = tmp_path / "orders"
    folder.mkdir()
    packages = ROOT / "tests" / "peers" / "requirements.txt"
    return documents.Reader(folder, binary, ports=[8080, 9090], env={"PIP_CONSTRAINT": str(packages), "GOFLAGS": "-mod=mod"})


@pytest.fixture
def alice(binary, reader, connect):
    """She is connected to the demo."""
    demo = documents.start_demo(binary, reader)
    client = connect(f"ws://127.0.0.1:{reader.ports[8080]}/ws").log_in("alice")
    backend = PushClient(f"127.0.0.1:{reader.ports[9090]}")
    eventually(lambda: backend.sessions(user_ids=["alice"]))
    backend.close()
    yield client
    demo.stop()


def push(reader, alice, section):
    followed = [block for block in BLOCKS if block.heading == section]
    *before, last = followed
    for block in before:
        reader.follow(block)
    reader.follow(last)
    received = alice.receive_push()
    assert (received.event, received.data) == (1, b"your order is on its way")


def test_in_python(reader, alice):
    push(reader, alice, "In Python")


@pytest.mark.skipif(not os.environ.get("WITH_GO"), reason="`make test-clients` runs it")
def test_in_go(reader, alice):
    documents.needs_go()
    push(reader, alice, "In Go")
