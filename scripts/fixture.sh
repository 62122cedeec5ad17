#!/usr/bin/env bash
# Makes the fixtures of crates/membox/tests/it/older_folder.rs with a binary from before:
#   scripts/fixture.sh target/release/membox crates/membox/tests/fixtures
# It writes a small history through HTTP, stops the box, packs its data folder, and notes what the same binary answers
# over it; then all of that once more with a master key. data/models holds the model (MODELS names another place).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
box=$(realpath "${1:?"the binary that writes"}")
out=$(realpath "${2:?"the folder for the fixtures"}")
models=$(realpath "${MODELS:-$here/../data/models}")
version=$("$box" --version | cut -d ' ' -f 2)

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT

# Starts the box over ./data, and sets `server` and `url`.
start() {
  rm -f log
  # Arithmetic in f32 is nearly the same on every processor.
  "$box" serve --listen 127.0.0.1:0 --device cpu --precision f32 --log-format json 2>log &
  server=$!
  until url=http://$(grep --no-messages --only-matching --perl-regexp '"address":"\K[^"]+' log); do
    kill -0 "$server" || { cat log >&2; exit 1; }
    sleep 0.1
  done
}

stop() {
  kill -TERM "$server"
  wait "$server"
  server=
}

# make NAME: a folder, and what is answered over it; with NAME.key sealed.
make() {
  mkdir -p "$work/$1/data"
  cd "$work/$1"
  ln -s "$models" data/models
  if [ -e "$out/$1.key" ]; then
    echo "master_key_file = \"$out/$1.key\"" >membox.toml
  fi
  start
  python3 "$here/fixture.py" write "$url"
  stop
  tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --exclude=data/models data |
    gzip --best --no-name >"$out/$1.tar.gz"
  start
  python3 "$here/fixture.py" ask "$url" >"$out/$1.json"
  stop
}

sealed=folder-$version-sealed
rm -f "$out/$sealed.key"
"$box" keys new "$out/$sealed.key"
make "folder-$version"
make "$sealed"
