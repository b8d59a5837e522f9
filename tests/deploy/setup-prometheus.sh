#!/usr/bin/env bash
# Installs promtool where it is missing: Debian has it in the package `prometheus`, whose server the
# checks have no use for. It is kept from being started, now and at boot.
set -euo pipefail

say() { echo "deploy: $*"; }

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

if ! command -v promtool >/dev/null; then
  if ! command -v apt-get >/dev/null; then
    say "needs promtool (it comes with Prometheus); install it, then try again."
    exit 1
  fi
  say "installing prometheus with apt, for its promtool"
  # A masked service is neither enabled nor started by the package.
  masked=/etc/systemd/system/prometheus.service
  is_ours=
  if [ ! -e "$masked" ] && [ ! -L "$masked" ]; then
    as_root mkdir -p "$(dirname "$masked")"
    as_root ln -s /dev/null "$masked"
    is_ours=1
  fi
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -qy --no-install-recommends prometheus
  if [ -n "$is_ours" ]; then
    say "the prometheus service stays masked: systemctl unmask prometheus, if you want it to run"
  fi
fi
version=$(promtool --version 2>&1)
say "ready: ${version%%$'\n'*}"
