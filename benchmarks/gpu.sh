#!/usr/bin/env bash
# Everything to know of a CUDA machine in one call: checks and benchmarks, without a simulator.
#
#     bash benchmarks/gpu.sh OUT          writes OUT/gpu.json and OUT/gpu.md; GPU_SECONDS=300 bounds the whole
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" benchmarks/gpu.py --out "${1:?usage: bash benchmarks/gpu.sh OUT}" "${@:2}"
