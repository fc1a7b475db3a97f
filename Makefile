# `make demo` and `make test` work from a clean clone with Python 3.11 to 3.13 and pip alone.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test test-all lint types bench-peers docs clean

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed  ## train a sparse Bayesian network beside its dense baselines on digits
	$(BIN)/szilard fit --data digits --out runs/demo --overwrite

test: $(VENV)/.installed  ## the default test suite
	$(BIN)/python -m pytest

test-all: $(VENV)/.installed  ## with the slow tests
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

bench-peers: $(VENV)/.installed  ## the libraries that benchmarks/train_step.py compares with
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	$(BIN)/python -m pip install --quiet --no-deps bayesian-torch==0.5.0  # its torchvision must match torch's build

docs: $(VENV)/.installed  ## the documentation site, into site/
	$(BIN)/python -m pip install --quiet --editable '.[dev,docs]'
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site runs
