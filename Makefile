# `make run` and `make test` do all their own set-up; nothing but Python 3.11+ and make is assumed. `make help` lists the rest.

HERE := $(dir $(realpath $(lastword $(MAKEFILE_LIST))))
VENV := $(HERE).venv
BIN := $(VENV)/bin
# The notebooks of the folder that make was called in; FOLDER= names another one.
FOLDER ?= $(CURDIR)
ARGS ?=
TESTS ?=
# The interface's sources: a change of one builds it again.
UI := $(shell find $(HERE)ui -name node_modules -prune -o -type f -not -name '.*' -print 2>/dev/null)
# Containers and fresh machines are used as root; Jupyter's servers, and this one, want to be told that it is meant.
ROOT_OPTION := $(if $(filter 0,$(shell id -u)),--allow-root)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run test check deep systems faults bench format docs renew clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(HERE)Makefile

run: $(VENV)/.installed ## start Homeport on the notebooks of this folder (ARGS="--no-browser --port=9000", FOLDER=...)
	@exec $(BIN)/homeport "$(FOLDER)" $(ROOT_OPTION) $(ARGS)

test: $(VENV)/.tested ## everything but the big systems: lint, types, units, real kernels, a real browser, a short fault run
	@$(HERE)tools/test-packages
	@cd $(HERE) && $(BIN)/pytest tests/checks tests/unit tests/integration tests/journeys tests/faults $(TESTS)

check: $(VENV)/.tested ## lint, types, import contracts and unit tests: for every commit
	@cd $(HERE) && $(BIN)/pytest tests/checks tests/unit $(TESTS)

deep: $(VENV)/.tested ## the property tests of the pure parts, with many more examples (half an hour)
	@cd $(HERE) && HYPOTHESIS_PROFILE=deep $(BIN)/pytest --timeout=1800 tests/unit $(TESTS)

systems: $(VENV)/.tested ## installation from nothing and other big real things
	@$(HERE)tools/test-packages systems
	@cd $(HERE) && $(BIN)/pytest tests/systems $(TESTS)

faults: $(VENV)/.tested ## the long fault run; prints its table and writes it to docs/faults.md
	@$(HERE)tools/test-packages
	@cd $(HERE) && HOMEPORT_FAULTS=long $(BIN)/pytest tests/faults -s $(TESTS)

bench: $(VENV)/.tested ## compare with the peers; prints one table
	@$(HERE)tools/test-packages
	@cd $(HERE) && $(BIN)/python -m bench $(ARGS)

format: $(VENV)/.tested ## put the sources into their common form
	@cd $(HERE) && $(BIN)/ruff check --fix . ; $(BIN)/ruff format . && $(BIN)/python tools/ui.py exec biome check --write .

docs: $(VENV)/.tested ## write docs/reference from the tables in the code
	@cd $(HERE) && $(BIN)/python tools/reference.py

renew: $(VENV)/.tested ## take the newest of everything that the tests run with, and write down which that is (run the tests afterwards)
	@cd $(HERE) && $(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager --group dev --editable .
	@cd $(HERE) && { sed -n '/^#/p' tools/tested-with.txt; $(BIN)/python -m pip freeze --exclude-editable; } > tools/.tested-with && mv tools/.tested-with tools/tested-with.txt
	@touch $(VENV)/.tested

clean: ## remove everything that was built or installed here
	rm -rf $(VENV) $(HERE)ui/node_modules $(HERE)src/homeport/static $(HERE)test-results $(HERE)dist

$(VENV)/bin/python:
	@$(HERE)tools/make-venv $(VENV)

# Editable: a change of the Python sources needs no new installation; one of the interface or of what is required does.
$(VENV)/.installed: $(HERE)pyproject.toml $(HERE)hatch_build.py $(HERE)tools/ui.py $(UI) | $(VENV)/bin/python
	@echo "Installing Homeport into $(VENV) (the first time takes a minute or two)" >&2
	@$(BIN)/python -m pip install --quiet --editable $(HERE)
	@touch $@

# --group came with pip 25.1; Debian 12 brings 23.
$(VENV)/.tested: $(VENV)/.installed $(HERE)tools/tested-with.txt
	@echo "Installing what the tests need into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@cd $(HERE) && $(BIN)/python -m pip install --quiet --group dev --constraint tools/tested-with.txt --editable .
	@touch $@
