#!/usr/bin/env bash
# Counts words in the comments of Rust sources, per 10,000 words of comments, that turn a sentence into a
# riddle where a noun of the field would do ("what it was told of" for "the receipt"; see CONTRIBUTING.md).
# Prints the figures, and fails where one is above its maximum. Lower a maximum once the figure has fallen.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

declare -A maximum=([what]=30 [told]=3 [nobody]=3)

# The text of //, /// and //! comments, those behind code too. "://" in a string begins none.
comments() {
  find src tests benches examples fuzz/fuzz_targets build build.rs -name '*.rs' -print0 | sort -z |
    xargs -0 sed -nE 's@^(.*[[:space:]])?//[/!]?([[:space:]].*)$@\2@p'
}

words=$(comments | tr -cs '[:alpha:]' '\n' | tr '[:upper:]' '[:lower:]' | grep .)
total=$(wc -l <<<"$words")
if ((total < 1000)); then
  echo "words: only $total words of comments were found" >&2
  exit 1
fi
failed=0
for word in what told nobody; do
  count=$(grep -cx "$word" <<<"$words" || true)
  # In tenths, so that no float is needed.
  tenths=$((count * 100000 / total))
  printf 'words: "%s" %d times in %d words of comments: %d.%d of 10,000, at most %d\n' \
    "$word" "$count" "$total" $((tenths / 10)) $((tenths % 10)) "${maximum[$word]}"
  if ((tenths > maximum[$word] * 10)); then
    failed=1
  fi
done
if ((failed)); then
  echo "words: too many; name the thing in a noun (CONTRIBUTING.md, \"Plain technical English\")" >&2
fi
exit "$failed"
