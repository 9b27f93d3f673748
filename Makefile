# Everything a fresh checkout needs is Python 3.11 or newer, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test check lint types kernels kernels-off kernels-checked compiled fuzz fuzz-http2 fuzz-venues bench-tests yardstick proto lock clean

demo: setup  ## simulated venues, the daemon and a live ladder in this terminal
	@$(BIN)/pollux demo

# Processes and sockets that mostly wait, with limits far above what they need: three at a time.
PATIENT := $(wildcard tests/e2e tests/faults tests/net/gateway tests/interop tests/net/client tests/net/observe/stat tests/net/watchdog)
# What measures, and what must happen within seconds: one test at a time, nothing beside it.
TIMED := $(wildcard tests/bench tests/operate)

# Two at a time, the longest first; each shows what it said when it has ended.
PAIRED := $(MAKE) --no-print-directory -j 2 --output-sync=target

test: setup  ## everything: style, types, all tests, the kernels in their three modes
	@echo "style, types and the kernels' modes: two at a time, output at the end of each"
	@$(PAIRED) kernels-checked kernels-off compiled types lint
	$(BIN)/pytest -q -n 3 --dist loadfile $(patsubst %,--ignore=%,$(PATIENT) $(TIMED))
	$(BIN)/pytest -q -n 3 --dist loadfile $(PATIENT)
	$(BIN)/pytest -q $(TIMED)

check: lint types

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

KERNEL := -m 'kernel and not once' -p no:cacheprovider

kernels: setup  ## the kernel suites without the JIT and with every index checked
	@$(PAIRED) kernels-checked kernels-off

kernels-off: setup
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest -q $(KERNEL)

kernels-checked: setup
	NUMBA_BOUNDSCHECK=1 $(BIN)/pytest -q $(KERNEL)

compiled: setup  ## every kernel into the cache, before several processes each compile all of them
	$(BIN)/python -c 'import bench.run, net.daemon.maker_supervisor; bench.run.compile_bench_kernels()'

FUZZ_SECONDS ?= 300
FUZZ_SEED ?= 1

fuzz: setup  ## new inputs by coverage, kept in tests/fuzz/corpus, then mutants of them compiled
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)

FUZZ_FRAMES ?= 1000000

fuzz-http2: setup  ## frames that are wrong, and right ones between, against the gateway
	$(BIN)/python -m tests.fuzz.http2 --frames $(FUZZ_FRAMES) --seed $(FUZZ_SEED)

fuzz-venues: setup  ## a million mutants of each venue's frames, and of its REST answers
	$(BIN)/python -m tests.fuzz.venues --inputs 1000000 --seed $(FUZZ_SEED)

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

yardstick: setup  ## the Rust peer of the benches, into the cache (needs cargo; minutes the first time)
	$(BIN)/python -m bench.contenders.servers

proto: setup  ## regenerate the code of proto/
	$(BIN)/python proto/generate.py

lock:  ## resolve the dependencies anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra dev --extra bench pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
