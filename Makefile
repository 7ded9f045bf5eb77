# make demo: install into .venv, conceal a bundled recording, print how good it is and where to listen.
# make test: install what the tests need, then lint, types and tests. See README.md.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CLIPS = firmware_py/assets
CLIP ?= sax_phrase
# This exact version is built for the CPU; others bring gigabytes of CUDA along. With a GPU: make test TORCH=torch
TORCH ?= torch==2.13.0

.PHONY: demo test debian lint test-slow bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed-eval
	$(BIN)/continuo simulate $(CLIPS)/$(CLIP).flac --trace $(CLIPS)/$(CLIP).txt --out demo-out

test: lint debian
	$(BIN)/pytest -m "not slow"
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest -q -m "not slow" tests/firmware_py/rt

# Programs and data that the tests run: apt-get only where something is missing.
debian:
	command -v fluidsynth >/dev/null && test -e /usr/share/sounds/sf2/TimGM6mb.sf2 || \
	  (apt-get update -q && apt-get install -qy --no-install-recommends fluidsynth timgm6mb-soundfont)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

test-slow: $(VENV)/installed-dev
	$(BIN)/pytest -m slow

bench: $(VENV)/installed-dev
	NUMBA_NUM_THREADS=1 $(BIN)/python -m continuo.bench --out bench-out

clean:
	rm -rf $(VENV) demo-out bench-out build

# Debian keeps the venv module in a package of its own.
$(BIN)/python:
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || (apt-get update -q && apt-get install -qy python3-venv)
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-eval: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q --disable-pip-version-check -e '.[eval]'
	touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q --disable-pip-version-check $(TORCH) -e '.[dev]'
	touch $@
