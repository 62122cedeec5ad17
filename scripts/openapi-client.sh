#!/usr/bin/env bash
# Validates the API's document of a running box, generates a client of it, and uses that client against the box:
#   scripts/openapi-client.sh http://127.0.0.1:8420
# The validator and the generator come from PyPI, by hash, into target/openapi-client.
set -euo pipefail
cd "$(dirname "$0")/.."

url=${1:?"the URL of a running box, such as http://127.0.0.1:8420"}
packages=scripts/openapi-client.txt
tools=$PWD/target/openapi-client

mkdir -p target
exec 9>target/openapi-client.lock
flock 9
installed=$(sha256sum "$packages")
if [ "$(cat "$tools/installed" 2>/dev/null)" != "$installed" ]; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r "$packages" || {
    echo "The validator of the API's document was not installed. It comes from PyPI: see that 'pip download attrs'" \
      "works here (a mirror is set by PIP_INDEX_URL, or in pip.conf), and run this again." >&2
    exit 1
  }
  echo "$installed" >"$tools/installed"
fi
flock -u 9

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
