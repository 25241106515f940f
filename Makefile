# The commands of the project. `make demo` and `make test` need nothing but Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test quick check browser bench docs clean

demo: $(STAMP)
	$(BIN)/nlft demo

test: $(STAMP) check browser docs
	$(BIN)/pytest

# What needs neither a browser, nor the storm, nor training: under a minute.
quick: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal tests -m "not browser and not storm and not training"

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The saliency map is tested in a real browser: Debian's Chromium, installed where that may be done.
browser:
	sh tests/install_browser.sh

bench: $(STAMP)
	$(BIN)/nlft bench

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# torch first and alone: so its pinned build is there before anything else could ask for another one.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build dist site
