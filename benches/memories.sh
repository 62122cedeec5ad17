#!/usr/bin/env bash
# From what is said to memories, by a box of its own. DIR is a folder of conversations as LoCoMo writes them, MEETINGS a file of meetings with their topics as
# QMSum has them. Writes benches/results/memories.jsonl.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${DIR:?set DIR to a folder of conversations}"

. benches/box.sh
rm -f benches/results/memories.jsonl
python3 benches/memories.py remember "$DIR" "$BOX" --out benches/results/memories.jsonl
python3 benches/memories.py topics "$DIR" "$BOX" ${MEETINGS:+--meetings "$MEETINGS"} --out benches/results/memories.jsonl
