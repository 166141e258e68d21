# Nightlight. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Passed on, for a second stack beside the first: make demo ARGS="--port-offset 100 --state-dir /tmp/second"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo up down status test check generate clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(INSTALLED) ## Show an incident from the first failed call to the delivered notification
	@$(BIN)/nightlight demo $(ARGS)

up: $(INSTALLED) ## Start the servers natively, building them the first time
	@$(BIN)/nightlight up --runtime native $(ARGS)

down: $(INSTALLED) ## Stop the servers; what they stored stays
	@$(BIN)/nightlight down --runtime native $(ARGS)

status: $(INSTALLED) ## Say what runs, how much memory it takes, and where its log is
	@$(BIN)/nightlight status $(ARGS)

test: check ## Run everything that CI runs
	@$(BIN)/python -m pytest

check: $(INSTALLED) ## Lint, types and generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python generate.py --check

generate: $(INSTALLED) ## Write every generated file anew
	@$(BIN)/python generate.py

clean: ## Remove the virtual environment
	@rm -rf $(VENV)

$(INSTALLED): pyproject.toml constraints.txt tests/requirements.txt examples/assistant/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Nightlight needs Python 3.10 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "installing into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -r tests/requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation --editable .
	@touch $@
