# make test    the wheel in a virtual environment, and its tests; .ci/run has more
# make lint    formatters, linters and type checks, without changing a file
# make bench   against mpi4py on MPICH and on Open MPI, in the same run
# make bench-pools   pools, queues and locks against six others, in the same run
# make bench-cluster interactive clusters, against ipyparallel and Dask
# make bench-start   starting, against bare interpreters and the other engines
# make bench-instructions   instructions of the hot paths, under valgrind
# make figures the README's tables and picture, from the recorded runs
# make format  rustfmt and ruff, in place

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help venv wheel install test test-all lint lint-rust format bench bench-pools bench-cluster bench-start bench-instructions record figures clean

help:
	@sed -n '1,9s/^# //p' Makefile

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

venv: $(BIN)/python tests/requirements/test.txt
	@$(PIP) install -r tests/requirements/test.txt

# Built once; installed here, and by the test tiers under other CPythons.
wheel: venv
	@rm -rf build/wheel build/lib* build/bdist* build/scripts*
	@$(PIP) wheel --no-deps --wheel-dir build/wheel .

install: wheel
	@$(PIP) install --no-deps --force-reinstall build/wheel/phalanx-*.whl

test: install
	@$(BIN)/python tests/run.py $(TIERS)

test-all: install
	@$(BIN)/python tests/run.py --all

# Of all linters, these need no wheel: `make -j lint` runs them while it is built.
lint-rust:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

lint: lint-rust install
	@$(PIP) install -r tests/requirements/lint.txt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy python/phalanx python/_phalanx_doors.py tests/run.py tests/tiers
	PYTHON=$(BIN)/python cargo xtask gen --check
	$(BIN)/python -m mypy.stubtest phalanx.MPI phalanx._workers --allowlist tests/stubtest.txt

format:
	cargo fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Each run is kept in bench/results; BENCH has more options, see bench/run.py.
bench: install
	@$(BIN)/python bench/run.py --record $(BENCH)

bench-pools: install
	@cd bench && $(abspath $(BIN))/python -m pools --record $(BENCH_POOLS)

bench-cluster: install
	@cd bench && $(abspath $(BIN))/python -m cluster --record $(BENCH_CLUSTER)

bench-start: install
	@$(BIN)/python bench/start.py --record

bench-instructions: install
	@$(BIN)/python bench/instructions.py --record

# All that is measured, then what shows it: a good half hour, on a quiet machine.
record:
	@$(MAKE) bench BENCH="--set all $(BENCH)"
	@$(MAKE) bench-pools
	@$(MAKE) bench-cluster
	@$(MAKE) bench-start
	@$(MAKE) bench-instructions
	@$(MAKE) figures

figures: venv
	@$(PIP) install -r bench/chart.txt
	@$(BIN)/python bench/figures.py

clean:
	rm -rf build target $(VENV)
