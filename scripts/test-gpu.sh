#!/usr/bin/env bash
# Every kernel on this machine's GPUs against the CPU; then, where NVIDIA's compute-sanitizer is found, once more under it:
# accesses outside of memory, memory that was never written, and races. Two minutes beside the build.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --workspace --bins --examples
membox="target/release/membox doctor --gpu"
pass="target/release/examples/forward --once minilm"
$membox
if ! command -v compute-sanitizer >/dev/null; then
    echo "compute-sanitizer is not found: it comes with NVIDIA's CUDA toolkit. Kernels ran without it." >&2
    exit 0
fi
for tool in memcheck racecheck; do
    for program in "$membox" "$pass"; do
        echo "compute-sanitizer --tool $tool $program"
        # shellcheck disable=SC2086
        compute-sanitizer --tool "$tool" --error-exitcode 1 $program | tail -n 1
    done
done
