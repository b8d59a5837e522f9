"""Documents as their readers follow them: files are written, commands are run, outputs compared.

A document is Markdown. What counts of it are the fenced blocks:

- A block whose first line is a comment with a file's name (`# routes.yaml`, `// notes.proto`) is
  that file.
- In a `console` block, `$ ` begins a command (with a backslash at a line's end it goes on in the
  next line), and what follows is its output. `…` stands for any text within a line, and for any
  lines where it is all of a line. Ids, times, tokens and widths of columns may differ.
"""

import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass, field

from processes import PATIENCE, ROOT, Program

__all__ = ["ROOT", "Block", "Reader", "Step", "blocks", "matches", "needs_go", "start_demo", "steps"]

FILE = re.compile(r"(?:#|//) ([\w./-]+\.\w+|go\.mod)$")
# What differs from run to run, and what stands for it.
VARYING = [
    (r"\x1b\[[0-9;]*m", ""),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", "<token>"),
    (r"\b[0-9a-f]{32}\b|\b[0-9a-f]{16}\b", "<id>"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<id>"),
    (r"\b1\d{12}\b", "<milliseconds>"),
    (r"\bin \d+(\.\d+)? (µs|ms|s)$", "in <duration>"),
    (r"[ \t]+", " "),
]


@dataclass
class Block:
    """A fenced block."""

    language: str
    text: str
    heading: str
    line: int

    @property
    def file(self):
        """The name of the file that it is, if it is one."""
        match = FILE.match(self.text.split("\n", 1)[0])
        return match[1] if match and self.language not in ("console", "") else None


@dataclass
class Step:
    """A command, and the output that the document promises."""

    command: str
    line: int
    output: list = field(default_factory=list)


def blocks(text):
    """The fenced blocks of a document, those within list items too."""
    found, heading, lines = [], "", text.split("\n")
    number = 0
    while number < len(lines):
        line = lines[number]
        if match := re.match(r"#+ (.*)", line):
            heading = match[1]
        if match := re.match(r"( *)```(\w*)", line):
            indent, language, begin = len(match[1]), match[2], number
            number += 1
            while lines[number].strip() != "```":
                number += 1
            body = "".join(f"{inner[indent:]}\n" for inner in lines[begin + 1 : number])
            found.append(Block(language, body, heading, begin + 1))
        number += 1
    return found


def steps(block):
    """The commands of a console block."""
    found, goes_on = [], False
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if goes_on:
            found[-1].command += f"\n{line}"
        elif line.startswith("$ "):
            found.append(Step(line[2:], number))
        else:
            assert found, f"line {number}: an output without a command"
            found[-1].output.append(line)
            continue
        goes_on = line.endswith("\\")
    return found


def normal(line):
    for pattern, placeholder in VARYING:
        line = re.sub(pattern, placeholder, line)
    return line.rstrip()


def matches(expected, actual):
    """Whether the lines are what the document promises."""
    pattern = ""
    for line in map(normal, expected):
        if line == "…":
            pattern += "(?:[^\n]*\n)*?"
        else:
            pattern += ".*?".join(map(re.escape, line.split("…"))) + "\n"
    return re.fullmatch(pattern, "".join(f"{normal(line)}\n" for line in actual)) is not None


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Reader:
    """Somebody who follows a document in one folder.

    `ports` are those that it names; each run has others. Commands that begin with one of
    `goes_on` are left running, and what they print is compared at the end. `instead` has what is
    run in place of a command, for what would take too long or another port.
    """

    def __init__(self, folder, binary, *, ports=(), goes_on=(), instead=None, env=None):
        self.folder = folder
        self.ports = {port: free_port() for port in ports}
        self.goes_on, self.instead = tuple(goes_on), instead or {}
        bin_folder = folder / ".bin"
        bin_folder.mkdir(exist_ok=True)
        (bin_folder / "bridgehead").symlink_to(binary)
        self.env = {
            **os.environ,
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "BRIDGEHEAD_URL": f"ws://127.0.0.1:{self.ports.get(8080, 8080)}/ws",
            "BRIDGEHEAD_PUSH_URL": f"http://127.0.0.1:{self.ports.get(9090, 9090)}",
            "BRIDGEHEAD_HEALTH_URL": f"http://127.0.0.1:{self.ports.get(9901, 9901)}/readyz",
            "NO_COLOR": "1",
            "PIP_NO_COMPILE": "1",
            **(env or {}),
        }
        self.running = []

    def here(self, text):
        """A text of the document with this run's ports."""
        for port, actual in self.ports.items():
            text = re.sub(rf"(?<=:){port}\b", str(actual), text)
        return text

    def there(self, lines):
        """Lines of this run with the document's ports, and without the folder's name."""
        for line in lines:
            for port, actual in self.ports.items():
                line = re.sub(rf"(?<=:){actual}\b", str(port), line)
            yield line.replace(str(self.folder), "~")

    def write(self, block):
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.here(block.text))

    def follow(self, block):
        """Writes a file, or runs the commands."""
        if block.file:
            self.write(block)
        elif block.language == "console":
            for step in steps(block):
                self.run(step)

    def run(self, step):
        command = self.here(self.instead.get(step.command, step.command))
        if step.command.startswith(self.goes_on):
            program = Program(["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.env)
            self.running.append((step, program))
            return
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        output = list(self.there(done.stdout.splitlines()))
        self.compare(step, output)
        fails = any(line.startswith("error:") for line in step.output)
        assert (done.returncode != 0) == fails, f"line {step.line}: {step.command} exits with {done.returncode}"

    def compare(self, step, output):
        expected, actual = "\n".join(map(normal, step.output)), "\n".join(map(normal, output))
        assert matches(step.output, output), (
            f"line {step.line}: {step.command}\n--- the document says\n{expected}\n--- it prints\n{actual}"
        )

    def wait_for(self, command, text):
        """Waits until the running command has printed the text."""
        [program] = [program for step, program in self.running if step.command.startswith(command)][-1:]
        program.wait_line(lambda line: text in normal(line))

    def wait_output(self):
        """Waits until the commands that go on have printed what the document promises."""
        deadline = time.monotonic() + PATIENCE
        for step, program in self.running:
            while not matches(step.output, self.there(program.lines)) and time.monotonic() < deadline:
                time.sleep(0.05)
            self.compare(step, list(self.there(program.lines)))
            assert program.process.poll() is None, f"line {step.line}: {step.command} has ended"

    def stop(self):
        for _, program in reversed(self.running):
            program.stop()


def start_demo(binary, reader):
    """`bridgehead demo` at the ports of the reader's run."""
    flags = {"--listen": 8080, "--push": 9090, "--admin": 9901, "--services": 50051}
    addresses = [word for flag, port in flags.items() for word in (flag, f"127.0.0.1:{reader.ports.get(port, 0)}")]
    demo = Program([binary, "demo", *addresses, "--key-dir", reader.folder / "demo"], env=reader.env)
    demo.wait_line(lambda line: "Ctrl-C ends the demo" in line)
    return demo


def needs_go():
    """Go programs are built by `make test-clients`; what that needs is said here."""
    version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True).stdout
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    assert numbers >= [1, 21], f"needs Go 1.21 or newer on the PATH, which then fetches what modules need; found {version}"
