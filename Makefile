# make demo · make test · make lint · make bench · make simulate · make loadtest · make fuzz · make chaos · make lock · make clean
# Everything runs from .venv, which `make setup` builds from requirements.lock; a second run costs nothing.

PYTHON ?= python3
PORT ?= 8080
ADMIN_PORT ?= 9901
ARGS ?=
# More than there are processors: tests of whole gateways wait much of the time. A narrowed run begins sooner in one process.
JOBS ?= $(if $(ARGS),0,$(shell expr $$(nproc) + 1))
FUZZ ?= 100000
FUZZ_SECONDS ?= 60

VENV := .venv
PYTHON_VENV := $(VENV)/bin/python
STAMP := $(VENV)/.setup-done
PIP := $(PYTHON_VENV) -m pip --disable-pip-version-check --quiet
LOCK := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header $(if $(UPGRADE),--upgrade)

.PHONY: help setup compile demo test lint bench simulate loadtest fuzz chaos lock clean

help:
	@echo 'make setup      .venv with every pinned dependency and the headgate command'
	@echo 'make demo       sample services, the gateway and some traffic (PORT=8080 ADMIN_PORT=9901)'
	@echo 'make test       all tests, several at once (ARGS="-k name" narrows them, JOBS=1)'
	@echo 'make lint       ruff and mypy'
	@echo 'make bench      CPU per request, side by side with other proxies'
	@echo 'make simulate   how soon made-up rollouts are cut back, and how often for nothing, beside a rule of thresholds'
	@echo 'make loadtest   a minute of realistic load while weights change'
	@echo 'make chaos      faults in rotation under load (ARGS="--slots 24 --seconds 5")'
	@echo 'make fuzz       heads and chunked bodies against a second parser (FUZZ=100000 of each)'
	@echo 'make lock       the lock files after a change of dependencies (UPGRADE=1 takes newer versions)'
	@echo 'make clean      removes .venv, caches and builds; never a state folder'

setup: $(STAMP) compile

# The workers' code compiled, where a C compiler is at hand: once for each state of the sources.
compile: $(STAMP)
	@$(PYTHON_VENV) -m admin.compiled

# --no-deps: the lock is complete, and pyproject.toml overrides one bound that pip alone could not.
$(STAMP): requirements.lock pyproject.toml
	@command -v '$(PYTHON)' >/dev/null || { \
		echo "make: $(PYTHON) not found. Headgate needs Python 3.11 or later; make PYTHON=/path/to/python3 names one." >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $(PYTHON) is $$('$(PYTHON)' -V 2>&1). Headgate needs 3.11 or later; make PYTHON=python3.12 names another." >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: $(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo 'Setting up $(VENV) (once; about a minute)'
	@$(PYTHON_VENV) -m pip --version >/dev/null 2>&1 || '$(PYTHON)' -m venv --clear $(VENV)
	@$(PIP) install --require-hashes --no-deps -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@$(VENV)/bin/headgate demo --port $(PORT) --admin-port $(ADMIN_PORT)

# Bytecode is kept whatever the environment says, or each of hundreds of processes would compile the sources again.
test: setup
	PYTHONDONTWRITEBYTECODE= $(VENV)/bin/pytest -q -n $(JOBS) --dist worksteal $(ARGS)

lint: setup
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

bench: setup
	$(PYTHON_VENV) -m bench $(ARGS)

simulate: setup
	$(PYTHON_VENV) -m bench.simulate $(ARGS)

loadtest: setup
	$(PYTHON_VENV) -m loadtests $(ARGS)

chaos: setup
	$(PYTHON_VENV) -m tests.chaos $(ARGS)

fuzz: setup
	HEADGATE_FUZZ=$(FUZZ) $(VENV)/bin/pytest -q --timeout=0 tests/fuzz $(ARGS)
	$(PYTHON_VENV) -m tests.fuzz -max_total_time=$(FUZZ_SECONDS)

# The smaller locks are constrained by the first, so a version is the same in all.
lock: setup
	$(LOCK) pyproject.toml --group dev --group load --group build --output-file requirements.lock
	$(LOCK) pyproject.toml --constraint requirements.lock --output-file requirements-run.lock
	$(LOCK) --group build --constraint requirements.lock --output-file requirements-build.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
