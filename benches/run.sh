#!/usr/bin/env bash
# Runs the criterion benches and, in the same run on the same machine, what a user would pick instead; writes benches/results.
# TEXTS=FILE embeds the lines of a file of yours instead of our sample texts.
set -euo pipefail
cd "$(dirname "$0")/.."

# torch, sentence-transformers, onnxruntime, llmlingua, faiss: some 2 GB.
scripts/pypi-tools.sh benches/peers.txt "$PWD/.peers/encoders"
cargo bench -p membox-benches
.peers/encoders/bin/python benches/compare.py ${TEXTS:+--texts "$TEXTS"}
.peers/encoders/bin/python benches/compress.py ${TEXTS:+--texts "$TEXTS"}
