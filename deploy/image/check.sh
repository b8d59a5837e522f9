#!/usr/bin/env bash
# Checks the image without a container engine: deploy/image/check.py, with the tools of
# tests/deploy/setup.sh. Part of `make test-deploy`. See there for what is a substitute.
#
#   FULL=1   builds exactly as the Dockerfile says, twice, and compares (as long as two builds take)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

bash "$root/tests/deploy/setup.sh"
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
  echo "image: needs root, or sudo, for chroot and mount" >&2
  exit 1
fi
export PYTHONPYCACHEPREFIX=$root/target/deploy/pycache
exec "$root/target/deploy/venv/bin/python" "$here/check.py" "$@"
