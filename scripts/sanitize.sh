#!/usr/bin/env bash
# C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer.
# usage: scripts/sanitize.sh .venv
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/$1/bin/python
cmake -S . -B build/sanitize -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DPython_EXECUTABLE="$python" -DCLIMLINK_SANITIZE=ON -DCLIMLINK_TESTS=ON \
  -DCLIMLINK_FORTRAN=OFF > build/sanitize-configure.log 2>&1 \
  || { cat build/sanitize-configure.log; exit 1; }
cmake --build build/sanitize -j2
ctest --test-dir build/sanitize --output-on-failure -L cpp -LE long
