# The only door for a developer. `make` prints this list.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
CLIENTS := .venv-clients
DOCS := .venv-docs
PYTHON ?= python3
PIP := $(BIN)/pip --disable-pip-version-check install --quiet -c constraints.txt
PINS := constraints.txt pyproject.toml $(wildcard */pyproject.toml)
PATHS := shared/src analyzer/src api-gateway/src audio-processor/src song-recognizer/src transcriber/src tests deploy

.PHONY: help run test bench bench-full bench-peers images-check lint fix docs dist dist-check clean model whisper-model analysis-models tools screenshots

help: ## Print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

# What the settings need besides (STT_ENGINE, WHISPER_MODEL, ANALYZER) is installed and fetched once.
run: $(VENV)/run.done ## Run the whole cluster on this machine (Ctrl-C stops it)
	@extras=$$($(BIN)/parlando models extras) && for extra in $$extras; do \
		$(MAKE) --no-print-directory $(VENV)/extra-$$extra.done || exit 1; done
	@$(BIN)/parlando models pull
	@exec $(BIN)/parlando up

model: $(VENV)/run.done ## Fetch the embedded model, once
	@$(BIN)/parlando models pull moonshine-tiny

whisper-model: $(VENV)/run.done ## Fetch the Whisper models that the tests use, once
	@$(BIN)/parlando models pull whisper-tiny.en whisper-base

analysis-models: $(VENV)/run.done ## Fetch the models of the analyzer, once
	@$(BIN)/parlando models pull entities-en minilm-l6

test: $(VENV)/dev.done model whisper-model analysis-models tools $(VENV)/ffmpegs.done $(CLIENTS)/done ## Set up and run all tests (ARGS="-k name" for some)
	@$(BIN)/pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist loadfile $(ARGS)

# In CI the tests shall not skip what needs these; nobody else's machine is touched.
tools:
	@for tool in docker-compose chromium firefox-esr ffmpeg curl prometheus; do \
		if [ -n "$$CI" ] && ! command -v $$tool >/dev/null && command -v apt-get >/dev/null; then \
			apt-get update -qq && apt-get install -y -qq $${tool/prometheus/prometheus prometheus-node-exporter-} >/dev/null || true; fi; done

screenshots: $(VENV)/dev.done model ## Make the pictures in docs/images (needs Chromium)
	@SCREENSHOTS=1 $(BIN)/pytest -q tests/e2e/test_web_live.py tests/e2e/test_web_files.py tests/e2e/test_web_cluster.py tests/e2e/test_web_offline.py tests/e2e/test_viewers.py

bench: $(VENV)/bench.done model ## Measure, in a quarter of an hour; it writes docs/benchmarks.md
	@cd tests && ../$(BIN)/python -m bench.run

bench-full: $(VENV)/bench.done model ## Measure everything, an hour: also half load, formats, a soak
	@cd tests && ../$(BIN)/python -m bench.run --full

bench-peers: $(VENV)/bench.done $(PEERS)/whisperlive.done $(PEERS)/whisperlivekit.done ## Compare with WhisperLive and WhisperLiveKit, an hour
	@cd tests && ../$(BIN)/python -m bench.peers $(ARGS)

images-check: $(VENV)/dev.done ## Build the images, run a cluster of them, try it (root; buildah, debootstrap; ten minutes)
	@for tool in buildah debootstrap; do \
		command -v $$tool >/dev/null || apt-get install -y -qq --no-install-recommends $$tool >/dev/null || exit 1; done
	@cd tests && PYTHONPATH=../deploy ../$(BIN)/python -m images.check $(ARGS)

lint: $(VENV)/dev.done ## Check style, types and the direction of imports
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/ruff check $(PATHS)
	$(BIN)/mypy
	$(BIN)/mypy deploy
	$(BIN)/lint-imports
	$(BIN)/hadolint --ignore DL3008 */Dockerfile

fix: $(VENV)/dev.done ## Format, and mend what can be mended
	$(BIN)/ruff check --fix-only --quiet $(PATHS)
	$(BIN)/ruff format $(PATHS)
	cd tests && ../$(BIN)/python -m support.settings_doc && ../$(BIN)/python -m support.security_doc
	$(BIN)/python deploy/third_party.py

docs: $(DOCS)/done ## Build the documents as a site, in site/
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet -f deploy/mkdocs.yml
	@echo "site/index.html is written."

dist: $(VENV)/dev.done ## Build the wheels of all distributions, in dist/
	rm -rf dist
	$(BIN)/python deploy/wheels.py build

dist-check: $(VENV)/dev.done ## Install the wheels into an empty environment, and run a cluster from there
	$(BIN)/python deploy/wheels.py check

clean: ## Remove the virtual environments and all caches of tools, and dist
	rm -rf $(VENV) $(PEERS) $(CLIENTS) $(DOCS) site dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -o -name '*.egg-info' | xargs rm -rf

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

# silero-vad asks for torch, which its ONNX file doesn't need: hence --no-deps.
$(VENV)/run.done: $(PINS) requirements/run.txt | $(VENV)/bin/python
	$(PIP) -r requirements/run.txt
	$(PIP) --no-deps silero-vad
	@touch $@

$(VENV)/dev.done: $(PINS) requirements/run.txt requirements/dev.txt | $(VENV)/bin/python
	$(PIP) -r requirements/dev.txt
	$(PIP) --no-deps silero-vad
	@touch $@ $(VENV)/run.done $(foreach extra,faster-whisper openai whisper analyzer,$(VENV)/extra-$(extra).done)

# An engine's packages: an extra of the transcriber, such as faster-whisper.
$(VENV)/extra-%.done: $(PINS) | $(VENV)/run.done
	@echo "Installing the packages of the engine $*: pip install -e './transcriber[$*]'"
	@$(PIP) -e './transcriber[$*]'
	@touch $@

$(VENV)/extra-analyzer.done: $(PINS) requirements/analyzer.txt | $(VENV)/run.done
	@echo "Installing the analyzer: pip install -r requirements/analyzer.txt"
	@$(PIP) -r requirements/analyzer.txt
	@touch $@

# Other services' official clients, in an environment of their own: their versions needn't fit ours, nor their own lists.
$(CLIENTS)/done: requirements/clients.txt
	$(PYTHON) -m venv --clear $(CLIENTS)
	$(CLIENTS)/bin/pip --disable-pip-version-check install --quiet --no-deps -r $<
	@touch $@

$(DOCS)/done: requirements/docs.txt
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/bin/pip --disable-pip-version-check install --quiet -r $<
	@touch $@

# Older versions of FFmpeg, which the tests of conversion run against.
$(VENV)/ffmpegs.done: tests/support/ffmpegs.py | $(VENV)/dev.done
	@cd tests && ../$(BIN)/python -m support.ffmpegs
	@touch $@

$(VENV)/bench.done: $(PINS) requirements/bench.txt | $(VENV)/dev.done
	$(PIP) -r requirements/bench.txt
	@touch $@

# Each peer in an environment of its own, with our torch. Their own lists ask for more than their servers import (GPU
# libraries, OpenVINO, PyAudio, which needs a compiler), and for versions that exclude each other: hence --no-deps.
$(PEERS)/%.done: requirements/peers-%.txt constraints.txt
	$(PYTHON) -m venv --clear $(PEERS)/$*
	$(PEERS)/$*/bin/pip --disable-pip-version-check install --quiet -c constraints.txt torch
	$(PEERS)/$*/bin/pip --disable-pip-version-check install --quiet --no-deps -r $<
	@touch $@
