# make run: the whole gateway on this machine. make test: everything that must hold. Both make their environment.
#   PYTHON=python3.12   which Python makes the environment (3.11 to 3.13; python3 unless given)
#   TESTS="-k broker"   what to hand to pytest

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTS ?= -n 2
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
MADE := $(VENV)/made.stamp
RUN := $(VENV)/run.stamp
TEST := $(VENV)/test.stamp

# What is imported is compiled once, not at every start of every process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run demo test lint bench crash replays deliveries race fuzz coverage lock clean

run: $(RUN)
	@exec $(BIN)/fhir-gateway run

demo: $(RUN)
	@exec $(BIN)/fhir-gateway demo

test: lint
	$(BIN)/pytest $(TESTS)

lint: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(TEST)
	@$(BIN)/python -m tests.bench $(ARGS)

crash: $(TEST)
	@$(BIN)/python -m tests.crash $(ARGS)

replays: $(TEST)
	@$(BIN)/python -m tests.replays $(ARGS)

deliveries: $(TEST)
	@$(BIN)/python -m tests.deliveries $(ARGS)

race: $(TEST)
	@$(BIN)/python -m tests.race $(ARGS)

# ARGS="--seconds 600 --target json"
fuzz: $(TEST)
	@$(BIN)/python -m tests.fuzz $(ARGS)

coverage: $(TEST)
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# The exact versions and hashes of all that is installed, for every Python and machine at once.
lock: $(TEST)
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-emit-index-url \
		--python-version 3.11 --extra build setup.cfg --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-emit-index-url \
		--python-version 3.11 --extra build --extra test --constraints requirements.lock \
		setup.cfg --output-file requirements-test.lock

clean:
	rm -rf $(VENV) build dist *.egg-info

$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "The gateway needs Python 3.11, 3.12 or 3.13: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Making the environment in $(VENV); this takes a minute, once."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# Compiled after the installation, on all cores and without the FHIR versions that nobody imports: a third of pip's time.
COMPILE := $(BIN)/python -m compileall -q -j 0 -x '/(STU3|R5|tests)/' $(VENV)/lib

$(RUN): requirements.lock setup.cfg pyproject.toml | $(MADE)
	@$(PIP) install --no-compile --require-hashes --requirement requirements.lock
	@$(PIP) install --no-compile --no-deps --no-build-isolation --editable .
	@$(COMPILE)
	@touch $@

$(TEST): requirements-test.lock $(RUN)
	@$(PIP) install --no-compile --require-hashes --requirement requirements-test.lock
	@$(COMPILE)
	@touch $@
