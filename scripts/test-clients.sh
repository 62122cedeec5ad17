#!/usr/bin/env bash
# Builds the client packages, installs them beside the frameworks that they are for, and runs all of their tests and
# those frameworks' own suites against one box:
#   scripts/test-clients.sh [BINARY]      BINARY is target/release/membox unless said otherwise
# ONLY=TEXT runs the suites whose name has it. The frameworks come from PyPI and npm, by hash, into target/clients. What
# passed is written into target/clients/results.md.
set -euo pipefail
cd "$(dirname "$0")/.."

MEMBOX_BINARY=$(realpath "${1:-target/release/membox}")
MEMBOX_MODELS=$PWD/data/models
export MEMBOX_BINARY MEMBOX_MODELS
python=clients/python
place=$PWD/target/clients

for group in core langchain llama-index agents crewai mem0 agent-memory generators; do
  scripts/pypi-tools.sh "$python/locks/$group.txt" "$place/$group"
done
"$python/build.sh" "$place/core/bin/python" "$place/dist"
clients/typescript/build.sh "$place/typescript"
"$python/membox-server/build.sh" "$MEMBOX_BINARY" "$place/server"

dist=$place/dist
install() { "$place/$1/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall "${@:2}"; }
install core "$dist"/membox-[0-9]*.whl
install langchain "$dist"/membox-[0-9]*.whl "$dist"/langchain_membox-*.whl "$dist"/langgraph_checkpoint_membox-*.whl
install llama-index "$dist"/membox-[0-9]*.whl "$dist"/llama_index_*.whl
install agents "$dist"/membox-[0-9]*.whl
install crewai "$dist"/membox-[0-9]*.whl
install mem0 "$dist"/membox-[0-9]*.whl
install agent-memory "$dist"/membox-[0-9]*.whl

if [ ! -e "$place/sources/.whole" ] || [ "$python/locks/sources.txt" -nt "$place/sources/.whole" ]; then
  rm -rf "$place/sources"
  mkdir -p "$place/sources"
  # The backend that says what a source package is called comes from our own tools, and not from the net.
  "$place/core/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: --no-build-isolation \
    --require-hashes -r "$python/locks/sources.txt" --dest "$place/sources"
  for archive in "$place"/sources/*.tar.gz; do tar -xzf "$archive" -C "$place/sources"; done
  touch "$place/sources/.whole"
fi

exec "$place/core/bin/python" "$python/suites.py" "$place"
