# Three commands, each of which does all of its own set-up: make demo, make test, make bench.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MJLAB := .venv-mjlab
BRAX := .venv-brax
# Of pip's settings uv reads none. Where this variable tells pip of folders of wheels, tell uv as well, with commas between
# them; what stands in pip.conf has to be said in uv.toml too.
empty :=
comma := ,
export UV_FIND_LINKS ?= $(subst $(empty) $(empty),$(comma),$(strip $(PIP_FIND_LINKS)))
# Tests start hundreds of processes; without compiled bytecode each would compile torch anew, for four seconds.
unexport PYTHONDONTWRITEBYTECODE
UV := $(shell command -v uv || echo .cache/uv/bin/uv)
MANIFESTS := pyproject.toml core/pyproject.toml $(wildcard plugins/*/*/pyproject.toml)

.PHONY: help setup demo test nightly check bench docs clean

help:  ## Show this list.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: $(VENV)/.done  ## Create .venv with the lab and its tools.

demo: setup  ## Train PPO on CartPole and write a report: about a minute.
	$(BIN)/slmk run

# Workers of pytest fill the cores: more threads in each would only wait for one another.
test nightly: export OMP_NUM_THREADS := 1

test: setup  ## Lint, type-check, and run all tests but those of nightly; mjlab's in an environment of its own.
	$(MAKE) --no-print-directory --jobs 2 check $(MJLAB)/.done
	$(BIN)/pytest -n auto
	$(MJLAB)/bin/pytest -n auto plugins/envs/mjlab plugins/envs/managed tests/test_specs.py -k "mjlab or managed"

nightly: setup $(MJLAB)/.done  ## Test what takes minutes each: every environment of Playground, runs of robots that are killed.
	$(BIN)/pytest -n auto -m nightly
	$(MJLAB)/bin/pytest -n auto plugins/envs/mjlab tests/test_specs.py -m nightly -k mjlab

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.bench $(MJLAB)/.done $(BRAX)/.done  ## Measure speed against Stable-Baselines3, simulators and hand-written loops.
	failed=0; \
	$(BIN)/pytest tests/benchmarks core/tests --benchmark-only --benchmark-json=.benchmarks/latest.json || failed=1; \
	$(MJLAB)/bin/pytest tests/benchmarks/test_mjlab_speed.py --benchmark-only --benchmark-json=.benchmarks/mjlab.json || failed=1; \
	exit $$failed

docs: setup  ## Write the generated pages of docs/ again.
	$(BIN)/python docs/generate.py

clean:  ## Remove what make has made.
	rm -rf $(VENV) $(MJLAB) $(BRAX) .cache .benchmarks .pytest_cache .mypy_cache .ruff_cache

# With pip in it, or `pip install -e .` would install a plugin into another Python.
$(VENV)/.done: $(MANIFESTS) | uv
	test -x $(BIN)/python || $(UV) venv --quiet --seed --python "$$(cat .python-version)" $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python -r pyproject.toml --group dev
	touch $@

$(MJLAB)/.done: $(MANIFESTS) | uv
	test -x $(MJLAB)/bin/python || $(UV) venv --quiet --seed --python "$$(cat .python-version)" $(MJLAB)
	$(UV) pip install --quiet --python $(MJLAB)/bin/python --group mjlab
	touch $@

$(BRAX)/.done: $(MANIFESTS) | uv
	test -x $(BRAX)/bin/python || $(UV) venv --quiet --python "$$(cat .python-version)" $(BRAX)
	$(UV) pip install --quiet --python $(BRAX)/bin/python --group brax
	touch $@

$(VENV)/.bench: $(VENV)/.done
	$(UV) pip install --quiet --python $(BIN)/python -r pyproject.toml --group dev --group bench
	mkdir -p .benchmarks
	touch $@

.PHONY: uv
uv:
	@test -x "$$(command -v $(UV))" || { $(PYTHON) -m venv .cache/uv && .cache/uv/bin/pip install --quiet uv; }
