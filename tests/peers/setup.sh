#!/usr/bin/env bash
# Prepares what the end-to-end tests need, under target/peers: a Python virtual environment with
# the pinned packages of requirements.txt, and Python modules generated from the .proto files.
#
# Safe to run at any time: what is there already is left alone. Needs no root where python3 with
# venv and haproxy are installed; else installs those with apt.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/target/peers
venv=$out/venv
gen=$out/gen

say() { echo "peers: $*"; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    say "cannot run '$*': not root, and there is no sudo. Run it as root, then try again."
    exit 1
  fi
}

ensure_python() {
  if command -v python3 >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null; then
    return
  fi
  if ! command -v apt-get >/dev/null; then
    say "needs python3 3.9 or newer with venv and pip; install it, then try again."
    exit 1
  fi
  say "installing python3 and python3-venv with apt"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3 python3-venv
}

ensure_haproxy() {
  if PATH=$PATH:/usr/sbin command -v haproxy >/dev/null; then
    return
  fi
  if ! command -v apt-get >/dev/null; then
    say "needs haproxy 2.4 or newer; install it, then try again."
    exit 1
  fi
  say "installing haproxy with apt"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends haproxy
}

# A stamp says what a step was made from; the step runs again when that has changed.
stamp_of() { cat "$@" | sha256sum | cut -d' ' -f1; }
is_current() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

ensure_venv() {
  local stamp
  stamp=$(stamp_of "$here/requirements.txt" <(python3 -V))
  if is_current "$out/venv.stamp" "$stamp" && "$venv/bin/python" -c '' 2>/dev/null; then
    return
  fi
  say "making a virtual environment in ${venv#"$root"/}"
  rm -rf "$venv" "$out/venv.stamp"
  mkdir -p "$out"
  python3 -m venv "$venv"
  say "installing the packages of ${here#"$root"/}/requirements.txt"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
  echo "$stamp" >"$out/venv.stamp"
}

ensure_generated() {
  local session=$root/proto/bridgehead/session/v1/session.proto
  local push=$root/proto/bridgehead/push/v1/push.proto
  local probe=$here/proto/probe.proto
  local stamp
  stamp=$(stamp_of "$session" "$push" "$probe" "$out/venv.stamp" "${BASH_SOURCE[0]}")
  if is_current "$out/gen.stamp" "$stamp"; then
    return
  fi
  say "generating Python modules in ${gen#"$root"/}"
  rm -rf "$gen" "$out/gen.stamp"
  mkdir -p "$gen"
  "$venv/bin/python" -m grpc_tools.protoc -I "$root/proto" -I "$here/proto" \
    --python_out="$gen" --grpc_python_out="$gen" --descriptor_set_out="$gen/probe.binpb" \
    --include_imports "$probe"
  "$venv/bin/python" -m grpc_tools.protoc -I "$root/proto" --python_out="$gen" "$session"
  "$venv/bin/python" -m grpc_tools.protoc -I "$root/proto" --python_out="$gen" \
    --grpc_python_out="$gen" "$push"
  echo "$stamp" >"$out/gen.stamp"
}

ensure_python
ensure_haproxy
ensure_venv
ensure_generated
say "ready: ${venv#"$root"/}/bin/python"
