#!/usr/bin/env bash
# Runs the Go client against `bridgehead demo`, plain and encrypted. The binary is $BRIDGEHEAD
# (default: target/debug/bridgehead, which must have been built).
#
# Everything is built from Debian's packages in GOPATH mode, under target/clients/go; what is
# missing is installed with apt. CALLS is how many calls each of the 64 goroutines makes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
out=$root/target/clients/go
bridgehead=${BRIDGEHEAD:-$root/target/debug/bridgehead}
packages=(golang-go golang-nhooyr-websocket-dev golang-google-protobuf-dev)

say() { echo "go client: $*"; }

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

ensure_packages() {
  if dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    return
  fi
  say "installing ${packages[*]} with apt"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

# Go as Debian builds with it: no modules, no network.
export GO111MODULE=off GOPATH=$out:/usr/share/gocode GOFLAGS= GOTOOLCHAIN=local
go_build() { /usr/bin/go build "$@"; }

generate() {
  local protoc=("$root/target/peers/venv/bin/python" -m grpc_tools.protoc
    --plugin=protoc-gen-go="$out/bin/protoc-gen-go" --go_out="$out/src")
  local session=bridgehead/session/v1/session.proto
  "${protoc[@]}" -I "$root/proto" --go_opt="M$session=imclient/sessionpb" "$session"

  local demo=(common.proto user.proto relation.proto msg.proto) options=() file
  for file in "${demo[@]}"; do
    options+=("--go_opt=M$file=imclient/pb")
  done
  "${protoc[@]}" -I "$root/proto/demo" "${options[@]}" "${demo[@]}"
}

build() {
  local stamp
  stamp=$(cat "$here"/*.go "$root"/proto/demo/*.proto "$root"/proto/bridgehead/session/v1/*.proto |
    sha256sum | cut -d' ' -f1)
  if [ -x "$out/bin/imclient" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
    return
  fi
  say "building in ${out#"$root"/}"
  rm -rf "$out/src" "$out/stamp"
  mkdir -p "$out/bin" "$out/src/imclient"
  go_build -o "$out/bin/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
  generate
  cp "$here"/*.go "$out/src/imclient/"
  go_build -o "$out/bin/imclient" imclient
  echo "$stamp" >"$out/stamp"
}

demo_pid=
stop_demo() {
  if [ -n "$demo_pid" ]; then
    kill "$demo_pid" 2>/dev/null || true
    kill "$demo_pid" 2>/dev/null || true
    wait "$demo_pid" 2>/dev/null || true
    demo_pid=
  fi
}
trap stop_demo EXIT

# Starts the demo on any free port; sets `address`.
start_demo() {
  local log=$out/demo.log
  : >"$log"
  "$bridgehead" demo --listen 127.0.0.1:0 --services 127.0.0.1:0 --push 127.0.0.1:0 --admin 127.0.0.1:0 \
    --key-dir "$out/keys" >"$log" 2>&1 &
  demo_pid=$!
  local deadline=$((SECONDS + 30))
  address=
  while [ -z "$address" ] && [ "$SECONDS" -lt "$deadline" ] && kill -0 "$demo_pid" 2>/dev/null; do
    # Colours, where there are any, are taken off first.
    address=$(sed -n -e 's/\x1b\[[0-9;]*m//g' \
      -e 's/.*: listening address="\{0,1\}\([0-9.]*:[0-9]*\).*/\1/p' "$log" | head -n 1)
    [ -n "$address" ] || sleep 0.05
  done
  if [ -z "$address" ]; then
    say "the demo does not listen:"
    cat "$log"
    exit 1
  fi
}

[ -x "$bridgehead" ] || { say "no gateway at $bridgehead: build it, or name it in BRIDGEHEAD"; exit 1; }
ensure_packages
"$root/tests/peers/setup.sh"
build
mkdir -p "$out/keys"
start_demo
client=("$out/bin/imclient" -url "ws://$address/ws" -calls "${CALLS:-300}")
say "plain session"
"${client[@]}"
say "encrypted session"
"${client[@]}" -encrypt "$out/keys/session.pub.pem"
say "passed"
