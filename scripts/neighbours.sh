#!/usr/bin/env bash
# Attacks a box by one tenant, each attack for SECONDS (first argument, 10), beside another one, and writes
# benches/results/neighbours.md. ONLY=TEXT makes those attacks alone whose name has it, and writes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

export MEMBOX_NEIGHBOURS_SECONDS=${1:-10}
if [ -n "${ONLY:-}" ]; then
  export MEMBOX_NEIGHBOURS_ONLY=$ONLY
  exec cargo test --release -p membox --test it -- neighbours::whatever --nocapture
fi
table=$(mktemp)
trap 'rm -f "$table"' EXIT
export MEMBOX_NEIGHBOURS_OUT=$table
# What fails is written too: it is what somebody looks for.
failed=0
cargo test --release -p membox --test it -- neighbours::whatever --nocapture || failed=$?
{
  echo "# Hostile neighbours"
  echo
  echo "One tenant sends the most expensive bodies that a box takes, 16 at a time, $MEMBOX_NEIGHBOURS_SECONDS s an attack."
  echo "Beside it another tenant recalls, writes and embeds, one request of each kind at a time."
  echo "\"left\" counts requests whose answer the first tenant did not read."
  echo "Made by \`make neighbours EACH=$MEMBOX_NEIGHBOURS_SECONDS\` on $(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1))."
  echo
  cat "$table"
} > benches/results/neighbours.md
exit "$failed"
