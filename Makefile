# Two commands: `make demo` and `make test`. Both set up .venv first, from the pinned versions for the interpreter.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

# The newest NumPy and SciPy need Python 3.12, so each interpreter has the constraints file that was tested with it.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
CONSTRAINTS_3.11 := constraints.txt
CONSTRAINTS_3.13 := constraints-3.13.txt
CONSTRAINTS := $(CONSTRAINTS_$(VERSION))

# One thread a process: the machine is shared out between processes, and sums come out in one order.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: help demo docs test test-all pytest-test pytest-test-all lint bench clean

help:
	@echo "make demo       pretrain, fine-tune and print the table, on the embedded phantom"
	@echo "make test       style, types, layers of imports, then the tests"
	@echo "make test-all   the same with the slow tests and those that start Ray"
	@echo "make lint       style, types and layers of imports alone"
	@echo "make docs       build the documentation's site into build/docs; a broken link is an error"
	@echo "make bench      measure the hot paths"
	@echo "make clean      remove .venv, builds and caches; results and the workspace stay"

demo: $(READY)
	$(BIN)/sg-bench run --suite demo

# Style and types keep one core busy for a minute and more, so they run next to the tests.
test test-all: $(READY)
	@$(MAKE) --no-print-directory -j 2 lint pytest-$@

pytest-test: $(READY)
	$(ONE_THREAD) $(BIN)/pytest -n 2 --dist loadgroup --benchmark-disable -m "not slow and not cluster"

pytest-test-all: $(READY)
	$(ONE_THREAD) $(BIN)/pytest -n 2 --dist loadgroup --benchmark-disable

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS) -e '.[docs]'
	$(BIN)/python -m mkdocs build

bench: $(READY)
	$(ONE_THREAD) $(BIN)/pytest benchmarks --benchmark-only

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# The stamp is older than what it was made from, or absent: install (again).
$(READY): pyproject.toml $(CONSTRAINTS)
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON). Install Python 3.11 (apt-get install python3 python3-venv)," \
	       "or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -n "$(CONSTRAINTS)" || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); there are pinned versions for Python 3.11 and 3.13 only." \
	       "Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make an environment. Install its venv module: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) from $(CONSTRAINTS); PyTorch and Ray are large, so this takes a minute or more."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS) -e '.[test]'
	@touch $@
