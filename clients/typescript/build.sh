#!/usr/bin/env bash
# Builds and packs each package here:
#   clients/typescript/build.sh OUT
set -euo pipefail
here=$(realpath "$(dirname "$0")") out=$(realpath --canonicalize-missing "$1")
export npm_config_ignore_scripts=true npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false

# Beside the sources its packages would be part of the project to those who look for files.
rm -rf "$out"
mkdir -p "$out"
cp -r "$here" "$out/build"
cd "$out/build"
npm ci --silent
npm run --silent build --workspace membox --workspace @membox/langgraph-checkpoint
npm pack --silent --workspaces --pack-destination "$out"
