# One virtual environment, .venv, made on first use and remade when setup.py or constraints.txt change.

PYTHON ?= python3
JOBS ?= 2

BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test style format bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1|/' | awk -F'|' '{printf "%-14s%s\n", $$1, $$2}'

demo: $(INSTALLED)  ## animate a portrait with a micro-expression and analyse it
	$(BIN)/dface demo $(ARGS)

# One thread per process, or torch would start a thread per core in each. A file stays in one process: it shares fixtures.
test: $(INSTALLED)  ## run all tests; ARGS="tests/faces -k video" to choose
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

style: $(INSTALLED)  ## check lint and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)  ## repair what style can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# These train for hours; run them by hand.
LONG := %/recipe_ablation.py %/action_units.py %/synthetic_me.py
BENCHMARKS := $(filter-out $(LONG),$(wildcard examples/benchmarks/*.py))

bench: $(INSTALLED)  ## run the benchmarks, but for those that train for hours
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python $$script; done

clean:  ## remove the environment, caches and built packages
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache

# PIP_CONSTRAINT, not only -c, so that the packages that build ours are pinned too.
$(INSTALLED): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dface_hf needs Python 3.11 or newer, $(PYTHON) is older; use make PYTHON=python3.11" >&2; exit 1; }
	@echo "Installing dface_hf and what it needs into .venv (a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet -e '.[dev,space]' -c constraints.txt
	@touch $@
