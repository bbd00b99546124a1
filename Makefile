# Needs Python 3.10 or newer and make; everything else goes into .venv.
#   make demo        compile and measure the example, float beside int8
#   make test        all tests but the slow ones
#   make test-slow   the slow ones
#   make lint        ruff and mypy
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: demo test test-slow lint format clean

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py $(ARGS)

test: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo build dist

# The files `installed` and `installed-dev` say that an installation came to its end; a changed
# pyproject.toml makes it anew.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("tvmcomp needs Python 3.10 or newer, this is " + \
	sys.version.split()[0] + ": make PYTHON=/path/to/python3.12" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/installed
