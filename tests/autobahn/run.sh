#!/usr/bin/env bash
# Runs the cases of the Autobahn test suite against target/debug/examples/autobahn_echo, which must have
# been built, and compares the results with docs/autobahn.md. Reports are left in target/autobahn.
#
#   tests/autobahn/run.sh            every case but those of permessage-deflate (12.*, 13.*)
#   tests/autobahn/run.sh -i '5.*'   these cases
#   WRITE=1 tests/autobahn/run.sh    writes the figures into docs/autobahn.md
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/target/autobahn
venv=$out/venv

say() { echo "autobahn: $*"; }

if ! python3 -c 'import venv, ensurepip, sys; assert sys.version_info >= (3, 10)' 2>/dev/null; then
  say "needs python3 3.10 or newer with venv (apt: python3-venv); install it, then try again."
  exit 1
fi
stamp=$(cat "$here/requirements.txt" <(python3 -V) | sha256sum | cut -d' ' -f1)
if [ "$(cat "$out/venv.stamp" 2>/dev/null)" != "$stamp" ]; then
  say "installing the packages of tests/autobahn/requirements.txt into ${venv#"$root"/}"
  rm -rf "$venv" "$out/venv.stamp"
  mkdir -p "$out"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
  echo "$stamp" >"$out/venv.stamp"
fi

coproc ECHO { exec "$root/target/debug/examples/autobahn_echo"; }
trap 'kill "$ECHO_PID" 2>/dev/null || true' EXIT
read -r -t 10 address <&"${ECHO[0]}"

rm -rf "$out/reports"
say "running the cases against $address"
# Its exit code counts cases that are known to differ as well; report.py decides.
"$venv/bin/kosoku" --parallelism 4 --exclude '12.*' --exclude '13.*' --outdir "$out/reports" "$@" "$address" \
  >"$out/log" 2>&1 || true
if [ ! -f "$out/reports/index.json" ]; then
  tail -n 20 "$out/log" >&2
  exit 1
fi
"$venv/bin/python" "$here/report.py" "$out/reports/index.json" "$root/docs/autobahn.md"
