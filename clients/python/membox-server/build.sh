#!/usr/bin/env bash
# Builds the wheel that carries a binary:
#   clients/python/membox-server/build.sh BINARY OUT
# The binary is the one that the tests have run, stripped; maturin would build another one. auditwheel takes in what it
# links to and systems may lack, and names the oldest glibc that it runs with. The tools come from PyPI, by hash, into
# target/wheel.
set -euo pipefail
here=$(realpath "$(dirname "$0")") binary=$(realpath "$1") out=$(realpath --canonicalize-missing "$2")
cd "$here/../../.."

tools=$PWD/target/wheel
scripts/pypi-tools.sh clients/python/locks/wheel.txt "$tools"
scripts/notices.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/files/bin" "$work/files/licenses"
strip -o "$work/files/bin/membox" "$binary"
cp target/notices/THIRD-PARTY-NOTICES.txt "$work/files/licenses"

# What is taken in comes with the licence that its Debian package has.
ldd "$binary" | awk '/=> \// {print $3}' | grep -Ev '/lib(c|m|stdc\+\+|gcc_s)\.so' | while read -r library; do
  found=$(dpkg-query -S "$(realpath "$library")" 2>/dev/null || dpkg-query -S "$library")
  package=${found%%:*}
  cp "/usr/share/doc/$package/copyright" "$work/files/licenses/$package.txt"
done

(cd "$here" && MEMBOX_WHEEL_FILES=$work/files "$tools/bin/python" -m hatchling build -t wheel -d "$work/plain" >/dev/null)
mkdir -p "$out"
rm -f "$out"/membox_server-*.whl
PATH=$tools/bin:$PATH "$tools/bin/auditwheel" --verbose repair --wheel-dir "$out" "$work"/plain/*.whl 2>"$work/log" ||
  { cat "$work/log" >&2; exit 1; }
ls -l "$out"/membox_server-*.whl
