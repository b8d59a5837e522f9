"""docs/migrating.md: the configuration on that page is one."""

import re
import subprocess
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migrating.md"


def test_the_configuration_of_the_page_is_free_of_errors(binary, tmp_path, session_key):
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.S)
    (tmp_path / "routes.yaml").write_text(text)
    (tmp_path / "session.pem").write_bytes(session_key.private_file.read_bytes())
    (tmp_path / "push.token").write_text("0123456789abcdef0123456789abcdef\n")
    command = [binary, "check", "--offline"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    lines = checked.stdout.splitlines()
    assert "clients: /ws, /ws2 (server_iv)" in lines
    assert lines[-1] == "logins: pb.imService/BeforeConnect (im) is asked"
