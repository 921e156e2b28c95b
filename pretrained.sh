#!/usr/bin/env bash
# Fetch the published models and their plans:  ./pretrained.sh [--list] [DATASET …]    (./pretrained.sh --help)
set -euo pipefail
# shellcheck source=scripts/venv.sh
source "$(dirname "$0")/scripts/venv.sh"
"$VENV/bin/python" -c 'import trajectory.utils' 2>/dev/null || install ''
exec "$VENV/bin/python" -m scripts.pretrained "$@"
