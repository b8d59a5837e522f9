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
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dockerfile_parse import DockerfileParser

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
FULL = os.environ.get("FULL") == "1"
CONFIG = """\
edge: {listen: 0.0.0.0:8080}
auth: {none: {insecure: true}}
upstreams: {}
drain: {delay: 0s, period: 0s}
admin: {listen: 127.0.0.1:9901}
"""


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
    version = lambda text: tuple(int(part) for part in text.split("."))  # noqa: E731
    expect(version(rust[1]) >= version(declared[1]), "the base is older than rust-version")
    return rust[1]


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


def as_root(script, *arguments, **options):
    """Runs a script as root in mount, network and process namespaces of its own."""
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *options.pop("unshare", []), "bash", "-euc", script, "bash"]
    if os.getuid() != 0:
        command = ["sudo", "--preserve-env", *command]
    return subprocess.run([*command, *map(str, arguments)], **options)


# $1: the new root; $2: target folder; $3: cargo's and $4 rustup's home; then NAME=VALUE… -- command.
BUILD = """
new=$1 target=$2 cargo=$3 rustup=$4; shift 4
mkdir -p "$new"/{usr/local/{cargo,rustup},target,proc,dev,tmp,root}
for folder in /bin /sbin /lib /lib64 /etc; do
  [ -e "$folder" ] || continue
  if [ -L "$folder" ]; then cp -P "$folder" "$new$folder"; else mkdir -p "$new$folder"; mount --rbind "$folder" "$new$folder"; fi
done
for folder in /usr/*; do
  [ -d "$folder" ] && [ "$folder" != /usr/local ] || continue
  mkdir -p "$new$folder"; mount --rbind "$folder" "$new$folder"
done
mkdir -p "$new$cargo" "$new$rustup" "$new$target"
for place in "$cargo" /usr/local/cargo; do mount --rbind "$cargo" "$new$place"; done
for place in "$rustup" /usr/local/rustup; do mount --rbind "$rustup" "$new$place"; done
for place in "$target" /target; do mount --bind "$target" "$new$place"; done
mount --rbind /dev "$new/dev"; mount -t proc proc "$new/proc"; mount -t tmpfs tmpfs "$new/tmp"
exec env -i "$@"
"""


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
            done = as_root(
                BUILD, root, target, cargo, rustup, *variables,
                "chroot", root, "/bin/sh", "-c", f"cd {workdir} && {command}",
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


# $1: the root; $2: its working directory; $3: configuration; $4: uid:gid; $5: a folder for what is
# found out; $6: the health check; then NAME=VALUE… -- the command.
RUN = """
root=$1 workdir=$2 config=$3 user=$4 out=$5 health=$6; shift 6
variables=(); while [ "$1" != -- ]; do variables+=("$1"); shift; done; shift
ip link set lo up
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"
mount --bind "$config" "$root$workdir"
mount -o remount,bind,ro "$root$workdir"; mount -o remount,bind,ro "$root"
cd /
contained() {
  env -i "${variables[@]}" /usr/sbin/chroot --userspec="$user" "$root" "$@"
}
# Not through the function: the process that gets the signal must be the gateway itself.
env -i "${variables[@]}" /usr/sbin/chroot --userspec="$user" "$root" "$@" >"$out/log" 2>&1 &
gateway=$!
for try in $(seq 100); do
  if eval "contained $health" >"$out/health" 2>&1; then break; fi
  kill -0 $gateway 2>/dev/null || { cat "$out/log"; exit 1; }
  sleep 0.1
done
eval "contained $health" >"$out/health" 2>&1 && echo 0 >"$out/healthy" || echo $? >"$out/healthy"
cp /proc/$gateway/status "$out/status"
if contained /usr/local/bin/bridgehead keygen --out /tmp/key.pem >"$out/write" 2>&1; then echo written >"$out/write"; fi
kill -TERM $gateway
wait $gateway && echo 0 >"$out/exit" || echo $? >"$out/exit"
eval "contained $health" >"$out/after" 2>&1 && echo 0 >"$out/unhealthy" || echo $? >"$out/unhealthy"
"""


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
    done = as_root(
        RUN, root, workdir, config, user, out, check,
        *(f"{name}={text}" for name, text in variables.items()), "--", *command,
        unshare=["--net"], timeout=120,
    )  # fmt: skip
    read = lambda name: (out / name).read_text().strip()  # noqa: E731
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
        run(final, root, workdir, folder, health_url(built / "out" / "bridgehead"))
    say(f"passed in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
