#!/usr/bin/env bash
# Installs tools from PyPI, by hash, into a folder of their own, unless they are there:
#   scripts/pypi-tools.sh scripts/lint.txt target/lint
set -euo pipefail

packages=$1 tools=$2
mkdir -p "$(dirname "$tools")"
exec 9>"$tools.lock"
flock 9
installed=$(sha256sum "$packages")
[ "$(cat "$tools/installed" 2>/dev/null)" != "$installed" ] || exit 0
rm -rf "$tools"
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r "$packages" || {
  echo "The tools of $packages were not installed. They come from PyPI: see that 'pip download attrs' works here" \
    "(a mirror is set by PIP_INDEX_URL, or in pip.conf), and run this again." >&2
  exit 1
}
echo "$installed" >"$tools/installed"
