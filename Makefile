# Everything a contributor runs. Set-up is a prerequisite of each target and is done once per change of the pins.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DATA ?= ../shared/data

.PHONY: setup demo test lint types crash bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt molsig/index/_cosines.c molsig/index/_pca_sq8.c molsig/index/_buffers.h
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "molsig needs Python 3.11 to 3.13; give one with: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/molsig demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: setup
	$(BIN)/mypy

test: lint types
	# One thread each: two test processes with two threads each wait for one another.
	MOLSIG_DATA=$(DATA) OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not crash' -n 2

crash: setup
	$(BIN)/pytest tests/crash -m crash -s

bench: setup
	$(BIN)/python -m benchmarks.recall
	$(BIN)/python -m benchmarks.peers --rows 1000,10000 --budget 120 --seconds 0.5 --output build/peers
	$(BIN)/python -m benchmarks.cohort --data $(DATA)

clean:
	rm -rf molsig/index/_cosines*.so molsig/index/_pca_sq8*.so $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build *.egg-info
