#!/usr/bin/env bash
# Runs the criterion benches and, in the same run on the same machine, what a user would pick instead; writes benches/results.
# TEXTS=FILE embeds the lines of a file of yours instead of our sample texts.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -x .peers/bin/python ]; then
  echo "Installing the peers into .peers (torch, sentence-transformers, onnxruntime, llmlingua, faiss): some 2 GB"
  python3 -m venv .peers
  .peers/bin/pip install --quiet torch sentence-transformers onnxruntime onnx faiss-cpu numpy matplotlib llmlingua==0.2.2 sentencepiece protobuf
fi
cargo bench -p membox-benches
.peers/bin/python benches/compare.py ${TEXTS:+--texts "$TEXTS"}
.peers/bin/python benches/compress.py ${TEXTS:+--texts "$TEXTS"}
