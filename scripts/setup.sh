#!/usr/bin/env bash
# Installs what building membox needs and is missing: a C++ compiler, CMake 3.24, OpenBLAS, Python with pip.
# Debian and Ubuntu; elsewhere it names what to install.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || { echo "Install Rust first: https://rustup.rs" >&2; exit 1; }

packages=(build-essential cmake pkg-config libopenblas-dev liblapack-dev python3 python3-pip python3-venv curl)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "Install: a C++ compiler with OpenMP, CMake 3.24 or newer, OpenBLAS and LAPACK with headers, python3 with pip" >&2
    exit 1
  fi
  as_root=""; [ "$(id -u)" = 0 ] || as_root=sudo
  echo "Installing ${missing[*]}"
  $as_root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq "${missing[@]}" >/dev/null
fi

# FAISS wants CMake 3.24. Where the system's is older, a newer one from PyPI goes into .venv, which the Makefile puts first.
version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\.[0-9]*\).*/\1/p')
if [ "$(printf '%s\n3.24\n' "$version" | sort -V | head -n 1)" != 3.24 ] && [ ! -x .venv/bin/cmake ]; then
  echo "CMake $version is too old for FAISS; installing a newer one into .venv"
  scripts/pypi-tools.sh scripts/cmake.txt "$PWD/.venv"
fi
