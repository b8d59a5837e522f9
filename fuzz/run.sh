#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (default 300) each, one after another.
# Ends with the first input that fails. Works from any folder.
#
#   fuzz/run.sh                  all targets
#   fuzz/run.sh splice           these targets
#   FUZZ_SECONDS=60 fuzz/run.sh  shorter
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export RUSTC_BOOTSTRAP=1 # the sanitizer flags are otherwise nightly's

command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz

if (($# > 0)); then
  targets=("$@")
else
  mapfile -t targets < <(cargo fuzz list)
fi
if ((${#targets[@]} == 0)); then
  echo "no fuzz targets found" >&2
  exit 1
fi

for target in "${targets[@]}"; do
  echo "== $target, ${FUZZ_SECONDS:-300} s"
  mkdir -p "fuzz/corpus/$target" "fuzz/seeds/$target"
  cargo fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -max_total_time="${FUZZ_SECONDS:-300}" -max_len=4096 -print_final_stats=1
done
