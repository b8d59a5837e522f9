"""Checks deploy/Dockerfile where no container engine runs.

Real: the Dockerfile is linted and parsed; its COPY and RUN steps are carried out as they are
written, in a chroot with the paths, the environment and the toolchain version of the build stage;
the final stage is assembled from its own COPY, WORKDIR, ENV and USER steps; ENTRYPOINT, CMD,
HEALTHCHECK and STOPSIGNAL are what runs, as that user, without capabilities, on a read-only root,
in namespaces of its own.

Substitutes, each said when it is used: this machine's Debian 12 and Rust for the base image of the
build; the libraries of libraries.txt, from this machine's Debian 12 packages, for the base of the
image. Unless FULL=1, PROFILE=dev and without RUSTFLAGS, in the target folder of the tests, so that
what was built for those is not built again.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dockerfile import DOCKERFILE, ROOT, context, copy, exec_form, expect, parse, say
from sandbox import BUILD, RUN, contained

HERE = Path(__file__).resolve().parent
FULL = os.environ.get("FULL") == "1"
CONFIG = """\
edge: {listen: 0.0.0.0:8080}
auth: {none: {insecure: true}}
upstreams: {}
drain: {delay: 0s, period: 0s}
admin: {listen: 127.0.0.1:9901}
"""


def check_text(build, final):
    """What makes the image small, safe and reproducible, as far as the text tells."""
    subprocess.run([Path(sys.executable).parent / "hadolint", DOCKERFILE], check=True)
    for stage in (build, final):
        expect(re.search(r":[^@]+@sha256:[0-9a-f]{64}$", stage.base), f"{stage.base} has no tag and digest")
    expect(not final.values("RUN"), "the final stage runs something, so it would need a shell")
    for instruction in ("ENTRYPOINT", "CMD"):
        exec_form(final.last(instruction))
    expect(re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", final.last("USER")), "USER is not a number other than 0")
    expect(final.last("STOPSIGNAL") == "SIGTERM", "only SIGTERM drains")
    expect(any("--locked" in run for run in build.values("RUN")), "cargo builds without --locked")
    rust = re.search(r"rust:([0-9.]+)-bookworm@", build.base)
    expect(rust, f"{build.base} is not Rust on Debian 12")
    declared = re.search(r'^rust-version = "([0-9.]+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    version = lambda text: tuple(int(part) for part in text.split("."))
    expect(version(rust[1]) >= version(declared[1]), "the base is older than rust-version")
    return rust[1]


def build(stage, folder, target, profile, shared):
    """Carries out the build stage below `folder`; returns its root. A `shared` target folder is
    that of the tests."""
    root = folder / "build"
    root.mkdir(parents=True)
    source = folder / "context"
    context(source)
    workdir = Path("/")
    environment = {
        # What the official image sets.
        "PATH": "/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "CARGO_HOME": "/usr/local/cargo",
        "RUSTUP_HOME": "/usr/local/rustup",
        "HOME": "/root",
        **stage.environment(),
        "PROFILE": profile,
    }
    cargo = os.environ.get("CARGO_HOME", Path.home() / ".cargo")
    rustup = os.environ.get("RUSTUP_HOME", Path.home() / ".rustup")
    if shared:
        # The same paths and settings as outside, or cargo would build everything anew.
        del environment["RUSTFLAGS"]
        environment.pop("BRIDGEHEAD_COMMIT", None)
        environment |= {"CARGO_HOME": str(cargo), "RUSTUP_HOME": str(rustup), "CARGO_TARGET_DIR": str(target)}
        environment |= {name: os.environ[name] for name in os.environ if name.startswith("CARGO_PROFILE_")}
    for instruction, value in stage.steps:
        if instruction == "WORKDIR":
            workdir = workdir / value
            (root / workdir.relative_to("/")).mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY":
            copy(value, {None: source}, root, workdir)
        elif instruction == "RUN":
            command = re.sub(r"--mount=\S+\s+", "", value)
            say(f"RUN {command}")
            variables = [f"{name}={text}" for name, text in environment.items()]
            done = contained(
                BUILD, root, target, cargo, rustup, *variables,
                "chroot", root, "/bin/sh", "-c", f"cd {workdir} && {command}",
                sudo=False,
            )  # fmt: skip
            expect(done.returncode == 0, f"the step failed with exit code {done.returncode}")
    return root


def libraries():
    """The libraries of libraries.txt that this machine's architecture has, by their package."""
    found = {}
    for line in (HERE / "libraries.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            package, name = line.split()
            files = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=True)
            paths = [Path(path) for path in files.stdout.split() if Path(path).name == name]
            # The program's interpreter is at two places: that which it names, and that of its package.
            if paths:
                found[name] = paths
    return found


def check_libraries(binary):
    """That the base has every library that the binary links."""
    listed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    needed = {Path(line.split()[0]).name for line in listed.splitlines()} - {"linux-vdso.so.1"}
    missing = needed - libraries().keys()
    expect(not missing, f"the base image does not have {', '.join(sorted(missing))}")
    symbols = subprocess.run(["objdump", "-T", binary], capture_output=True, text=True, check=True).stdout
    newest = max(tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([0-9.]+)", symbols))
    # That of Debian 12, which libc6 must not be newer than for this to mean anything.
    expect(newest <= (2, 36), f"the binary needs glibc {newest}, and Debian 12 has 2.36")
    say(f"links {', '.join(sorted(needed))}; glibc {'.'.join(map(str, newest))} or newer: the base has them")


def assemble(final, folder, built):
    """The image's root below `folder`."""
    root = folder / "image"
    for name in ("proc", "dev", "etc", "tmp"):
        (root / name).mkdir(parents=True)
    for path in (path for paths in libraries().values() for path in paths):
        target = root / str(path).removeprefix("/usr").lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path.resolve(), target)
    (root / "etc" / "passwd").write_text("nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
    workdir = Path("/")
    for instruction, value in final.steps:
        if instruction == "WORKDIR":
            workdir = workdir / value
            (root / workdir.relative_to("/")).mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY":
            copy(value, {None: folder / "context", "build": built}, root, workdir)
    return root, workdir


def check_share(share):
    """Manual pages and completions, for those who unpack the image or build on it."""
    for name, says in (
        ("man/man1/bridgehead.1", ".TH bridgehead 1"),
        ("man/man1/bridgehead-bench-call.1", ".TH bridgehead-bench-call 1"),
        ("bash-completion/completions/bridgehead", "complete"),
        ("zsh/site-functions/_bridgehead", "#compdef bridgehead"),
        ("fish/vendor_completions.d/bridgehead.fish", "complete -c bridgehead"),
        ("doc/bridgehead/LICENSE-MIT", "MIT License"),
    ):
        path = share / name
        expect(path.is_file() and says in path.read_text(), f"the image has no {name}")


def run(final, root, workdir, folder, url):
    """Runs the image as an engine would, and asks its health check."""
    config, out = folder / "config", folder / "out"
    config.mkdir()
    out.mkdir()
    out.chmod(0o777)
    (config / "routes.yaml").write_text(CONFIG)
    folder.chmod(0o755)
    health = re.search(r"CMD\s+(\[.*\])", final.last("HEALTHCHECK"))
    expect(health, "the health check has no CMD")
    check = " ".join(exec_form(health[1]))
    command = exec_form(final.last("ENTRYPOINT")) + exec_form(final.last("CMD"))
    variables = final.environment() | ({"BRIDGEHEAD_HEALTH_URL": url} if url else {})
    user = final.last("USER")
    done = contained(
        RUN, root, workdir, config, user, out, check,
        *(f"{name}={text}" for name, text in variables.items()), "--", *command,
        sudo=True, unshare=["--net"], timeout=120,
    )  # fmt: skip
    read = lambda name: (out / name).read_text().strip()
    expect(done.returncode == 0, f"the sandbox failed: {done.returncode}")
    expect(read("healthy") == "0", f"the health check fails: {read('health')}\n{read('log')}")
    status = dict(line.split(":", 1) for line in read("status").splitlines())
    uid = status["Uid"].split()[0]
    expect(uid == user.split(":")[0], f"it runs as {uid}")
    expect(int(status["CapEff"], 16) == 0, f"it has capabilities: {status['CapEff']}")
    expect("ead-only" in read("write"), f"the root can be written to: {read('write')}")
    expect(read("exit") == "0", f"it ended with {read('exit')} on SIGTERM\n{read('log')}")
    expect(read("unhealthy") == "1", "the health check passes where nothing runs")
    say(f"as {uid}, without capabilities, on a read-only root: healthy, and exit code 0 on SIGTERM")


def health_url(binary):
    """None where the gateway has an admin listener, which the image's own health check asks."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "routes.yaml"
        file.write_text(CONFIG)
        checked = subprocess.run([binary, "check", "--offline", "-c", file], capture_output=True, text=True)
    expect(checked.returncode == 0, f"the configuration of this check is refused: {checked.stderr}")
    if "`admin`: not available" not in checked.stderr:
        return None
    say("SUBSTITUTE: this version has no admin listener; the health check asks the front page instead")
    return "http://127.0.0.1:8080/"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def toolchain(expected):
    release = Path("/etc/os-release").read_text()
    expect('VERSION_ID="12"' in release, "this machine is not Debian 12, so it cannot stand in for the base images")
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    expect(rustc == expected, f"rustc is {rustc} here, and {expected} in deploy/Dockerfile")
    say(f"SUBSTITUTE: this machine's Debian 12 and Rust {rustc} for the base images, which no engine can fetch here")


def main():
    began = time.monotonic()
    stage, final = parse()
    toolchain(check_text(stage, final))
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    with tempfile.TemporaryDirectory(prefix="bridgehead-image-") as name:
        folder = Path(name)
        if FULL:
            profile = os.environ.get("PROFILE", "release")
            digests = []
            for n in ("first", "second"):
                (folder / n / "target").mkdir(parents=True)
                built = build(stage, folder / n, folder / n / "target", profile, shared=False)
                shutil.copytree(folder / n / "context", folder / "context", dirs_exist_ok=True)
                digests.append(sha256(built / "out" / "bridgehead"))
                shutil.rmtree(folder / n / "target")
            expect(digests[0] == digests[1], f"two builds differ: {digests}")
            say(f"two builds from nothing are the same: {digests[0]}")
            content = (built / "out" / "bridgehead").read_bytes()
            for path in (str(Path.home()).encode(), str(folder).encode(), str(ROOT).encode()):
                expect(path not in content, f"the binary has {path.decode()} in it")
        else:
            say(f"SUBSTITUTE: PROFILE=dev, no RUSTFLAGS, in {target}: FULL=1 builds as the Dockerfile says")
            built = build(stage, folder, target, "dev", shared=True)
        check_libraries(built / "out" / "bridgehead")
        root, workdir = assemble(final, folder, built)
        check_share(root / "usr" / "share")
        run(final, root, workdir, folder, health_url(built / "out" / "bridgehead"))
    say(f"passed in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
