#!/usr/bin/env bash
# Writes FOLDER/reference.npy: embeddings of the lines of TEXTS, or of our sample history when there is none.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$1
mkdir -p "$folder"
if [ -n "${TEXTS:-}" ]; then
  cp "$TEXTS" "$folder/texts.txt"
else
  python3 -c 'import json; [print(" ".join(json.loads(l)["text"].split())) for l in open("examples/history.jsonl")]' > "$folder/texts.txt"
fi
target/release/membox embed --out "$folder/reference.npy" < "$folder/texts.txt"
