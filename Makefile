# make demo: install into .venv, conceal a bundled recording, print how good it is and where to listen.
# make test: install what the tests need, then lint, types and tests. See README.md.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CLIPS = firmware_py/assets
CLIP ?= sax_phrase
# This exact version is built for the CPU; others bring gigabytes of CUDA along. With a GPU: make test TORCH=torch
TORCH ?= torch==2.13.0

.PHONY: demo test debian lint test-slow soak bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed-eval
	$(BIN)/continuo simulate $(CLIPS)/$(CLIP).flac --trace $(CLIPS)/$(CLIP).txt \
	  --method lite-int8 --out demo-out

test: lint
	$(BIN)/pytest -m "not slow"
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest -q -m "not slow" tests/firmware_py/rt tests/firmware_py/audio/test_pcm_format.py

# What the tests run or build with, beside Python packages: apt-get only where something is missing.
DEBIAN = fluidsynth timgm6mb-soundfont gcc libc6-dev libasound2-dev libasound2-plugins jackd2 jacktrip chromium chromium-driver \
  gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad qemu-user

debian:
	@if ! command -v apt-get >/dev/null; then echo "no apt-get: install what corresponds to $(DEBIAN)"; exit 0; fi; \
	missing=$$(for package in $(DEBIAN); do \
	  dpkg -s $$package 2>/dev/null | grep -q '^Status: install ok installed' || echo $$package; done); \
	test -z "$$missing" || (apt-get update -q && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

test-slow: $(VENV)/installed-dev
	$(BIN)/pytest -m slow

# Two boxes, ten minutes each time; what they print is kept.
soak: $(VENV)/installed-dev
	$(BIN)/pytest -q -m slow tests/firmware_py/box > docs/soak.log; status=$$?; cat docs/soak.log; exit $$status

bench: $(VENV)/installed-dev
	NUMBA_NUM_THREADS=1 $(BIN)/python -m continuo.bench --out bench-out
	$(BIN)/python -m continuo.bench.audio_thread --out bench-out

clean:
	rm -rf $(VENV) demo-out bench-out build

# Debian keeps the venv module in a package of its own.
$(BIN)/python:
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || (apt-get update -q && apt-get install -qy python3-venv)
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-eval: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q --disable-pip-version-check -e '.[eval]'
	touch $@

$(VENV)/installed-dev: pyproject.toml | debian $(BIN)/python
	$(BIN)/pip install -q --disable-pip-version-check $(TORCH) -e '.[dev]'
	touch $@
