# What a person or a workflow does with this repository. Needs GNU make, a POSIX
# shell and Python >= 3.10; cargo for the Rust engine, which is left out without it.
#
#   make demo               eight providers' streams, before and after
#   make test               all tests, on both engines where cargo is there
#   make lint | make fix    what the linters and type checkers say | repair what they can
#   make test-all-pythons   the suite on every CPython >= 3.10 here (PYTHONS=ends: on two)
#   make test-pure          the suite with nothing but the pure wheel installed
#   make bench              the benchmarks
#   make bench-gate         the rows that have a target, in pairs: fails below one
#   make bench-growth       time of a huge event, memory of long and of many streams
#   make bench-linear       instructions of a huge event: fails where they grow faster than it
#   make bench-peers        streamnorm beside other clients over HTTP, into docs/benchmarks.md
#   make instructions       instructions an event under valgrind: fails where they grew
#   make matrix             what real clients make of each row, into docs/matrix.md
#   make test-sdks          the newest OpenAI SDK, LangChain, agents, Node: a part of `make test`
#   make bug-reports        three reports against four LiteLLM versions (VERSIONS=...)
#   make fuzz-smoke         the property tests with many more examples
#   make wheel | sdist | pure-wheel    into dist/
#
# Settings: PYTHON=python3.12, BUILD=rust|pure, LITELLM=no, PYTEST_ARGS=..., JOBS=...

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

# The first Python that runs and is new enough. It is not enough that a name is on
# PATH: pyenv leaves names there that only say that no such version is selected.
ifeq ($(origin PYTHON), undefined)
PYTHON := $(shell for p in python3 python python3.14 python3.13 python3.12 python3.11 python3.10; do \
  if $$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then \
  command -v $$p; break; fi; done)
endif
ifeq ($(strip $(PYTHON)),)
$(error Python 3.10 or newer is needed and was not found; name one with PYTHON=...)
endif

# For example cpython-3.12, cpython-3.14t, pypy-3.11; and what its extensions end in.
ABOUT := $(shell $(PYTHON) -c 'import platform, sys, sysconfig; get = sysconfig.get_config_var; \
  print(platform.python_implementation().lower() + "-%d.%d" % sys.version_info[:2] + \
  ("t" if get("Py_GIL_DISABLED") else ""), get("EXT_SUFFIX"))')
TAG := $(word 1,$(ABOUT))
EXTENSION := python/streamnorm/_native$(word 2,$(ABOUT))

# rust: the extension must be built, or the target fails. pure: cargo is not run.
ifeq ($(origin BUILD), undefined)
CARGO := $(shell cargo --version 2>/dev/null)
BUILD := $(if $(and $(CARGO),$(filter cpython-%,$(TAG))),rust,pure)
endif
ifeq ($(filter rust pure,$(BUILD)),)
$(error BUILD must be rust or pure, not $(BUILD))
endif

VENV := .venv
# Otherwise LiteLLM asks the network for its price list when it is imported.
export LITELLM_LOCAL_MODEL_COST_MAP := True
JOBS ?= auto
PYTEST_ARGS ?=
BENCH_ARGS ?=
MATRIX_ARGS ?=
PEERS_ARGS ?=
# Only the main environment gets LiteLLM: it is large.
LITELLM ?= yes
WORKFLOWS := $(wildcard .github/workflows/*.yml)
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

PY := $(VENV)/bin/python
PIP_INSTALL := -m pip install --disable-pip-version-check -q
# One worker a core. The packaging tests are left out: cargo uses all cores by itself.
PYTEST := -m pytest -n $(JOBS) --dist worksteal -p no:benchmark --ignore=$(CURDIR)/tests/packaging \
  --ignore=$(CURDIR)/tests/integrations/sdks --ignore=$(CURDIR)/tests/integrations/bug_reports
# The suite fails, instead of leaving the Rust half out, when this is set.
REQUIRE := STREAMNORM_REQUIRE_RUST=$(if $(filter rust,$(BUILD)),1,)
# Whatever changes one of these makes the next target install again. Python sources
# are not among them: the installs are editable.
SOURCES := pyproject.toml Cargo.toml Cargo.lock build_backend/backend.py \
  python/streamnorm/_version.py $(shell find rust -name '*.rs' -o -name Cargo.toml)
# All environments of one Python share the extension in the tree. Where another one
# built or removed it, an install that was up to date no longer is.
MOVED := $(if $(filter rust,$(BUILD)),$(if $(wildcard $(EXTENSION)),,FORCE),$(if $(wildcard $(EXTENSION)),FORCE))
comma := ,
DEMO_EXTRAS := cli,demo
# orjson has no wheel for free-threaded CPython, and refuses to be built for it.
FAST ?= $(if $(filter cpython-%t,$(TAG)),no,$(if $(filter cpython-%,$(TAG)),yes,no))
TEST_EXTRAS := cli,demo,test$(if $(filter yes,$(FAST)),$(comma)fast)$(if $(filter yes,$(LITELLM)),$(comma)litellm-test)

.PHONY: FORCE help demo test test-sdks bug-reports test-python test-all-pythons test-pure rust-test lint lint-python \
  lint-types lint-rust lint-workflows fix fuzz-smoke bench bench-smoke bench-gate bench-growth \
  bench-linear \
  bench-peers instructions instructions-update wheel pure-wheel sdist \
  metadata release-check tag-check smoke clean matrix

help:
	@sed -n '/^#   make/s/^#   //p' Makefile

# Environments. ------------------------------------------------------------------

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	touch $@

# $(call install,MODE,EXTRAS): an editable install. Afterwards the engine is asked
# for, because an installer does not show what a build had to leave out.
define install
rm -f $(VENV)/.ready-*
STREAMNORM_BUILD=$(strip $(1)) $(PY) $(PIP_INSTALL) -e '.[$(strip $(2))]'
endef
engine-check = STREAMNORM_ENGINE=$(if $(filter rust,$(BUILD)),rust,python) $(PY) -c 'import streamnorm'

# A demonstration is worth more on the slower engine than not at all: `auto`.
$(VENV)/.ready-demo-$(BUILD): $(VENV)/.created $(SOURCES)
	$(call install,$(if $(filter rust,$(BUILD)),auto,pure),$(DEMO_EXTRAS))
	touch $@

$(VENV)/.ready-test-$(BUILD): $(VENV)/.created $(SOURCES) $(MOVED)
	$(call install,$(BUILD),$(TEST_EXTRAS))
	$(engine-check)
	touch $@ $(VENV)/.ready-demo-$(BUILD)

$(VENV)/.ready-lint-$(BUILD): $(VENV)/.created $(SOURCES) $(MOVED)
	$(call install,$(BUILD),$(TEST_EXTRAS)$(comma)lint)
	$(engine-check)
	touch $@ $(VENV)/.ready-test-$(BUILD) $(VENV)/.ready-demo-$(BUILD)

# What a user sees. --------------------------------------------------------------

demo: $(VENV)/.ready-demo-$(BUILD)
	@$(PY) -m streamnorm.demo $(DEMO_ARGS)

# Tests. -------------------------------------------------------------------------

test: $(VENV)/.ready-test-$(BUILD) $(if $(filter rust,$(BUILD)),rust-test)
	$(REQUIRE) $(PY) -m pytest -p no:benchmark -p no:xdist tests/packaging $(PYTEST_ARGS)
	$(REQUIRE) $(PY) $(PYTEST) $(PYTEST_ARGS)
	$(if $(filter cpython-%,$(TAG)),$(MAKE) --no-print-directory test-sdks BUILD=$(BUILD) PYTHON=$(PYTHON))
	@$(PY) -c 'import platform; print("make test: passed with", platform.python_implementation(), platform.python_version(), "on", \
	  "both engines, rust and python" if "$(BUILD)" == "rust" else "the python engine only: no cargo, or BUILD=pure")'

# The SDKs that cannot be where LiteLLM is: it holds the OpenAI SDK below 3.
test-sdks:
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	  $(MAKE) --no-print-directory test-sdks-suite VENV=.venvs/sdks TEST_EXTRAS=fast$(comma)sdks-test; \
	else $(call left-out,test-sdks needs Python 3.11); fi

.PHONY: test-sdks-suite
test-sdks-suite: $(VENV)/.ready-test-$(BUILD)
	$(REQUIRE) $(PY) -m pytest -n $(JOBS) tests/integrations/sdks $(PYTEST_ARGS)

# LiteLLM's versions, each in an environment of its own, kept between runs: some minutes.
VERSIONS ?=
BUG_REPORTS_ARGS ?=
bug-reports: $(VENV)/.ready-test-$(BUILD)
	$(REQUIRE) PYTHONPATH=tests/integrations $(PY) -m bug_reports $(VERSIONS) $(BUG_REPORTS_ARGS) -- $(PYTEST_ARGS)

# The suite on $(PYTHON), in an environment of its own.
test-python:
	$(MAKE) --no-print-directory test-suite VENV=.venvs/$(TAG) LITELLM=no

.PHONY: test-suite
test-suite: $(VENV)/.ready-test-$(BUILD)
	$(REQUIRE) $(PY) $(PYTEST) $(PYTEST_ARGS)

test-all-pythons:
	pythons=$$($(PYTHON) scripts/find_pythons.py --at-least 2 $(if $(filter ends,$(PYTHONS)),--ends)); \
	echo "$$pythons" | while read -r tag path; do \
	  echo "== CPython $$tag: $$path"; \
	  $(MAKE) --no-print-directory test-python PYTHON="$$path" BUILD=$(BUILD) </dev/null; \
	done

PURE := .venvs/pure
# From another directory and with the wheel alone: what is imported is what a user
# without a platform wheel gets, and without orjson.
test-pure:
	test -d $(PURE) || $(PYTHON) -m venv $(PURE)
	rm -rf build/pure && mkdir -p build/pure
	STREAMNORM_BUILD=pure $(PURE)/bin/python -m pip wheel --disable-pip-version-check -q --no-deps -w build/pure .
	$(PURE)/bin/python -m pip uninstall --disable-pip-version-check -q -y streamnorm
	for wheel in build/pure/*-py3-none-any.whl; do $(PURE)/bin/python $(PIP_INSTALL) "$$wheel[test]"; done
	cd build/pure && $(CURDIR)/$(PURE)/bin/python -c 'import streamnorm as s; print(s.ENGINE, s.__file__); assert s.ENGINE == "python" and "site-packages" in s.__file__'
	cd build/pure && $(CURDIR)/$(PURE)/bin/python $(PYTEST) -c $(CURDIR)/pyproject.toml --rootdir $(CURDIR) $(PYTEST_ARGS) $(CURDIR)/tests

rust-test:
	cargo test --workspace --locked -q

fuzz-smoke: $(VENV)/.ready-test-$(BUILD)
	$(REQUIRE) $(PY) $(PYTEST) -m fuzz --hypothesis-profile=fuzz $(PYTEST_ARGS)

# The newest releases of seven clients, each in an environment of its own: some minutes.
matrix: $(VENV)/.ready-demo-$(BUILD)
	PYTHONPATH=tests $(PY) -m matrix $(MATRIX_ARGS)

# The newest releases of ten clients, each in an environment of its own: some minutes. The
# machine should have nothing else to do.
bench-peers: $(VENV)/.ready-demo-$(BUILD)
	STREAMNORM_ENGINE=rust $(PY) -c 'import streamnorm'
	$(PY) -m benches.peers $(PEERS_ARGS)

# The benchmarks have an environment of their own: their reference is the OpenAI SDK 3.
BENCH_ENV := .venvs/bench
ifneq ($(VENV),$(BENCH_ENV))
bench bench-smoke bench-gate bench-growth bench-linear:
	$(MAKE) --no-print-directory $@ VENV=$(BENCH_ENV) BUILD=$(BUILD) PYTHON=$(PYTHON) \
	  TEST_EXTRAS=bench$(if $(filter yes,$(FAST)),$(comma)fast)
else
bench: $(VENV)/.ready-test-$(BUILD)
	mkdir -p build
	$(REQUIRE) $(PY) -m pytest -p no:xdist benches --benchmark-only --benchmark-quiet \
	  --benchmark-json=build/bench.json $(BENCH_ARGS)
	$(PY) -m benches.summary build/bench.json
	$(PY) benches/import_time.py

# Every benchmark once, for the results that it asserts.
bench-smoke: $(VENV)/.ready-test-$(BUILD)
	$(REQUIRE) $(PY) -m pytest -p no:xdist benches --benchmark-disable -q $(BENCH_ARGS)

# Not in CI, where the neighbours decide what is fast. BENCH_ARGS="--pairs 31 tags"
bench-gate: $(VENV)/.ready-test-$(BUILD)
	$(PY) -m benches.gate $(BENCH_ARGS)

bench-growth: $(VENV)/.ready-test-$(BUILD)
	$(PY) -m benches.growth $(BENCH_ARGS)

# Not in CI, where a smaller event is counted; some ten minutes.
bench-linear: $(VENV)/.ready-test-$(BUILD)
	$(PY) -m benches.linear $(BENCH_ARGS)
endif

# Needs valgrind and the Rust engine, as does `bench-linear`.
instructions: $(VENV)/.ready-test-$(BUILD)
	$(PY) -m benches.instructions
	$(PY) -m benches.linear --mib 4

instructions-update: $(VENV)/.ready-test-$(BUILD)
	$(PY) -m benches.instructions --update

# Checks. ------------------------------------------------------------------------

lint: lint-python lint-types lint-rust lint-workflows

lint-python: $(VENV)/.ready-lint-$(BUILD)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

lint-types: $(VENV)/.ready-lint-$(BUILD)
	$(PY) -m mypy
	$(PY) -m pyright
	PYTHONPATH=$(CURDIR)/python $(PY) scripts/verify_types.py

# In CI a check that is left out is a check that failed.
left-out = if [ -n "$${CI:-}" ]; then echo "$(1)" >&2; exit 1; else echo "left out: $(1)"; fi

lint-rust:
ifeq ($(BUILD),rust)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -q -- -D warnings
else
	@$(call left-out,clippy and rustfmt need cargo)
endif

lint-workflows: $(VENV)/.ready-lint-$(BUILD)
	@if go version >/dev/null 2>&1; then \
	  test -x $(VENV)/bin/actionlint || GOBIN=$(CURDIR)/$(VENV)/bin go install $(ACTIONLINT); \
	  $(VENV)/bin/actionlint $(WORKFLOWS); \
	elif actionlint -version >/dev/null 2>&1; then actionlint $(WORKFLOWS); \
	else $(call left-out,actionlint needs go to be built); fi
	$(VENV)/bin/zizmor --offline -q $(WORKFLOWS)

fix: $(VENV)/.ready-lint-$(BUILD)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
ifeq ($(BUILD),rust)
	cargo fmt --all
endif

# Releases. ----------------------------------------------------------------------

BUILDER := .venvs/build
$(BUILDER)/.ready:
	$(PYTHON) -m venv $(BUILDER)
	$(BUILDER)/bin/python $(PIP_INSTALL) 'build>=1.2.2' 'hatchling>=1.27,<2'
	touch $@

wheel: $(BUILDER)/.ready
	STREAMNORM_BUILD=rust $(BUILDER)/bin/python -m build --wheel -o dist .

pure-wheel: $(BUILDER)/.ready
	STREAMNORM_BUILD=pure $(BUILDER)/bin/python -m build --wheel -o dist .

sdist: $(BUILDER)/.ready
	STREAMNORM_BUILD=pure $(BUILDER)/bin/python -m build --sdist -o dist .

# The metadata that `maturin build` is to copy, see build_backend/backend.py.
metadata: $(BUILDER)/.ready
	rm -rf build/metadata && mkdir -p build/metadata
	PYTHONPATH=build_backend $(BUILDER)/bin/python -c 'import backend; print(backend.prepare_metadata_for_build_wheel("build/metadata"))'

DIST ?= dist
ENGINE ?= rust
# The gate of a release: exactly the expected files, and they agree.
release-check:
	$(PYTHON) scripts/release_files.py check $(DIST)

# SMOKE_ARGS=--sdist offers the sdist alone.
smoke:
	$(PYTHON) scripts/smoke.py $(DIST) $(ENGINE) $(SMOKE_ARGS)

tag-check:
	$(PYTHON) scripts/release_files.py tag $(GIT_TAG)

clean:
	rm -rf .venv .venvs build dist target .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f python/streamnorm/_native*.so python/streamnorm/_native*.pyd
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
