# `make bench` and `make test` need nothing but Python 3.11 or newer: each
# target makes the environment first where it is missing or out of date.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BACKENDS := jax torch tensorflow

.PHONY: bench test test-all lint format docs clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "keras-multi needs Python 3.11 or newer, found " + sys.version'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,test]'
	touch $@

bench: $(INSTALLED)
	$(BIN)/keras-multi bench --suite quick --output results

test: $(INSTALLED)
	$(BIN)/python tests/run.py $(BACKENDS)

test-all: $(INSTALLED)
	$(BIN)/python tests/run.py --all $(BACKENDS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site results runs *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
