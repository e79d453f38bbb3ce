# Everything runs in .venv, which is made from the hash-locked requirements.
# Needs Python 3.11 to 3.14 with venv and pip, and make. Another interpreter:
#   make demo PYTHON=python3.13

PYTHON ?= python3
# Extra words for a target that takes some: make demo ARGS="--seed 7 --json"
ARGS ?=

SOURCES := daemon tests tools
VENV := .venv
BIN := $(VENV)/bin
ORACLES := ibapi nautilus
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-input

# A target whose recipe fails half-way must not look made.
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow lint schedule test-oracles mutants bench kill-points docs lock clean

help:
	@echo 'make demo          the whole trading day on the embedded gateway'
	@echo 'make test          linter, types, import contracts and tests'
	@echo 'make test-slow     the tests of real processes, kills and long days'
	@echo 'make lint          the same without the tests'
	@echo 'make schedule      the jobs of the coming days in both zones'
	@echo 'make test-oracles  the official API clients against the fake gateway'
	@echo 'make mutants       planted faults in the daemon, each of which a test must catch'
	@echo 'make bench         the daemon beside plain ib_async; writes docs/benchmarks.md'
	@echo 'make kill-points   kill the daemon at every step of a day, and start it again'
	@echo 'make docs          write docs/reference/config.md anew'
	@echo 'make lock          resolve the requirements anew (needs uv)'
	@echo 'make clean         remove what the other targets made'

demo: $(VENV)/run.stamp
	@$(BIN)/ibkrd demo $(ARGS)

schedule: $(VENV)/run.stamp
	@$(BIN)/ibkrd schedule $(ARGS)

test: lint
	$(BIN)/pytest -n 4 -m 'not slow'
	@echo 'not run here, to stay under two minutes: real processes, kills and long days: make test-slow;'
	@echo 'the steps at which the daemon is killed: make kill-points; planted faults: make mutants;'
	@echo 'and the official API clients, which own one import name and need environments: make test-oracles'

test-slow: $(VENV)/dev.stamp
	$(BIN)/pytest -n 4 -m slow

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

# One fault at a time, in a copy; some by name: make mutants ARGS="intent-is-not-written"
mutants: $(VENV)/dev.stamp
	@$(BIN)/python -m tools.mutants $(ARGS)

# Real processes in real time, about four minutes; a part: make bench ARGS="--only drop"
bench: $(VENV)/run.stamp
	@$(BIN)/python -m tools.bench $(ARGS)

# Some minutes; a part: make kill-points ARGS="--how kill --restarts 1 --share 10"
kill-points: $(VENV)/run.stamp
	@$(BIN)/python -m daemon.simulation.killing $(ARGS)

docs: $(VENV)/run.stamp
	$(BIN)/python tools/config_reference.py

# The clients own the same import name, so each has an environment of its own.
test-oracles: $(ORACLES:%=.venv-oracle-%/stamp)
	PYTHONPATH=. .venv-oracle-ibapi/bin/python $(ORACLE_PYTEST)
	PYTHONPATH=. .venv-oracle-nautilus/bin/python $(ORACLE_PYTEST)

ORACLE_PYTEST := -m pytest -c tests/oracles/pytest.ini --rootdir . tests/oracles

# Stamps: a second call finds them newer than the locks and does nothing.

$(VENV)/run.stamp: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/run.stamp
	$(BIN)/python $(PIP_INSTALL) --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@

$(ORACLES:%=.venv-oracle-%/stamp): .venv-oracle-%/stamp: requirements-oracle-%.lock | .venv-oracle-%/bin/python
	$(@D)/bin/python $(PIP_INSTALL) --require-hashes -r $<
	@touch $@

$(BIN)/python $(ORACLES:%=.venv-oracle-%/bin/python):
	@$(PYTHON) -c '' 2>/dev/null || \
	  { echo 'ibkrd: $(PYTHON) does not run; name another: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
	  { echo "ibkrd: needs Python 3.11 to 3.14, $(PYTHON) is $$($(PYTHON) -V 2>&1);" \
	    'name another: make PYTHON=python3.13' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'ibkrd: $(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(@:%/bin/python=%)

# The locks hold hashes and no addresses, for all platforms and Python 3.11 to 3.14.
# uv is a tool of the person who resolves, not a requirement: pipx install uv.
# LOCK_ARGS=--upgrade takes new versions; without it the locked ones are kept.
LOCK_ARGS ?=
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-header --no-annotate --no-emit-index-url --no-emit-find-links $(LOCK_ARGS)
ORACLE_TOOLS := 'pytest>=9' pytest-timeout tzdata

lock:
	@command -v uv >/dev/null || { echo 'ibkrd: make lock needs uv: pipx install uv' >&2; exit 1; }
	$(LOCK) pyproject.toml --group run -o requirements.lock
	$(LOCK) pyproject.toml --group dev -o requirements-dev.lock
	printf '%s\n' $(ORACLE_TOOLS) 'ibapi==9.81.1.post1' | $(LOCK) - -o requirements-oracle-ibapi.lock
	printf '%s\n' $(ORACLE_TOOLS) nautilus-ibapi protobuf | $(LOCK) - -o requirements-oracle-nautilus.lock

clean:
	rm -rf $(VENV) $(ORACLES:%=.venv-oracle-%)
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find daemon tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
