# The project's daily commands. Each does the set-up it needs; a second run does none.
# `make help` lists them.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
BUILD := build/python
# A file's tests stay in one process: they share the file's fixtures.
# Files in the order of testpaths, the slow ones first: the two processes end together.
PYTEST := $(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1
export OMP_NUM_THREADS ?= 1

NATIVE := \
  $(shell find cpp fortran_bridge fortran_host cmake -type f -not -path '*/.*' 2>/dev/null) \
  CMakeLists.txt

.PHONY: help setup quickstart test test-long lint bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.system: scripts/system-packages.txt scripts/setup-system.sh
	@scripts/setup-system.sh
	@mkdir -p $(VENV) && touch $@

$(VENV)/.python: $(VENV)/.system scripts/setup-python.sh pyproject.toml
	@PYTHON=$(PYTHON) scripts/setup-python.sh $(VENV)
	@touch $@

# C++ and Fortran are compiled by the editable install; CMake recompiles only what changed.
$(VENV)/.native: $(VENV)/.python $(NATIVE)
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e . \
	  --config-settings=cmake.define.CLIMLINK_TESTS=ON \
	  --config-settings=cmake.define.CLIMLINK_PYTHON=ON
	@touch $@

setup: $(VENV)/.native ## system packages, virtual environment, C++ and Fortran build

quickstart: setup ## data, train, export, verify, replay, hybrid run, reports (about 5 minutes)
	env -u OMP_NUM_THREADS $(PY) -m climlink quickstart

test: setup ## Python, C++, Fortran and sanitizer tests
	$(PYTEST)
	ctest --test-dir $(BUILD) --output-on-failure -j2 -LE long
	scripts/sanitize.sh $(VENV)

test-long: setup ## tests of the marker and label long, then the mutations that a test must notice
	$(PYTEST) -m long
	ctest --test-dir $(BUILD) --output-on-failure -L long
	$(PY) tests/mutation/run.py

lint: setup ## ruff, mypy, import rules, clang-format, Fortran style
	scripts/lint.sh $(VENV)

bench: setup ## every benchmark, each against its named baseline
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(PY) $$script || exit 1; done

clean: ## remove builds (keeps the virtual environment)
	rm -rf build $(VENV)/.native
