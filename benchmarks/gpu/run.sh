#!/usr/bin/env bash
# Checks and times climlink on a machine with a GPU and nothing but torch, a C++ compiler, CMake and
# ninja, out of the folder that pack.py made. Every step has a time limit and its own log; a step
# that runs into it leaves a native backtrace there. The last thing printed is one table.
# usage: run.sh [OUT]   (GPU_DEVICE: cuda:0, or cpu for a dry run; GPU_PYTHON: a Python with torch;
#   GPU_SECONDS: for all; GPU_STEPS: only these; GPU_COLUMNS: sizes of the latency table;
#   GPU_BUILD: a build of this source that is there)
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${1:-$here/out}"
OUT=$(cd "${1:-$here/out}" && pwd)
export OUT GPU_DEVICE=${GPU_DEVICE:-cuda:0} OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
budget=${GPU_SECONDS:-340}
python=${GPU_PYTHON:-python3}
export BUILD=${GPU_BUILD:-$OUT/build}
export LD_LIBRARY_PATH=$here/deps/lib:$OUT/fortran${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PYTHONPATH=$OUT/site:$here/site

# Where the threads of a process and its children are.
backtrace() {
  local debugger process
  debugger=$(command -v cuda-gdb || command -v gdb) || { echo "no gdb here: no backtrace"; return; }
  for process in $(pgrep -s "$1"); do
    echo "backtrace of process $process"
    timeout 20 "$debugger" -batch -p "$process" -ex "thread apply all bt 12" 2>&1 | tail -80
  done
}

# step NAME SECONDS COMMAND...
step() {
  local name=$1 limit=$2 began=$SECONDS process verdict
  shift 2
  [[ -z ${GPU_STEPS:-} || " $GPU_STEPS " == *" $name "* ]] || return 0
  (( limit > budget - SECONDS )) && limit=$(( budget - SECONDS ))
  if (( limit < 3 )); then
    verdict="no time left"
  else
    setsid "$@" > "$OUT/$name.log" 2>&1 &
    process=$!
    while kill -0 "$process" 2> /dev/null && (( SECONDS - began < limit )); do sleep 0.1; done
    if kill -0 "$process" 2> /dev/null; then
      verdict="not done in $limit s"
      backtrace "$process" >> "$OUT/$name.log"
      kill -KILL -- "-$process"
      wait "$process" 2> /dev/null
    elif wait "$process"; then
      verdict=passed
    else
      verdict=failed
    fi
  fi
  echo "$name: $verdict, $(( SECONDS - began )) s" | tee -a "$OUT/steps.txt"
  [[ $verdict == passed ]] || tail -n 5 "$OUT/$name.log" 2> /dev/null | cut -c1-300
}

build() {
  local options=() stdc
  "$python" -m pip install -q --no-index --find-links "$here/wheels" --target "$OUT/site" \
    pydantic PyYAML pybind11 || return
  # A compiler with a static libstdc++ only would bring a second one beside torch's: exceptions then
  # crash. Such a machine still has the shared one for other programs.
  stdc=$(g++ -print-file-name=libstdc++.so)
  if [[ $stdc == libstdc++.so ]]; then
    export LDFLAGS="-nostdlib++ -Wl,--no-as-needed -l:libstdc++.so.6 ${LDFLAGS:-}"
  fi
  if [[ ! -e /usr/include/openssl/evp.h ]]; then
    options+=("-DOPENSSL_INCLUDE_DIR=$here/deps/include")
    options+=("-DOPENSSL_CRYPTO_LIBRARY=$here/deps/lib/libcrypto.so")
  fi
  [[ -n ${GPU_BUILD:-} ]] || cmake -S "$here/source" -B "$BUILD" -G Ninja \
    -DCMAKE_BUILD_TYPE=Release -DCLIMLINK_FORTRAN=OFF \
    -DCLIMLINK_PYTHON=ON -DPython_EXECUTABLE="$(command -v "$python")" \
    -DPKG_CONFIG_EXECUTABLE="$here/deps/bin/pkg-config" -DCMAKE_PREFIX_PATH="$here/deps" \
    -Dpybind11_DIR="$OUT/site/pybind11/share/cmake/pybind11" \
    -Dnlohmann_json_DIR="$here/deps/share/cmake/nlohmann_json" \
    ${options[@]+"${options[@]}"} || return
  cmake --build "$BUILD" || return
  mkdir -p "$OUT/fortran"
  cp "$here"/fortran/* "$OUT/fortran/"
  ln -sf "$(readlink -f "$BUILD/cpp/libclimlink.so")" "$OUT/fortran/libclimlink.so.0"
}
export -f build
export here python

rm -f "$OUT/steps.txt"
check=("$python" "$here/check.py")
step machine 20 "${check[@]}" machine
step build 200 bash -c build
step errors 40 "${check[@]}" errors
step open 60 "${check[@]}" open
step golden 60 "${check[@]}" golden
step fortran 40 "${check[@]}" fortran
step dropin 40 "${check[@]}" dropin
step first 60 "${check[@]}" first
step memory 60 "${check[@]}" memory
step kernels 40 "${check[@]}" kernels
step aoti_float32 120 "${check[@]}" aoti float32
step aoti_bfloat16 120 "${check[@]}" aoti bfloat16
step latency 100 "${check[@]}" latency
"${check[@]}" table
