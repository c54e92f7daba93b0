# One virtual environment, installed once for each state of pyproject.toml and constraints.txt, and each set of extras.
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= test
BIN := $(VENV)/bin
COMMA := ,
STAMP := $(VENV)/.installed-$(subst $(COMMA),-,$(EXTRAS))
# What the JupyterLab extension is built of; an installation holds a copy of what is built.
EXTENSION := $(wildcard labextension/*.* labextension/.yarnrc.yml labextension/yarn.lock) \
  $(shell find labextension/src labextension/style labextension/schema labextension/templates -type f)
NOTEBOOK := notebooks/00-tour.ipynb
# Tests run file by file in two processes; tests/conftest.py says in which order.
PARALLEL ?= -n 2 --dist loadfile --no-loadscope-reorder
# JupyterLab refuses to run as root unless told; nobody else is told.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help install lab demo test check docs docs-html bench notebooks screenshots clean

help:
	@echo "make lab          open the tour notebook in JupyterLab"
	@echo "make demo         the same workflow without a browser: prints the summary table"
	@echo "make test         style, types, unit tests, docstring examples, notebooks, browser tests; with EXTRAS=test,qnn also HTP's"
	@echo "make check        style, types and the quick tests"
	@echo "make docs         the documentation site, in docs/_build/html; a warning is an error"
	@echo "make bench        measure against the budgets"
	@echo "make notebooks    run the notebooks and store their outputs"
	@echo "make screenshots  take the screenshots and draw the charts of README and documentation"
	@echo "make clean        remove what the other targets made"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt hatch_build.py $(EXTENSION)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "qnb needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into $(VENV): one to five minutes, once."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

lab: $(STAMP)
	$(BIN)/jupyter lab $(AS_ROOT) $(NOTEBOOK)

demo: $(STAMP)
	$(BIN)/python -m qnb.demo

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest qnb tests notebooks --doctest-modules --nbval --nbval-current-env $(PARALLEL)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest qnb tests --doctest-modules -m "not slow and not browser" $(PARALLEL)

# The site needs the extra of its builder, whatever else is installed.
docs:
	$(MAKE) EXTRAS=docs docs-html

docs-html: $(STAMP)
	$(BIN)/python -m sphinx -b html -n -W --keep-going --quiet docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(STAMP)
	$(BIN)/python tests/bench/run.py
	$(BIN)/python -m tests.bench.sensitivity
	$(BIN)/python tests/bench/recovery.py
	$(BIN)/python tests/bench/adaround.py
	@if command -v chromium >/dev/null; then $(BIN)/python -m tests.bench.panels; fi

notebooks: $(STAMP)
	$(BIN)/python -m tools.execute_notebooks notebooks/*.ipynb

screenshots: $(STAMP)
	$(BIN)/python -m tools.screenshots
	$(BIN)/python -m tools.docs_charts

clean:
	rm -rf $(VENV) build dist docs/_build docs/_notebooks labextension/node_modules .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
