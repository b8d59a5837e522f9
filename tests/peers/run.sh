#!/usr/bin/env bash
# Sets up the peers and runs the end-to-end tests against the binary in $BRIDGEHEAD
# (default: target/debug/bridgehead, which must have been built). Arguments go to pytest.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

"$here/setup.sh"
export BRIDGEHEAD=${BRIDGEHEAD:-$root/target/debug/bridgehead}
export PYTHONPYCACHEPREFIX=$root/target/peers/pycache
cd "$here"
exec "$root/target/peers/venv/bin/python" -m pytest \
  -o cache_dir="$root/target/peers/pytest_cache" "$@"
