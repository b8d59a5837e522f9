"""What of the image can be checked in a moment; deploy/image/check.sh does the rest."""

import http.server
import os
import shutil
import subprocess
import threading

import pytest

from chart import ROOT


def build(**environment):
    return subprocess.run(
        ["bash", ROOT / "deploy" / "image" / "build.sh"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_docker_it_says_so(tmp_path):
    for program in ("bash", "dirname", "sed", "head", "git"):
        (tmp_path / program).symlink_to(shutil.which(program))
    done = build(PATH=str(tmp_path))
    assert done.returncode == 69 and "docker is not installed" in done.stderr


def test_without_an_engine_it_says_so():
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    done = build(DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert done.returncode == 69
    assert "no container engine answers" in done.stderr or "no buildx" in done.stderr


class Admin(http.server.BaseHTTPRequestHandler):
    """What an admin listener answers: yes here, no there."""

    def do_GET(self):
        ready = self.path == "/healthz"
        body = b"ok" if ready else b'{"nats":"not connected"}'
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def admin():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Admin)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "path, code, said", [("/healthz", 0, "ok"), ("/readyz", 1, '503 Service Unavailable: {"nats":"not connected"}')]
)
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_health_is_an_exit_code(binary, admin, path, code, said, by):
    url = admin + path
    arguments, environment = (["--url", url], {}) if by == "argument" else ([], {"BRIDGEHEAD_HEALTH_URL": url})
    done = subprocess.run([binary, "health", *arguments], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == code
    assert said in done.stdout + done.stderr


def test_health_of_nothing_is_an_exit_code_of_1(binary):
    # Port 1 is reserved, and nobody's here.
    done = subprocess.run(
        [binary, "health", "--url", "http://127.0.0.1:1/readyz"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1 and "cannot connect" in done.stderr
