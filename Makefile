# Hone: everything there is to make. `make` alone lists it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
HOST ?= 127.0.0.1
PORT ?= 7860
DATA ?= ./data
DEMO ?= ./demo
BIN := .venv/bin
PY := $(BIN)/python
TEST_ENV := HF_HUB_OFFLINE=1 GRADIO_ANALYTICS_ENABLED=False TOKENIZERS_PARALLELISM=false

# What trains and answers gives way to everything else, so the tests that wait for it do too.
NICELY := nice -n 10

.DEFAULT_GOAL := help
.PHONY: help setup model compiled run demo test test-slow check format bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: .venv/.installed model compiled  ## create .venv, install what is pinned, unpack the embedded model

run: setup  ## start the app on http://127.0.0.1:7860 (PORT=…, DATA=… to change)
	@$(PY) app.py serve --host $(HOST) --port $(PORT) --data $(DATA)

demo: setup  ## from nothing to a model before and after 150 simulated votes, without a person
	@$(PY) app.py demo --port $(PORT) --data $(DEMO)

test: .venv/.dev model compiled .venv/.chromium  ## every test that is not slow (15 to 30 minutes on 2 cores)
	$(TEST_ENV) OMP_NUM_THREADS=1 $(NICELY) $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: .venv/.dev model compiled .venv/.chromium  ## kills, resumes, whole runs beside TRL (20 to 40 minutes)
	$(TEST_ENV) OMP_NUM_THREADS=1 $(NICELY) $(PY) -m pytest -m "slow and not alone" -n 2 --dist loadfile --no-loadscope-reorder --timeout=1500
	$(TEST_ENV) $(PY) -m pytest -m "slow and alone" --timeout=1500

check: .venv/.dev  ## style, types of the pure parts, then the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy storage/records.py storage/errors.py feedback align/losses.py align/lineage.py align/promotion.py align/rounds.py align/batches.py align/recipes.py align/rates.py align/leash.py align/subset.py align/tradeoff.py align/health.py align/keeping.py align/advisor.py align/enough.py align/preflight.py align/estimate.py align/tokens.py align/scored.py align/device.py align/forecast.py
	$(MAKE) test

format: .venv/.dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.dev model .venv/.chromium  ## the benchmarks, one after the other (long); figures go to benchmarks/results/
	$(PY) -m benchmarks

clean:  ## remove the virtual environment and caches (never the data)
	rm -rf .venv .setup .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Hone needs Python 3.11 or newer: none was found on the PATH"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Hone needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.installed: requirements.txt | .venv/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/.dev: requirements-dev.txt .venv/.installed
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

model: .venv/.installed
	@$(PY) -m align.embedded

# Where PYTHONDONTWRITEBYTECODE is set every process would compile everything anew.
compiled: .venv/.installed
	@$(PY) -m compileall -q app.py storage feedback align

.venv/.chromium: .venv/.dev
	$(PY) tests/browser/chromium.py --install
	@touch $@
