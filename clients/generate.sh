#!/usr/bin/env bash
# Writes anew what the clients know of the API, from the document of a running box:
#   clients/generate.sh http://127.0.0.1:8420
set -euo pipefail
url=$1
cd "$(dirname "$0")"

python3 python/membox/generate_types.py "$url"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Beside the sources its packages would be part of the project to those who look for files.
cp --parents typescript/package.json typescript/package-lock.json typescript/*/package.json "$work"
(cd "$work/typescript" && npm ci --silent --ignore-scripts --no-audit --no-fund)
(cd "$work/typescript" && npx openapi-typescript "$url/openapi.json" -o schema.ts >/dev/null)
mv "$work/typescript/schema.ts" typescript/membox/src/schema.ts
