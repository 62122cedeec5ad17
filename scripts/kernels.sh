#!/usr/bin/env bash
# Fetches NVIDIA's run-time compiler and assembler from PyPI, by hash, into .kernels, checks every kernel with them, and
# keeps the PTX that tests run on a software card. No GPU is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/pypi-tools.sh scripts/kernels.txt "$PWD/.kernels"
folders=$(find "$PWD"/.kernels/lib -name 'libnvrtc.so*' -printf '%h\n' | sort -u | paste -sd:)
ptxas=$(find "$PWD"/.kernels/lib -name ptxas -type f | head -n 1)
export LD_LIBRARY_PATH="$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" MEMBOX_PTXAS="$ptxas" MEMBOX_KEEP_PTX=1
cargo test --release --package membox-cuda --test it -- compile:: --nocapture
# Kernels of real models' shapes, whose PTX is too large to be kept.
MEMBOX_REAL_NVRTC=1 cargo test --release --package membox-cuda --test card -- kernels:: --ignored
