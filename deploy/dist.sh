#!/usr/bin/env bash
# Packs target/dist/bridgehead-<version>-<target>.tar.gz: `make dist`.
#
#   PROFILE=dev   packs a debug build
#   BINARY=path   packs this binary, which is not built then
#
# The same binary at the same commit gives the same archive.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=${PROFILE:-release}
folder=$profile
if [ "$profile" = dev ]; then folder=debug; fi
binary=${BINARY:-}
if [ -z "$binary" ]; then
  ${CARGO:-cargo} build --locked --profile "$profile" --bin bridgehead
  binary=${CARGO_TARGET_DIR:-target}/$folder/bridgehead
fi

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
target=$(rustc -vV | sed -n 's/^host: //p')
name=bridgehead-$version-$target
out=target/dist
rm -rf "${out:?}/$name" "$out/$name.tar.gz"
mkdir -p "$out/$name/completions"

install -m 0755 "$binary" "$out/$name/bridgehead"
for shell in bash zsh fish elvish powershell; do
  "$binary" completions "$shell" >"$out/$name/completions/bridgehead.$shell"
done
"$binary" man --out "$out/$name/man/man1"
install -m 0644 LICENSE-APACHE LICENSE-MIT README.md CHANGELOG.md routes.yaml "$out/$name/"

epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -C "$out" -cf - "$name" | gzip -n >"$out/$name.tar.gz"
rm -rf "${out:?}/$name"
echo "packed $out/$name.tar.gz"
