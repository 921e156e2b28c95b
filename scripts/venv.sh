# Make, or reuse, the virtual environment .venv with the versions that were tested; sourced by the commands beside it.
#
#     PYTHON=python3.12 bash scripts/test.sh      another interpreter (for a new .venv)

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "$("$PYTHON" --version 2>&1 || echo "no $PYTHON") is too old: Python 3.10 or newer is needed. Name one: PYTHON=python3.12 bash $0" >&2
    exit 2
fi
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"

install() {  # the extras to install, such as `test`
    echo "Installing into $VENV (a few minutes the first time)"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".${1:+[$1]}"
}
