#!/usr/bin/env bash
# Sessions of a box of its own: SESSIONS (1000) of MESSAGES (500) each; with DIR, a folder of conversations as LoCoMo writes them, what of the evidence
# is in a context. Writes benches/results/sessions.jsonl.
set -euo pipefail
cd "$(dirname "$0")/.."

. benches/box.sh
rm -f benches/results/sessions.jsonl
[ -z "${DIR:-}" ] || python3 benches/sessions.py evidence "$DIR" "$BOX" --out benches/results/sessions.jsonl
python3 benches/sessions.py load "$BOX" --sessions "${SESSIONS:-1000}" --messages "${MESSAGES:-500}" --out benches/results/sessions.jsonl
