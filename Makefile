# `make demo` and `make test` need Python 3.11 or later, make and PyPI; they make .venv themselves.
# PYTHON=/path/to/python chooses the Python; PYTEST_ARGS are further flags of pytest.

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_ARGS ?= -n 2
LOCK ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test check format bench bench-large calibration lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with the locked packages (the other targets do this themselves)

# The first Python that is new enough and can make environments.
$(STAMP): requirements.lock pyproject.toml
	@if [ ! -x $(BIN)/python ] || ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
	  seen=""; \
	  for p in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	    version=$$($$p -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    seen="$$seen $$p is $$version;"; \
	    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue; \
	    if ! $$p -c 'import venv, ensurepip' 2>/dev/null; then \
	      seen="$$seen but has no venv module (on Debian and Ubuntu: apt install python3-venv);"; \
	      continue; \
	    fi; \
	    found=$$p; break; \
	  done; \
	  if [ -z "$${found:-}" ]; then \
	    echo "retention-lab needs Python 3.11 or later.$${seen:- No python3 was found.}" >&2; \
	    echo "Name one yourself: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$found ($$version)"; \
	  $$found -m venv --clear $(VENV); \
	fi
	@echo "Installing the packages of requirements.lock"
	@$(BIN)/python -m pip install -q --disable-pip-version-check "$$(grep '^uv==' requirements.lock)"
	@$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -r requirements.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@$(BIN)/python -m compileall -q retention_lab
	@touch $@

demo: $(STAMP) ## Run the experiments that come with the lab; show verdicts, reports, how to open MLflow
	@$(BIN)/retention-lab run comeback-coupon hillstrom-email cdnow-cohorts complete-journey-coupons

test: $(STAMP) ## Run the tests (all but the long calibrations)
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

check: $(STAMP) ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## Mend formatting and what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## Measure against peers and hand-written SQL, side by side (10M rows)
	$(BIN)/python -m benchmarks.run

bench-large: $(STAMP) ## The same, and 100M rows (1 GB of disk in the cache folder)
	$(BIN)/python -m benchmarks.run --large

calibration: $(STAMP) ## Size, coverage and power over many simulations (slow); docs/calibration.md
	CALIBRATION_TABLE=docs/calibration.md \
	  $(BIN)/python -m pytest tests/calibration -m slow $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests --ignore tests/calibration -m slow $(PYTEST_ARGS)

# Narwhals prints warnings at exit with DuckDB 2.0.0, so the lock stays below; the code takes both.
lock: $(STAMP) ## Write requirements.lock from pyproject.toml; all newest: make lock LOCK=--upgrade
	@echo 'duckdb<2' | $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 \
	  --all-extras --group dev $(LOCK) --constraint - --no-emit-index-url --no-header \
	  --no-annotate --quiet --output-file requirements.lock
	@git diff --stat -- requirements.lock

clean: ## Remove the environment, reports, records and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis mlruns mlflow.db* benchmarks/out
	find reports -mindepth 1 ! -name README.md -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
