#!/usr/bin/env bash
# The short loop: format, clippy, and the unit tests of the crates that changed since main (on main: since the last
# commit), and of those that depend on them. SINCE=REF compares with another commit, SINCE=all takes every crate.
set -euo pipefail
cd "$(dirname "$0")/.."

main=$(git rev-parse --verify --quiet origin/main || git rev-parse --verify --quiet main || git rev-parse HEAD)
since=${SINCE:-$(git merge-base HEAD "$main")}
[ "$since" = all ] && since=$(git hash-object -t tree /dev/null)
changed=$(git diff --name-only "$since"; git ls-files --others --exclude-standard)

# What changed by path, and what depends on it by cargo's own account.
crates=$(cargo metadata --format-version 1 --no-deps --offline | CHANGED=$changed python3 -c '
import json, os, sys

metadata = json.load(sys.stdin)
root = metadata["workspace_root"] + "/"
packages = {package["name"]: package for package in metadata["packages"]}
folders = {os.path.dirname(package["manifest_path"])[len(root):] + "/": name for name, package in packages.items()}
folders |= {"kernels/": "membox-cuda", "models/": "membox-encoder"}
found = set()
for path in os.environ["CHANGED"].splitlines():
    if path in ("Cargo.toml", "Cargo.lock", "clippy.toml", "rust-toolchain.toml") or path.startswith(".cargo/"):
        found |= set(packages)
    elif not path.endswith(".md"):
        found |= {name for folder, name in folders.items() if path.startswith(folder)}
more = True
while more:
    uses = lambda name: {dependency["name"] for dependency in packages[name]["dependencies"]}
    more = {name for name in packages if name not in found and uses(name) & found}
    found |= more
print(*sorted(found))
')
cargo fmt --all --check
if [ -z "$crates" ]; then
  echo "no crate has changed"
  exit
fi
echo "changed, or above what changed: $crates"

# Always the whole workspace, of which cargo builds what is not fresh: for some crates alone it would choose other
# features of what they share. The runner leaves out the tests of crates that did not change.
fast=(--config .cargo/fast.toml)
cargo "${fast[@]}" clippy --release --workspace --all-targets -- -D warnings
export MEMBOX_CHECK=$crates
runner="target.'cfg(all())'.runner='$PWD/scripts/check-runner.sh'"
cargo "${fast[@]}" --config "$runner" test --release --workspace --lib --bins --quiet
