#!/usr/bin/env bash
# Install what the checks need into .venv, and run them all:  bash scripts/test.sh [pytest's own arguments]
#
#     ruff (lint and format), pyright, and the tests; with arguments, the tests alone
set -euo pipefail
source "$(dirname "$0")/venv.sh"
install test,collect
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MUJOCO_GL=${MUJOCO_GL:-egl}  # many small models: one thread is fastest
if [ $# -eq 0 ]; then
    "$VENV/bin/ruff" check .
    "$VENV/bin/ruff" format --check .
    "$VENV/bin/pyright" --pythonpath "$VENV/bin/python"
fi
exec "$VENV/bin/python" -m pytest -n auto --dist loadfile "$@"      # a process a core
