#!/usr/bin/env bash
# Fuzzes each parser of fuzz/ for SECONDS_EACH seconds (60): scripts/fuzz.sh [TARGET…]. What it finds to be worth keeping
# lies in fuzz/corpus, and what broke in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/pypi-tools.sh scripts/fuzz.txt "$PWD/target/fuzz-tools"
export PATH="$PWD/target/fuzz-tools/bin:$PATH"
# The sanitizer's flags are for nightly compilers; the pinned one takes them when it is told to.
export RUSTC_BOOTSTRAP=1
[ $# -gt 0 ] || set -- $(cargo fuzz list)
for target in "$@"; do
  mkdir -p "fuzz/corpus/$target"
  cargo fuzz run --target-dir target/fuzz "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -max_total_time="${SECONDS_EACH:-60}" -max_len=8192 -timeout=10
done
