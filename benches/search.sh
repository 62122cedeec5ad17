#!/usr/bin/env bash
# Nearest-neighbour search at its real size beside faiss, usearch, LanceDB, Qdrant Edge and pgvector, in one run; writes benches/results/search.*.
# N=1000000 vectors, blended from the embeddings of the lines of TEXTS (our sample texts when there is none). A million take about an hour.
set -euo pipefail
cd "$(dirname "$0")/.."

N=${N:-1000000}
FOLDER=${FOLDER:-.peers/search-$N}
scripts/pypi-tools.sh benches/searchers.txt "$PWD/.peers/searchers"
cargo build --release --package membox-benches --bin scale
mkdir -p "$FOLDER"
if [ ! -f "$FOLDER/truth.i64" ]; then
  benches/reference.sh "$FOLDER"
  .peers/searchers/bin/python benches/search.py make "$FOLDER" --n "$N" --reference "$FOLDER/reference.npy"
fi
rm -f benches/results/search.jsonl
.peers/searchers/bin/python benches/search.py run "$FOLDER" --scratch "$FOLDER/scratch" --out benches/results/search.jsonl ${ENGINES:+--engines "$ENGINES"}
.peers/searchers/bin/python benches/search.py report benches/results/search.jsonl | tee benches/results/search.md
