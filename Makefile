# One entry point for everything. `make demo` and `make test` set up what they need.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
OUT    ?= demo-out

SIM    ?= simulate-out
DATA   ?=

.PHONY: help setup demo demo-quick demo-all demo-proxy demo-vllm simulate evaluate validity gate test vllm lint types imports \
        wheel bench golden trace check clean

help:            ## this list
	@grep -hE '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/' | expand -t 14

setup: $(READY)  ## make .venv and install everything (first run: a minute or two)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Headway needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
	@echo "ready: $(BIN)/headway; see it with: make demo"

demo: $(READY)   ## the same LangGraph programs with and without Headway, side by side (under 5 minutes)
	@mkdir -p $(OUT)
	$(BIN)/headway demo --json $(OUT)/demo.json --plot $(OUT)/demo.png

demo-quick: $(READY)   ## a shortened demo, for CI
	@mkdir -p $(OUT)
	$(BIN)/headway demo --quick --json $(OUT)/quick.json --plot $(OUT)/quick.png

demo-all: $(READY)   ## the demo with the arms on a LiteLLM Router too (under 8 minutes)
	@mkdir -p $(OUT)
	$(BIN)/headway demo --arms all --json $(OUT)/all.json --plot $(OUT)/all.png

demo-proxy: $(READY)   ## a shorter demo through LiteLLM's proxy, with and without Headway (under 5 minutes)
	@mkdir -p $(OUT)
	$(BIN)/headway demo --proxy --json $(OUT)/proxy.json --plot $(OUT)/proxy.png

demo-vllm: $(READY)   ## the demo's arms on three real, paced vLLM servers (minutes)
	@mkdir -p $(OUT)
	$(BIN)/python -m tests.paced.install
	$(BIN)/python -m tests.vllm.demo --json $(OUT)/vllm.json --plot $(OUT)/vllm.png

simulate: $(READY)   ## the laboratory in ten seconds: every policy on a small generated workload
	$(BIN)/headway simulate light --quick --out $(SIM)/light-quick

evaluate: $(READY)   ## every suite in full: hours, goes on where it was; DATA=folder of the data sets
	@test -n "$(DATA)" || { echo "say where the data sets are: make evaluate DATA=folder"; exit 2; }
	for suite in light chimera maestro hexagent agentic prefix; do \
	  $(BIN)/headway simulate $$suite --full --data $(DATA) --out $(SIM)/$$suite || exit 1; done

validity: $(READY)   ## virtual time against the daemon on emulated endpoints (minutes)
	@mkdir -p $(SIM)
	$(BIN)/python -m tests.validity --json $(SIM)/validity.json

gate: $(READY)   ## the laboratory against real, paced vLLM: docs/validity.md (an hour and more)
	$(BIN)/python -m tests.paced.install
	$(BIN)/python -m tests.vllm.gate

test: $(READY)   ## all tests but those on real vLLM
	$(BIN)/python -m pytest -m "not vllm"

vllm: $(READY)   ## real vLLM on this machine's processor, in .vllm (2 GB), and the tests on it (minutes)
	$(BIN)/python -m tests.paced.install
	HEADWAY_VLLM_REQUIRED=1 $(BIN)/python -m pytest tests/vllm

lint: $(READY)   ## style, formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## static types, strict
	$(BIN)/mypy

imports: $(READY)   ## who may import whom
	$(BIN)/lint-imports

wheel: $(READY)  ## build the wheel and run the tests against it in a clean environment
	tests/wheel.sh $(BIN)/python

bench: $(READY)  ## costs as ratios within one run, into bench.json
	$(BIN)/python -m tests.bench --json bench.json

trace: $(READY)  ## run a sample graph, write its spans and a picture of it into trace-out/
	$(BIN)/python -m headway_samples.trace --out trace-out

golden: $(READY) ## record the golden journals anew; commit them with the reason
	$(BIN)/python tests/golden/record.py

check: lint types imports test   ## what to run before a commit

clean:           ## remove what was made here
	rm -rf $(VENV) .vllm dist build demo-out trace-out simulate-out bench.json .mypy_cache .ruff_cache .pytest_cache .hypothesis
