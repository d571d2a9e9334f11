# make run    set up, restore the sample, say where the result is
# make test   set up, pass the tests (minutes); make test-slow: those left out (minutes more);
#             make test-extras: install what is optional, and pass the tests that need it
#             make test-browser: the same for the page; needs a Chromium
# make check  style, types, layers
# make bench  measure the networks and the whole path on this machine (docs/BENCHMARKS.md has more)
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: run test test-slow test-extras test-browser test-gpu check bench clean

$(VENV)/.ready: pyproject.toml
	@echo "Setting up $(VENV): some minutes, and about 7 GB of disk, nearly all of it PyTorch."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

run: $(VENV)/.ready
	mkdir -p restored
	$(BIN)/vidrestore samples/home-video.mp4 restored/home-video.mp4 --overwrite --report restored/home-video.json
	@echo "Look at restored/home-video.mp4; what was done is in restored/home-video.json."

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest

test-slow: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -m slow

test-extras: $(VENV)/.ready-dev
	$(BIN)/python -m pip install --quiet --editable '.[metrics,identity,train,background]'
	VIDRESTORE_REQUIRE="$(VIDRESTORE_REQUIRE),metrics,identity,stlpips,background" \
	$(BIN)/python -m pytest tests/evaluate tests/train tests/core/test_appearance.py \
	tests/models/test_background.py

test-browser: $(VENV)/.ready-dev
	$(BIN)/python -m pip install --quiet --editable '.[web,browser]'
	VIDRESTORE_REQUIRE="$(VIDRESTORE_REQUIRE),browser" $(BIN)/python -m pytest tests/web

test-gpu: $(VENV)/.ready-dev
	VIDRESTORE_REQUIRE=gpu $(BIN)/python -m pytest -m gpu

check: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready-dev
	$(BIN)/vidrestore bench network --model vidrestore-lite-256
	$(BIN)/vidrestore bench samples/home-video.mp4
	$(BIN)/python benchmarks/bench_detector.py
	$(BIN)/python benchmarks/bench_pipeline.py
	$(BIN)/python benchmarks/bench_passthrough.py
	$(BIN)/python benchmarks/bench_cadence.py

clean:
	rm -rf $(VENV) restored .pytest_cache .mypy_cache .ruff_cache
