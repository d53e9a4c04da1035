#!/usr/bin/env bash
# Makes the virtual environment: torch by exact version before anything that depends on it, then the
# build tools and dependencies.
# usage: PYTHON=python3 scripts/setup-python.sh .venv
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
"${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "setup: climlink needs Python 3.11 or newer;" \
    "${PYTHON:-python3} is $("${PYTHON:-python3}" --version 2>&1). Set PYTHON=..." >&2
  exit 1
}
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
pip install --quiet "${CLIMLINK_TORCH:-torch==2.13.0}"
"$venv/bin/python" - > "$venv/requirements.txt" <<'PY'
import tomllib

project = tomllib.load(open("pyproject.toml", "rb"))
wanted = project["build-system"]["requires"] + project["project"]["dependencies"] \
    + project["project"]["optional-dependencies"]["test"]
print("\n".join(wanted))
PY
pip install --quiet -r "$venv/requirements.txt"
