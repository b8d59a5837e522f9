#!/usr/bin/env bash
# Holds `rust-version` of Cargo.toml, the oldest compiler that is supported, without a download:
#
# - the installed compiler must not be older;
# - where a toolchain of that version is installed, everything is checked with it, unless it is the one
#   that cargo uses anyway.
#
# Clippy's `incompatible_msrv` (Cargo.toml) covers the rest: parts of std that are newer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo=${CARGO:-cargo}
say() { echo "rust-version: $*"; }

oldest=$(sed -nE 's/^rust-version = "([0-9.]+)"$/\1/p' Cargo.toml)
installed=$(rustc --version | sed -nE 's/^rustc ([0-9.]+).*/\1/p')
if [ -z "$oldest" ] || [ -z "$installed" ]; then
  say "not found: '$oldest' in Cargo.toml, '$installed' from rustc --version" >&2
  exit 1
fi

# is_of VERSION: whether VERSION is the oldest one or a patch release of it.
is_of() { [[ $1 == "$oldest" || $1 == "$oldest".* ]]; }

if [ "$(printf '%s\n' "$oldest" "$installed" | sort -V | head -n 1)" != "$oldest" ]; then
  say "Cargo.toml wants $oldest, and rustc is $installed" >&2
  exit 1
fi
if is_of "$installed"; then
  say "$oldest is the compiler in use ($installed)"
  exit 0
fi
toolchain=
if command -v rustup >/dev/null; then
  while read -r name _; do
    if is_of "${name%%-*}"; then
      toolchain=$name
    fi
  done < <(rustup toolchain list)
fi
if [ -z "$toolchain" ]; then
  say "$oldest is not installed; checked by clippy alone, with $installed"
  exit 0
fi
say "checking with $toolchain"
# A folder of its own, so that neither compiler discards the other's work.
rustup run "$toolchain" "$cargo" check --locked --all-targets --target-dir target/oldest
