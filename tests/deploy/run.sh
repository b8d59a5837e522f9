#!/usr/bin/env bash
# Sets up and runs the checks of image, chart and metrics against the binary in $BRIDGEHEAD
# (default: target/debug/bridgehead, which must have been built). Arguments go to pytest.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

bash "$here/setup.sh"
if [ -f "$here/setup-prometheus.sh" ]; then
  bash "$here/setup-prometheus.sh"
fi
export BRIDGEHEAD=${BRIDGEHEAD:-$root/target/debug/bridgehead}
export PYTHONPYCACHEPREFIX=$root/target/deploy/pycache
cd "$here"
exec "$root/target/deploy/venv/bin/python" -m pytest \
  -o cache_dir="$root/target/deploy/pytest_cache" "$@"
