# `make` alone prints what there is. Overrides go in ARGS: make train ARGS="env=fetch_push seed=3"
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON  ?= python3
PIP_ARGS ?=
WORKERS ?= 2
ARGS    ?=
VENV    := .venv
BIN     := $(VENV)/bin
EXTRAS  := .venv-extras
SITE    := .venv-site
STAMP   := $(VENV)/.installed
# Small networks and simulators lose by more threads, and the workers share the cores.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST  := $(ONE_THREAD) $(BIN)/pytest -n $(WORKERS)

.PHONY: help setup train test lint types fmt tests test-learning test-long test-kills test-fuzz test-cluster test-pythons test-extras coverage test-mutations house bench same-as results docs site clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(STAMP) ## create .venv and install the package with its tested versions

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "error: Python 3.11, 3.12 or 3.13 is needed; name one with make PYTHON=python3.11 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "error: this Python cannot create environments; type: sudo apt-get install -y python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev,ray,slurm]'
	@touch $(STAMP)

train: setup ## teach a robot to press a button, or make train ARGS="env=fetch_push seed=3"
	$(BIN)/gipo train $(or $(ARGS),env=metaworld env.task=button-press-v3 total_steps=100000)

test: setup lint types tests ## set up, then lint, types and tests: the gate

lint: setup ## style and formatting, without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy in strict mode
	$(BIN)/mypy

fmt: setup ## format and sort imports in place
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

tests: setup ## the tests of the gate (WORKERS=2 at a time)
	$(PYTEST)

test-learning: setup ## tests that train until something is learned (minutes)
	$(PYTEST) -m learning

test-long: setup ## exhaustive versions of the gate's tests (tens of minutes)
	$(PYTEST) -m long

test-kills: setup ## kill real runs at random and compare their results (20 minutes; ARGS=tests/actors: actors alone)
	$(PYTEST) -m kills -rP $(ARGS)

test-fuzz: setup ## 500 cases: damaged folders, crafted checkpoints, odd values and environments, kills (minutes)
	$(PYTEST) -m fuzz tests/fuzz

test-cluster: setup ## long versions of the Ray and SLURM tests: lost nodes, time limits (minutes)
	$(ONE_THREAD) $(BIN)/pytest -m cluster

test-pythons: ## the tests of the gate on Python 3.12 and 3.13, each in an environment of its own (tens of minutes)
	for version in 3.12 3.13; do $(MAKE) PYTHON=python$$version VENV=.venv-$$version tests || exit; done

test-extras: pyproject.toml constraints.txt ## the tests of optional libraries, in an environment of their own (minutes)
	$(PYTHON) -m venv $(EXTRAS)
	$(EXTRAS)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev,onnx,wandb,mlflow]'
	$(ONE_THREAD) $(EXTRAS)/bin/pytest -m extras

coverage: setup ## the tests of the gate with the lines of gipo_cli/ that none of them reaches (tens of minutes)
	$(PYTEST) --cov=gipo_cli --cov-report=term-missing:skip-covered

test-mutations: setup ## make mistakes one at a time, each of which must turn a named test red (minutes)
	$(ONE_THREAD) $(BIN)/python -P tests/mutations.py $(ARGS)

house: setup ## measure lines, words and architecture against their limits (ARGS=--gate: and the time of the tests)
	$(BIN)/python -m benchmarks.house $(ARGS)

bench: setup ## measure speed against peers and floors (ARGS="--only iteration")
	$(ONE_THREAD) $(BIN)/python -m benchmarks $(ARGS)

same-as: setup ## train three configurations at commit REV and here, and compare to the bit
	$(ONE_THREAD) $(BIN)/python -m benchmarks.same_as $(REV)

results: setup ## run the studies of docs/results and draw their figures (hours; type it again to continue)
	for study in reach_lag reach_buffers handle_press_buffers door_close_buffers fetch_reach_buffers; do \
	  case $$study in fetch_*) threshold=-2 ;; *) threshold=3000 ;; esac; \
	  $(BIN)/gipo sweep study=$$study $(ARGS) && \
	  $(BIN)/gipo compare runs/$$study --metric train/return --threshold=$$threshold --out comparison-$$study || exit; \
	done

docs: setup ## write the reference pages of docs/ from the code
	$(BIN)/python docs/generate.py

site: pyproject.toml constraints.txt ## build the documentation as a site in site/, every link checked (an environment of its own)
	$(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) 'mkdocs-material>=9.5' latex2mathml
	$(SITE)/bin/mkdocs build --quiet --strict

clean: ## remove caches and build products; runs/ and .venv/ stay
	rm -rf build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find gipo_cli tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
