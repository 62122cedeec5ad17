#!/usr/bin/env bash
# Validates the API's document of a running box, generates a client of it, and uses that client against the box:
#   scripts/openapi-client.sh http://127.0.0.1:8420
# The validator and the generator come from PyPI, by hash, into target/openapi-client.
set -euo pipefail
cd "$(dirname "$0")/.."

url=${1:?"the URL of a running box, such as http://127.0.0.1:8420"}
tools=$PWD/target/openapi-client
scripts/pypi-tools.sh scripts/openapi-client.txt "$tools"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
curl --fail --silent --show-error "$url/openapi.json" -o "$work/openapi.json"
"$tools/bin/openapi-spec-validator" "$work/openapi.json"
# No formatter runs over what nobody reads; lines of JSON are text to the client.
cat >"$work/config.yaml" <<'END'
post_hooks: []
content_type_overrides:
  application/x-ndjson: text/plain
END
"$tools/bin/openapi-python-client" generate --path "$work/openapi.json" --output-path "$work/membox_client" \
  --meta none --config "$work/config.yaml" --fail-on-warning
PYTHONPATH=$work "$tools/bin/python" scripts/openapi-client.py "$url"
