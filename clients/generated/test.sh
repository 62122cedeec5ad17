#!/usr/bin/env bash
# Has openapi-generator and openapi-typescript make clients from the API's document of a box, and uses them against it:
#   clients/generated/test.sh http://127.0.0.1:8420 FOLDER TOOLS      TOOLS is the environment of locks/generators.txt
# openapi-python-client is tried by scripts/openapi-client.sh, in `make test`.
set -euo pipefail
here=$(realpath "$(dirname "$0")") url=$1 place=$(realpath --canonicalize-missing "$2") tools=$(realpath --no-symlinks "$3")
name=generated-$RANDOM$RANDOM

mkdir -p "$place"
cd "$place"
curl --fail --silent --show-error "$url/openapi.json" -o openapi.json

rm -rf python
"$tools/bin/openapi-generator-cli" generate -g python -i openapi.json -o python --package-name membox_generated \
  >generator.txt 2>&1 || { cat generator.txt; exit 1; }
PYTHONPATH=python "$tools/bin/python" "$here/use_python.py" "$url" "$name-python"

cp "$here"/*.json "$here/use_typescript.ts" .
npm ci --silent --ignore-scripts --no-audit --no-fund
npx openapi-typescript openapi.json -o schema.ts >/dev/null
npx tsc
node use_typescript.js "$url" "$name-typescript"
