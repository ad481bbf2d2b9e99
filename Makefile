# Every target makes .venv from nothing but python3, and uses it again until pyproject.toml changes.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet --no-input

.PHONY: demo test test-all bench lint docs clean

demo: $(VENV)/.ready
	MPLBACKEND=Agg $(PY) examples/hudson_bay.py
	MPLBACKEND=Agg $(PY) examples/rober.py

test: $(VENV)/.ready
	$(PY) -m pytest -n 2

# With the tests marked as slow: among them the pages of the examples, whose code `test` runs by the examples' own tests.
test-all: $(VENV)/.ready
	$(PY) -m pytest -n 2 -m "not gpu and not benchmark"

bench: $(VENV)/.ready-bench
	$(PY) -m tests.benchmarks --all

lint: $(VENV)/.ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright
	$(VENV)/bin/lint-imports

docs: $(VENV)/.ready-docs
	$(PY) -m mkdocs build --strict

clean:
	rm -rf build dist site .cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(PY):
	$(PYTHON) -m venv $(VENV)

# The interpreter is an order-only prerequisite: its own time stamp says nothing about what is installed.
$(VENV)/.ready: pyproject.toml | $(PY)
	$(PIP) install --editable ".[test]"
	touch $@

$(VENV)/.ready-bench: $(VENV)/.ready
	$(PIP) install --editable ".[test,bench]"
	touch $@

$(VENV)/.ready-docs: $(VENV)/.ready
	$(PIP) install --editable ".[test,docs]"
	touch $@
