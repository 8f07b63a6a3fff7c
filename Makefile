# Five commands, and a demonstration. Each works on a machine that has python3, pip, make and a C compiler, and sets
# up .venv by itself: once, and again when pyproject.toml or constraints.txt have changed.

PYTHON ?= python3
# What the compiled build runs on: the distribution's own interpreter where it is new enough and has its headers. It is
# built with PGO and LTO like the container image's; one that is not costs a sixth more of user time per request.
COMPILED_PYTHON ?= $(shell /usr/bin/python3 -c 'import os, sys, sysconfig; sys.exit(sys.version_info < (3, 11) or \
	not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null && echo /usr/bin/python3 || echo $(PYTHON))
BIN := .venv/bin
INSTALLED := .venv/.installed
COMPILED := .venv-compiled/.installed

.PHONY: install fmt check test bench demo fuzz soak interop browser screenshots compiled constraints
.DELETE_ON_ERROR:

install: $(INSTALLED)

fmt: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The tests start many processes: with compiled modules kept, each of them starts sooner. What needs a browser, or Go's
# toolchain and Prometheus, has a command of its own: `make browser`, `make interop`.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(INSTALLED)
	$(BIN)/coverage erase
	$(BIN)/python -m pytest --cache-clear --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
		--cov --cov-report= \
		|| { [ $$? = 1 ] && $(BIN)/python -m tests.second_run; }
	$(BIN)/coverage report --fail-under=90
	$(BIN)/coverage report --fail-under=100 --include='proxy/core/*'
	@echo 'The dashboard in a real browser: make browser. A real collector and Prometheus: make interop.'

bench: $(INSTALLED) compiled
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks.everything

demo: $(INSTALLED)
	$(BIN)/dualpath demo

# Coverage-guided fuzzing of all that reads what others have written, each target for FUZZ_SECONDS; findings stay in .fuzz.
FUZZ_SECONDS ?= 60
fuzz: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,fuzz]'
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

# dualpath and the real things: an OpenTelemetry Collector, which is built once by Go's toolchain (minutes, then it is
# kept in ~/.cache/dualpath), and a Prometheus.
interop: $(INSTALLED)
	$(BIN)/python -m tests.interop.building
	$(BIN)/python -m pytest tests/interop

# The real thing under mixed traffic, faults, kills, reloads and restarts for SOAK_SECONDS: fails on one wrong answer.
SOAK_SECONDS ?= 600
soak: $(INSTALLED)
	$(BIN)/python -m benchmarks.soak --seconds $(SOAK_SECONDS)

# The dashboard in the system's Chromium, before a real proxy; and the pictures of it in docs/img.
browser: $(INSTALLED)
	@command -v chromium >/dev/null || { echo 'this needs Chromium: apt-get install chromium'; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,browser]'
	$(BIN)/python -m pytest -n0 tests/browser

screenshots: $(INSTALLED)
	@command -v chromium >/dev/null || { echo 'this needs Chromium: apt-get install chromium'; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,browser]'
	$(BIN)/python -m tests.browser.screenshots

# dualpath with its hot modules compiled by mypyc, in an environment of its own: what the benchmarks measure and what
# the container image runs. Built from a source distribution, so that no compiled file lands beside its source. With
# hidden symbols the modules call each other directly, and not through the linker's table.
compiled: $(COMPILED)

.venv-compiled/bin/python: PYTHON := $(COMPILED_PYTHON)

$(COMPILED): pyproject.toml constraints.txt $(shell find proxy -name '*.py') | $(INSTALLED) .venv-compiled/bin/python
	rm -rf .venv-compiled/dist
	$(BIN)/python -m hatchling build -t sdist -d .venv-compiled/dist
	CFLAGS='-fvisibility=hidden -fno-plt' \
	HATCH_BUILD_HOOK_ENABLE_MYPYC=true .venv-compiled/bin/python -m pip install --quiet --constraint constraints.txt \
		--force-reinstall .venv-compiled/dist/dualpath-*.tar.gz
	touch $@

# Renews the pinned versions: the newest that pyproject.toml allows, in an environment of their own.
constraints:
	rm -rf .venv-constraints
	$(MAKE) .venv-constraints/bin/python
	.venv-constraints/bin/python -m pip install --upgrade -e '.[dev,bench,browser,fuzz]' hatch-mypyc
	{ sed '/^[^#]/d' constraints.txt; .venv-constraints/bin/python -m pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt
	rm -rf .venv-constraints

$(INSTALLED): pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Debian's python3 has venv without ensurepip, so that the first command fails there; virtualenv brings its own pip.
%/bin/python:
	$(PYTHON) -m venv $* || { \
		$(PYTHON) -m pip install --quiet --target .venv-bootstrap virtualenv && \
		PYTHONPATH=.venv-bootstrap $(PYTHON) -m virtualenv --clear $*; }
