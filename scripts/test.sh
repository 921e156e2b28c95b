#!/usr/bin/env bash
# Install what the tests need into .venv, and run them:  bash scripts/test.sh [pytest's own arguments]
set -euo pipefail
source "$(dirname "$0")/venv.sh"
install test,collect
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MUJOCO_GL=${MUJOCO_GL:-egl}  # many small models: one thread is fastest
exec "$VENV/bin/python" -m pytest -n auto --dist loadfile "$@"      # a process a core
