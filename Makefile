# Everything a contributor or a newcomer runs. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

# --- environment ------------------------------------------------------------------------------------------------
# hnswlib has no wheels: a C++ compiler and Python's headers are needed once.
$(READY): requirements/build.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: Python 3.11 or newer is needed; set PYTHON=python3.x" >&2; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null \
	  || { echo "make: a C++ compiler (g++ or clang++) is needed to build hnswlib" >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; p = sysconfig.get_path("include"); sys.exit(not os.path.exists(os.path.join(p, "Python.h")))' \
	  || { echo "make: Python's C headers are needed to build hnswlib (python3-dev or python3-devel)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "make: $(PYTHON) cannot create a virtual environment (install python3-venv)" >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-build-isolation -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# --- everyday -----------------------------------------------------------------------------------------------------
.PHONY: demo test lint generate bench bench-cache clean lock
demo: $(READY) ## answer, cache, fail over and stream on this machine: no cluster, no keys
	@$(BIN)/python -m examples.demo

test: $(READY) lint ## checks and tests; needs no cluster
	$(BIN)/python -m pytest

lint: $(READY) ## style, types, layers, generated files
	$(BIN)/ruff check dataplane operator tests e2e benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m stratarouter_operator.api.generate --check
	$(BIN)/python -m stratarouter_runtime.telemetry.document --check

generate: $(READY) ## CRDs, the chart's copy of them and docs/reference.md from the contract, docs/telemetry.md from the names
	$(BIN)/python -m stratarouter_operator.api.generate
	$(BIN)/python -m stratarouter_runtime.telemetry.document

bench: $(READY) ## CPU and latency beside a bare aiohttp handler or proxy in the same run
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.plan
	$(BIN)/python -m benchmarks.translated
	$(BIN)/python -m benchmarks.routing

bench-cache: $(READY) ## hit rate and wrong-hit rate of the semantic cache; STRATA_CACHE_DATA names the labelled sets
	$(BIN)/python -m benchmarks.cache_quality

lock: ## renew the locked dependencies (needs uv on PATH)
	uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra runtime --extra core pyproject.toml -o requirements/runtime.txt
	uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra operator pyproject.toml -o requirements/operator.txt
	uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --group build -o requirements/build.txt
	uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra runtime --extra core --extra operator --group dev --group build pyproject.toml -o requirements/dev.txt

clean: ## remove what was made here
	rm -rf $(VENV) .build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

include e2e/e2e.mk
