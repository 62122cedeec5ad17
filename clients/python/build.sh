#!/usr/bin/env bash
# Builds a wheel and a source package of each package here but membox-server, whose wheel needs a binary:
#   clients/python/build.sh PYTHON OUT      PYTHON has hatchling
set -euo pipefail
python=$(realpath --no-symlinks "$1") out=$(realpath --canonicalize-missing "$2")
cd "$(dirname "$0")"

rm -rf "$out"
for package in */pyproject.toml; do
  [ "$package" != membox-server/pyproject.toml ] || continue
  (cd "$(dirname "$package")" && "$python" -m hatchling build -d "$out" >/dev/null)
done
ls "$out"
