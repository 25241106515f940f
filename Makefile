# The commands of the project. `make demo` and `make test` need nothing but Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := $(VENV)/.demo

.DEFAULT_GOAL := help
.PHONY: help demo test quick check browser bench docs test-docs test-install test-lowest test-newest coverage audit clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO) ## run the whole pipeline on a small model, without a GPU or an API key
	$(BIN)/nlft demo

test: $(STAMP) check browser docs ## run lint, types, docs, tests and doctests; this must pass
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "not docs"

test-docs: $(STAMP) ## run every block of commands in the pages, `transformers serve` and the launchers, on a tiny model
	OMP_NUM_THREADS=1 $(BIN)/pytest -m docs tests

quick: $(STAMP) ## run the tests that need neither a browser, nor the storm, nor training
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal tests -m "not browser and not storm and not training and not docs"

test-install: ## install the wheel into an empty environment elsewhere and use it there, demo included (7 minutes)
	PYTHON=$(PYTHON) sh tests/install.sh

# Which dependencies pyproject.toml promises; `make test` runs with those that constraints.txt pins.
test-lowest: browser ## run the tests with the oldest direct dependencies that are allowed, in an environment of their own
	PYTHON=$(PYTHON) sh tests/bounds.sh lowest-direct

test-newest: browser ## run the tests with the newest dependencies that are allowed, in an environment of their own
	PYTHON=$(PYTHON) sh tests/bounds.sh highest

coverage: $(STAMP) browser ## run the tests, and fail where they run less of src/nlft than the floor in pyproject.toml
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "not docs" --cov --cov-report=term:skip-covered

check: $(STAMP) ## run lint, format and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The saliency map is tested in a real browser: Debian's Chromium, installed where that may be done.
browser: ## install the browser that the tests of the pages drive, where that may be done
	sh tests/install_browser.sh

bench: $(STAMP) ## measure speed and memory against the usual alternatives
	$(BIN)/nlft bench

docs: $(STAMP) ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# torch first and alone: so its pinned build is there before anything else could ask for another one.
$(DEMO): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[demo]"
	touch $@

$(STAMP): $(DEMO)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[test]"
	touch $@

# In an environment of its own: what it needs is none of the project's business.
audit: ## look the pinned packages up in the database of known vulnerabilities, over the network
	PYTHON=$(PYTHON) sh tests/audit.sh

clean: ## delete the virtual environment and what was built
	rm -rf $(VENV) build dist site
