#!/usr/bin/env bash
# How the box grows with SIZES vectors (10 000, which an automatic collection scans, 100 000 and a million), by HNSW and by IVF; writes benches/results/growth.*.
set -euo pipefail
cd "$(dirname "$0")/.."

SIZES=${SIZES:-10000,100000,1000000}
FOLDER=${FOLDER:-.peers/growth}
scripts/pypi-tools.sh benches/searchers.txt "$PWD/.peers/searchers"
cargo build --release --package membox --package membox-benches --bin membox --bin scale
[ -f "$FOLDER/reference.npy" ] || benches/reference.sh "$FOLDER"
rm -f benches/results/growth.jsonl
for index in hnsw ivf; do
  .peers/searchers/bin/python benches/growth.py run "$FOLDER" --reference "$FOLDER/reference.npy" --sizes "$SIZES" --index "$index" --out benches/results/growth.jsonl
done
.peers/searchers/bin/python benches/growth.py report benches/results/growth.jsonl | tee benches/results/growth.md
