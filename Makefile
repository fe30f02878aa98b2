# Two commands matter: `make dev` runs the example app, `make test` passes the tests. They need Python 3.11 or newer; what is written in TypeScript is left out, aloud, where there is no Node 20.
.DEFAULT_GOAL := help
.PHONY: help dev test check fix bench chaos attacks soak docs lock clean
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# `make test ARGS="tests/cli -x"`, `make dev ARGS="--port 4000"`
ARGS ?=
# Test files side by side, most of which wait most of the time. `make test SPREAD= ARGS="-x --pdb"`: one after the other
SPREAD ?= -n 3 --dist loadfile
# `make check TESTS=no` leaves out the tests, for who runs them anyway
TESTS ?= yes
# `make bench BENCH=tests/benchmarks/bench_http.py ARGS="--rounds 5"`
BENCH ?= $(sort $(wildcard tests/benchmarks/bench_*.py))
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

dev: $(VENV)/.run  ## run the example app with hot reload: http://127.0.0.1:3000
	@$(BIN)/motia dev $(ARGS)

test: $(VENV)/.dev  ## run the tests
	@$(BIN)/python -m pytest $(SPREAD) $(ARGS)

check: $(VENV)/.dev  ## lint, format, types, layers, docs and the tests; edits nothing
	@.ci/check $(BIN)
	@if [ "$(TESTS)" != no ]; then $(BIN)/python -m pytest $(SPREAD) $(ARGS); fi

fix: $(VENV)/.dev  ## fix what can be fixed: format, imports, generated docs
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .
	@$(MAKE) --no-print-directory docs

bench: $(VENV)/.dev $(VENV)/.peers  ## measure against bare ASGI, plain Litestar, hand-written pipelines and FastStream
	@set -e; for bench in $(BENCH); do echo "# $$bench"; $(BIN)/python $$bench $(ARGS); done

chaos: $(VENV)/.dev  ## 5 seeds of 10,000 events under 50 random faults each, counted at the end
	@PYTHONPATH=tests $(BIN)/python -m support.chaos $(ARGS)

attacks: $(VENV)/.dev  ## the tests that take minutes: every fault at every call of each protocol, and what `make test` leaves out
	@$(BIN)/python -m pytest -m long $(ARGS)

soak: $(VENV)/.dev  ## 20 minutes at 70 % of the peak; memory, files and backlog must stay flat
	@PYTHONPATH=tests $(BIN)/python -m support.chaos.soak $(ARGS)

docs: $(VENV)/.dev  ## write the generated references under docs/
	@$(BIN)/python docs/build.py

lock: $(VENV)/.uv  ## pin the newest allowed versions in both lock files
	@$(VENV)/uv/bin/uv pip compile pyproject.toml --group dev --upgrade $(LOCK) -o requirements-dev.lock
	@$(VENV)/uv/bin/uv pip compile pyproject.toml --group build --upgrade $(LOCK) -c requirements-dev.lock -o requirements.lock

clean:  ## remove the environment and what tools left behind
	@rm -rf $(VENV) motia_types .motia .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build

# The environment. Stamps remember what is installed; a changed lock file or pyproject.toml makes them anew.
$(VENV)/.made:
	@. ./.ci/python && "$$PYTHON" -m venv $(VENV)
	@touch $@

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/.made
	@echo "installing what the example app needs into $(VENV)"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/.made
	@echo "installing what the tests and checks need into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.peers: tests/benchmarks/peers.txt | $(VENV)/.made
	@$(BIN)/python -m venv $(VENV)/peers
	@$(VENV)/peers/bin/python -m pip --disable-pip-version-check --quiet install -r $<
	@touch $@

$(VENV)/.uv: | $(VENV)/.made
	@$(BIN)/python -m venv $(VENV)/uv
	@$(VENV)/uv/bin/python -m pip --disable-pip-version-check --quiet install 'uv>=0.8'
	@touch $@
