#!/usr/bin/env bash
# Sessions of a box of its own: SESSIONS (1000) of MESSAGES (500) each; with DIR, a folder of conversations as LoCoMo writes them, what of the evidence
# is in a context. Writes benches/results/sessions.jsonl.
set -euo pipefail
cd "$(dirname "$0")/.."

FOLDER=$(mktemp -d)
trap 'kill $! 2>/dev/null; rm -rf "$FOLDER"' EXIT
ln -s "$PWD/data/models" "$FOLDER/models"
target/release/membox --data-dir "$FOLDER" serve --listen 127.0.0.1:8439 &
for _ in $(seq 100); do
  curl -sf http://127.0.0.1:8439/ready >/dev/null && break
  sleep 0.1
done
rm -f benches/results/sessions.jsonl
[ -z "${DIR:-}" ] || python3 benches/sessions.py evidence "$DIR" http://127.0.0.1:8439 --out benches/results/sessions.jsonl
python3 benches/sessions.py load http://127.0.0.1:8439 --sessions "${SESSIONS:-1000}" --messages "${MESSAGES:-500}" --out benches/results/sessions.jsonl
