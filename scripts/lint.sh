#!/usr/bin/env bash
# Style and structure: ruff, mypy, import rules, clang-format, Fortran style.
# usage: scripts/lint.sh .venv
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1/bin
"$bin/ruff" check .
"$bin/ruff" format --check .
# mypy and import-linter see the package as it is installed: wrappers/ and evaluation/ inside
# climlink/.
tree=build/package
rm -rf "$tree" && mkdir -p "$tree/climlink"
for entry in python/climlink/*; do ln -s "$PWD/$entry" "$tree/climlink/"; done
ln -s "$PWD/wrappers" "$PWD/evaluation" "$tree/climlink/"
# By the interpreter: the first lines that pip writes into programs do not stand a "$" in the path.
MYPYPATH=$tree "$bin/python" "$bin/mypy" --config-file pyproject.toml -p climlink
PYTHONPATH=$tree "$bin/python" "$bin/lint-imports" --config pyproject.toml
git ls-files '*.cpp' '*.hpp' '*.h' '*.c' | xargs "$bin/clang-format" --dry-run --Werror
"$bin/fortitude" check fortran_bridge fortran_host
