#!/usr/bin/env bash
# From what is said to memories, by a box of its own. DIR is a folder of conversations as LoCoMo writes them, MEETINGS a file of meetings with their topics as
# QMSum has them. Writes benches/results/memories.jsonl.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${DIR:?set DIR to a folder of conversations}"

FOLDER=$(mktemp -d)
trap 'kill $! 2>/dev/null; rm -rf "$FOLDER"' EXIT
ln -s "$PWD/data/models" "$FOLDER/models"
target/release/membox --data-dir "$FOLDER" serve --listen 127.0.0.1:8439 &
for _ in $(seq 100); do
  curl -sf http://127.0.0.1:8439/ready >/dev/null && break
  sleep 0.1
done
rm -f benches/results/memories.jsonl
python3 benches/memories.py remember "$DIR" http://127.0.0.1:8439 --out benches/results/memories.jsonl
python3 benches/memories.py topics "$DIR" http://127.0.0.1:8439 ${MEETINGS:+--meetings "$MEETINGS"} --out benches/results/memories.jsonl
