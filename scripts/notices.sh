#!/usr/bin/env bash
# Writes into target/notices what a binary of membox is made of:
#   THIRD-PARTY-NOTICES.txt   every package, with its licence and the licence texts that it carries
#   membox.cdx.json           the same as an SBOM, CycloneDX 1.6 as JSON
# It asks cargo alone, without the network: what is in Cargo.lock has been fetched by the build.
set -euo pipefail
cd "$(dirname "$0")/.."

target=x86_64-unknown-linux-gnu
cargo fetch --quiet --locked --offline --target $target 2>/dev/null || cargo fetch --quiet --locked --target $target
mkdir -p target/notices
cargo metadata --locked --offline --format-version 1 --filter-platform $target |
  python3 scripts/notices.py target/notices
