# `make` alone lists the targets. Everything but `help` sets up .venv by itself, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SETTINGS := DATA BASE WEIGHTS SCHEDULE EPOCHS BATCH_SIZE LEARNING_RATE IMAGE_SIZE HIDDEN \
  DROPOUT AUGMENT SEED OUT RESUME CONFIG
SEARCH_SETTINGS := MODE N_ITER SPACE REPEATS CV REFIT JOBS ENGINE MAX_MINUTES TRIAL_MINUTES
# only what was given to make itself: a DATA in the environment means something else
given = $(foreach name,$(1),$(if $(filter command%,$(origin $(name))),$(name)))
flag = --$(subst _,-,$(shell echo $(1) | tr A-Z a-z)) $(call quote,$($(1)))
# a process per core, up to four: each loads TensorFlow
PARALLEL := -n logical --maxprocesses 4 --dist worksteal
quote = '$(subst ','\'',$(1))'
flags = $(foreach name,$(call given,$(1)),$(call flag,$(name)))

.DEFAULT_GOAL := help
.PHONY: help setup check test test-all test-zoo finetune search notebooks bench bench-quick

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20
	@echo
	@echo 'finetune takes the options of `kerastl finetune` in capitals, the rest in ARGS:'
	@echo '  make finetune DATA=photos/ BASE=resnet50 SCHEDULE=hybrid EPOCHS=3,5 ARGS="--dropout 0.3"'
	@echo 'search takes those and its own, such as MODE, N_ITER, SPACE, REPEATS, CV and JOBS:'
	@echo '  make search DATA=photos/ MODE=random N_ITER=5 BASE=resnet50,vgg16'

setup: $(READY) ## make .venv with the package, its tests and its linter

# uv is quicker where it is there; pip reads dependency groups from 25.1 on
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'kerastl needs Python 3.11 or newer: make setup PYTHON=python3.12' >&2; exit 2; }
	@if command -v uv >/dev/null 2>&1; then \
	  set -x; uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python --editable . --group test --group lint; \
	else \
	  set -x; $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && \
	  $(BIN)/python -m pip install --quiet --editable . --group test --group lint; \
	fi
	@touch $@

check: $(READY) ## look for mistakes and unformatted files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: $(READY) ## run the fast tests
	$(BIN)/python -m pytest -q $(PARALLEL)

test-all: $(READY) ## run all tests, the slow ones too
	$(BIN)/python -m pytest -q $(PARALLEL) -m ''

# with keras-hub beside what the other tests need; `make test` skips these without it
$(VENV)/.zoo: $(READY)
	@if command -v uv >/dev/null 2>&1; then \
	  set -x; uv pip install --quiet --python $(BIN)/python --group zoo; \
	else \
	  set -x; $(BIN)/python -m pip install --quiet --group zoo; \
	fi
	@touch $@

test-zoo: $(VENV)/.zoo ## run the tests of the extra [zoo]
	$(BIN)/python -m pytest -q -m '' tests/test_zoo_*.py

finetune: $(READY) ## train on DATA (default: the built-in digits) and write a report
	$(BIN)/kerastl finetune $(call flags,$(SETTINGS)) $(ARGS)

search: $(READY) ## try settings on DATA, keep the best, and write a report
	$(BIN)/python -m kerastl.search $(call flags,$(SETTINGS) $(SEARCH_SETTINGS)) $(ARGS)

notebooks: $(READY) ## execute the notebooks
	@for book in notebooks/*.ipynb; do \
	  echo "$$book"; \
	  $(BIN)/jupyter execute "$$book" || exit 1; \
	done

# what the benchmarks compare with
$(VENV)/.bench: $(READY)
	@if command -v uv >/dev/null 2>&1; then \
	  set -x; uv pip install --quiet --python $(BIN)/python --group bench; \
	else \
	  set -x; $(BIN)/python -m pip install --quiet --group bench; \
	fi
	@touch $@

bench: $(VENV)/.bench ## run all benchmarks, hours long; each asserts its targets
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(VENV)/.bench ## run all benchmarks at small sizes, in minutes
	$(BIN)/python -m benchmarks --quick $(ARGS)
