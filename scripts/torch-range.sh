#!/usr/bin/env bash
# C++, Fortran and route tests against another torch than that of set-up and CI, outside both: hosts
# may bring 2.6 and later.   usage: scripts/torch-range.sh VERSION [FOLDER]
# Everything lies in FOLDER, which is kept, so that a second run installs nothing; without one it is
# a temporary folder that is removed. CLIMLINK_TORCH: what to install instead of torch==VERSION, as
# the path of a wheel. pip's own variables choose the index: wheels with CUDA take 5 GB of disk.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?usage: scripts/torch-range.sh VERSION [FOLDER]}
if [ $# -gt 1 ]; then
  mkdir -p "$2"
  work=$(cd "$2" && pwd)
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
python=$work/venv/bin/python
[ -x "$python" ] || "${PYTHON:-python3}" -m venv "$work/venv"
"$python" -m pip install --quiet --disable-pip-version-check "${CLIMLINK_TORCH:-torch==$version}" \
  "numpy>=2.0" "pybind11>=2.13" "pytest>=8.3" "pydantic>=2.9" "PyYAML>=6.0"
found=$("$python" -c 'import torch; print(torch.__version__)')
echo "torch $found"
[ "${found%%+*}" = "$version" ] || { echo "torch-range: expected torch $version" >&2 && exit 1; }

# Not the hosts, which know libtorch only through the bridge; their tests need all of climlink.
cmake -S . -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE="$python" \
  -DCLIMLINK_TESTS=ON -DCLIMLINK_PYTHON=ON -DCLIMLINK_HOST=OFF
cmake --build "$work/build" -j2 --target cpp/all fortran_bridge/all  # without the stand-ins of E3SM
tests=(ctest --test-dir "$work/build" -j2 --output-on-failure -E '^fortran\.lags_of_data$'
  -R '^(cpp|fortran|example|compat|find_package)\.')
echo "== packages made with torch $version"
"${tests[@]}"

today=$PWD/.venv/bin/python
if [ -x "$today" ]; then
  echo "== packages made with $("$today" -c 'import torch; print("torch", torch.__version__)')"
  "$today" cpp/tests/make_fixtures.py "$work/build/cpp/tests/fixtures"
  for folder in cpp/tests fortran_bridge/compat/tests; do
    "$today" cpp/tests/make_torchscript.py "$work/build/$folder/torchscript"
  done
  "$today" fortran_bridge/tests/make_bridge_fixtures.py "$work/build/fortran_bridge/fixtures"
  "${tests[@]}" --fixture-exclude-setup '.*'
fi
