# The verbs of this repository. ARGS passes options on: make run ARGS=--json, make test ARGS="-k memfd".

SHELL := /bin/bash
BIN := .venv/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
PYTHON_FILES := agent collector proto tests packaging setup.py $(wildcard bench)
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test bench soak fuzz lint types fmt proto docs rpm deb image clean

help:
	@echo "make VERB, where VERB is"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## install what is missing: system packages, .venv with vedette, protobuf code
	@packaging/setup.sh

run: setup ## watch this host: collector, agent and live view, as root
	@$(SUDO) $(BIN)/vedette run $(ARGS)

test: setup ## every tier that can run here: unit, kernel, system, packaging
	@$(if $(strip $(ARGS)),$(BIN)/pytest -m "unit or kernel or system or packaging" $(ARGS),$(BIN)/python tests/side_by_side.py)

bench: setup ## measure, beside the budgets: the agent's start, memory and cost (as root), classification, the collector's rate, the lists
	@$(SUDO) $(BIN)/python bench/agent.py
	@$(SUDO) $(BIN)/python bench/sensor.py
	@$(SUDO) $(BIN)/python -P bench/hooks.py
	@$(SUDO) $(BIN)/python bench/userspace.py || true # redis may not be there
	@$(SUDO) $(BIN)/python -P bench/records.py
	@$(SUDO) $(BIN)/python bench/containers.py
	@$(BIN)/python -P bench/classify.py
	@$(BIN)/python bench/ingest.py
	@$(BIN)/python -P bench/query.py
	@$(BIN)/python -P bench/intel.py
	@$(BIN)/python -P bench/dga.py

soak: setup ## long loads, as root and outside CI: exact accounts, stress-ng, millions of events (ARGS=-s shows numbers)
	@packaging/setup.sh soak
	@$(SUDO) $(BIN)/pytest -m soak $(ARGS)
	@$(SUDO) env VEDETTE_RACES=100000 $(BIN)/pytest $(ARGS) \
		tests/kernel/test_kernel_truth.py tests/kernel/test_shared_table.py -k "opens or connects or execs or opened_file"

fuzz: setup ## a minute of coverage-guided fuzzing against the decoder (installs atheris)
	@$(BIN)/pip install --quiet --editable '.[fuzz]'
	@$(BIN)/pytest -s tests/soak/test_fuzz.py $(ARGS)

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check $(PYTHON_FILES)
	@$(BIN)/ruff format --check $(PYTHON_FILES)

types: setup ## mypy, strict
	@$(BIN)/mypy

fmt: setup ## put imports and layout in order
	@$(BIN)/ruff check --select I --fix --quiet $(PYTHON_FILES)
	@$(BIN)/ruff format $(PYTHON_FILES)

proto: setup ## generate _proto/ from proto/ where something changed
	@$(BIN)/python proto/generate.py

docs: setup ## write what is generated under docs/
	@$(BIN)/python -m agent.docs

rpm: setup ## RPMs of agent and collector into dist/ (ARGS="--python 3.12 --arch aarch64 --key NAME")
	@packaging/rpm/build.sh $(ARGS)

deb: setup ## Debian packages of agent and collector into dist/ (ARGS="--python 3.13 --arch aarch64")
	@packaging/deb/build.sh $(ARGS)

image: setup ## container images into dist/image, an OCI layout, and their SBOMs beside it (ARGS="--arch aarch64 --only fargate")
	@packaging/container/build.sh $(ARGS)

clean: ## remove what was built; .venv too
	@rm -rf .venv _proto build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find agent collector proto tests -name __pycache__ -prune -exec rm -rf {} +
