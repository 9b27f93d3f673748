# Everything a fresh checkout needs is Python 3.11 or newer, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test check lint types kernels fuzz bench-tests proto lock clean

demo: setup  ## simulated venues, the daemon and a live ladder in this terminal
	@$(BIN)/pollux demo

# Processes and sockets against the clock: one test at a time.
LIVE := $(wildcard tests/bench tests/e2e tests/faults tests/gateway tests/operate)

test: check kernels  ## everything: style, types, all tests, the kernels in their three modes
	$(BIN)/pytest -q -n 2 --dist loadfile $(LIVE:%=--ignore=%)
	$(BIN)/pytest -q $(LIVE)

check: lint types

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

kernels: setup  ## the kernel suites without the JIT and with every index checked
	@echo "kernels without the JIT (output first) and, beside them, with every index checked"
	@NUMBA_BOUNDSCHECK=1 $(BIN)/pytest -q -m kernel -p no:cacheprovider > $(VENV)/bounds.log 2>&1 & \
	bounds=$$!; NUMBA_DISABLE_JIT=1 $(BIN)/pytest -q -m kernel; off=$$?; \
	wait $$bounds; checked=$$?; cat $(VENV)/bounds.log; exit $$((off + checked))

FUZZ_SECONDS ?= 300
FUZZ_SEED ?= 1

fuzz: setup  ## new inputs by coverage, kept in tests/fuzz/corpus, then mutants of them compiled
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else "Pollux needs Python 3.11 or newer; PYTHON=... chooses one (this is %d.%d)" % v)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked packages into $(VENV) (once)"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

bench-tests: setup  ## every bench, tiny (part of `make test`)
	$(BIN)/pytest -q tests/bench

proto: setup  ## regenerate the code of proto/
	$(BIN)/python proto/generate.py

lock:  ## resolve the dependencies anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra dev --extra bench pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
